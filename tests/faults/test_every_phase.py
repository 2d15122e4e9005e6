"""A signal, or a disk without room, in each phase of a run: start, data, training, checkpoint,
evaluation and end. The run says so in one line and, started again, ends with the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scratchlab.cli import main
from scratchlab.lab import parts, train
from scratchlab.run import checkpoint
from scratchlab.run.folder import RunFolder
from scratchlab.tracking.jsonl import Jsonl
from tests.faults.test_full_disk import fill

EPOCHS = 40
WORDS = ["train", "model=logistic", "dataset=wine_cultivars", f"model.epochs={EPOCHS}"]
WORDS += ["trainer.checkpoint_every=10", "tracker=[jsonl]", "pictures=false", "name=x"]
WORDS += ["run_id=one", "resume=true", "threads=1"]
COMPARED = ("metrics.jsonl", "results.json", "checkpoints/last/model.safetensors")

# What is called in a phase, and the call of it before which the fault comes.
PHASES: dict[str, tuple[Any, str, int]] = {
    "start": (RunFolder, "write_config", 1),
    "data": (parts, "build_dataset", 1),
    "training": (Jsonl, "log", 15),
    "checkpoint": (checkpoint, "_fill", 2),
    "evaluation": (train, "measure", 1),
    "end": (RunFolder, "write_status", 2),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert main([*WORDS, f"output_dir={folder}"]) == 0
    return folder / "x/one"


def at(
    phase: str, fault: Callable[[], None], patch: pytest.MonkeyPatch, call: int | None = None
) -> list[int]:
    """Let ``fault`` come in a phase, once; the list holds how often the phase was met."""
    owner, name, wanted = PHASES[phase]
    wanted = call or wanted
    original, met = getattr(owner, name), [0]

    def called(*arguments: Any, **options: Any) -> Any:
        met[0] += 1
        if met[0] == wanted:
            fault()
        return original(*arguments, **options)

    patch.setattr(owner, name, called)
    return met


def assert_equal(run: Path, whole: Path) -> None:
    assert json.loads((run / "status.json").read_text())["status"] == "done"
    for name in COMPARED:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert not [p for p in run.rglob(".*") if p.name != ".lock"], "remains of what was broken off"


@pytest.mark.parametrize("phase", PHASES)
def test_sigterm_stops_a_run_which_then_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, phase: str
) -> None:
    words = [*WORDS, f"output_dir={tmp_path}"]
    with monkeypatch.context() as patch:
        met = at(phase, lambda: os.kill(os.getpid(), signal.SIGTERM), patch)
        code = main(words)
    shown = capfd.readouterr().err
    assert met[0] >= PHASES[phase][2] and code == 130, (met, code, shown)
    assert "stopped by SIGTERM" in shown and "Traceback" not in shown
    status = tmp_path / "x/one/status.json"
    assert not status.exists() or json.loads(status.read_text())["status"] == "stopped"
    assert main(words) == 0, capfd.readouterr().err
    assert_equal(tmp_path / "x/one", whole)


@pytest.mark.parametrize("phase", PHASES)
def test_a_full_disk_ends_a_run_in_a_line_and_it_goes_on_once_there_is_room(
    whole: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, phase: str
) -> None:
    words = [*WORDS, f"output_dir={small_disk}"]
    with monkeypatch.context() as patch:
        met = at(phase, lambda: (fill(small_disk), None)[1], patch)
        code = main(words)
    shown = capfd.readouterr().err
    assert met[0] >= PHASES[phase][2] and code == 2, (met, code, shown)
    assert "the disk is full" in shown and shown.count("error: ") == 1, shown
    assert "Traceback" not in shown
    (small_disk / "filling").unlink()
    assert main(words) == 0, capfd.readouterr().err
    assert_equal(small_disk / "x/one", whole)


def test_a_run_that_was_stopped_does_not_go_on_with_other_data_unsaid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    table = tmp_path / "table.csv"
    rows = [f"{x * 37 % 61},{'ab'[x % 2]}" for x in range(60)]
    table.write_text("\n".join(["x,y", *rows]) + "\n")
    words = ["train", "model=logistic", f"model.epochs={EPOCHS}", "dataset=table"]
    words += [f"dataset.path={table}", "dataset.target=y", "threads=1"]
    words += ["tracker=[jsonl]", "pictures=false", "name=x", f"output_dir={tmp_path}"]
    words += ["run_id=one", "resume=true"]
    with monkeypatch.context() as patch:
        at("training", lambda: os.kill(os.getpid(), signal.SIGTERM), patch, call=2)
        assert main(words) == 130
    run = tmp_path / "x/one"
    before = {p: p.read_bytes() for p in (run / "checkpoints").rglob("*") if p.is_file()}
    table.write_text(table.read_text().replace("37,b\n", "38,b\n"))
    capfd.readouterr()
    for again in (words, ["train", f"resume={run}"]):
        assert main(again) == 2
        assert "the data of this run have changed since" in capfd.readouterr().err
    assert {p: p.read_bytes() for p in before} == before
    other = Path(shutil.copytree(run, tmp_path / "x/two"))
    assert main(["train", f"resume={other}", "accept_changed_data=true"]) == 0
    assert "its data have changed: " in (other / "train.log").read_text()
    table.write_text(table.read_text().replace("38,b\n", "37,b\n"))
    assert main(words) == 0, capfd.readouterr().err
