"""Run folders that are removed while a run writes to them, or of which half is left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import compose
from scratchlab.errors import UserError
from scratchlab.lab import train as experiment
from scratchlab.run.folder import RunFolder
from scratchlab.tracking.jsonl import Jsonl

WORDS = ["model=logistic", "dataset=wine_cultivars", "model.epochs=30", "tracker=[jsonl]"]
WORDS += ["name=x", "run_id=one", "evaluator=[]", "trainer.checkpoint_every=10"]


def train(folder: Path, *words: str) -> Path:
    config = compose([*WORDS, f"output_dir={folder}", *words]).config
    return experiment.train(config, [], ["train"])


def at_step(monkeypatch: pytest.MonkeyPatch, wanted: int, action: Any) -> None:
    """Do something to the run's folder when an update is logged."""
    log = Jsonl.log

    def logged(self: Jsonl, step: int, *values: Any) -> None:
        if step == wanted:
            action()
        log(self, step, *values)

    monkeypatch.setattr(Jsonl, "log", logged)


@pytest.mark.parametrize("step", [5, 30])
def test_a_run_whose_folder_was_removed_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    at_step(monkeypatch, step, lambda: shutil.rmtree(tmp_path / "x/one", ignore_errors=True))
    with pytest.raises(UserError, match="was removed"):
        train(tmp_path)
    assert not (tmp_path / "x/one").exists()


def test_a_run_does_not_write_into_a_folder_that_took_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange() -> None:
        if not (tmp_path / "moved").exists():
            (tmp_path / "x/one").rename(tmp_path / "moved")
            (tmp_path / "x/one").mkdir()

    at_step(monkeypatch, 30, exchange)
    with pytest.raises(UserError, match="was removed or moved"):
        train(tmp_path)
    assert not (tmp_path / "x/one/status.json").exists()


def test_a_run_without_its_configuration_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "x/one/config.yaml"
    at_step(monkeypatch, 5, lambda: config.unlink(missing_ok=True))
    with pytest.raises(UserError, match=r"has lost its config\.yaml"):
        train(tmp_path)


def test_half_a_run_is_not_gone_on_with(tmp_path: Path) -> None:
    run = train(tmp_path)
    (run / "config.yaml").unlink()
    before = (run / "checkpoints/last/state.json").read_bytes()
    with pytest.raises(UserError, match="is half a run: it has checkpoints"):
        train(tmp_path, "resume=true", "seed=1")
    assert (run / "checkpoints/last/state.json").read_bytes() == before


def test_a_run_that_lost_its_checkpoints_does_not_start_anew_in_silence(tmp_path: Path) -> None:
    run = train(tmp_path)
    shutil.rmtree(run / "checkpoints")
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="its checkpoints are gone"):
        train(tmp_path, "resume=true", "model.epochs=40")
    assert (run / "metrics.jsonl").read_bytes() == before
    assert json.loads((run / "status.json").read_text())["status"] == "done"


def test_a_run_of_which_only_notes_are_left_goes_and_latest_leads_to_the_one_before(
    tmp_path: Path,
) -> None:
    for run_id in ("one", "two", "three"):
        folder = RunFolder.create(tmp_path, "x", run_id)
        folder.write_config({}, [])
        folder.point_latest()
        (folder.path / "manifest.json").write_text("{}")
        (folder.path / "metrics.jsonl").write_text("" if run_id == "three" else '{"step": 1}\n')
    folder.remove_untouched()
    assert not folder.path.exists() and (tmp_path / "x/latest").resolve() == tmp_path / "x/two"
    RunFolder(tmp_path / "x/two").remove_untouched()
    assert (tmp_path / "x/two/metrics.jsonl").is_file()
