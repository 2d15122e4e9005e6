"""The command on runs and on configurations: what is equal, what does not apply, what is wrong."""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from scratchlab.commands.verify import main
from scratchlab.config.compose import change, compose
from scratchlab.errors import Stopped, UserError
from scratchlab.lab.train import train
from scratchlab.run.folder import read_trained
from scratchlab.verifying import findings
from scratchlab.verifying import verify as module
from scratchlab.verifying.findings import NO_CASE, NOT_EQUAL, ROUNDING, gap, judged, rounding
from scratchlab.verifying.started import run_together
from scratchlab.verifying.subject import Subject
from scratchlab.verifying.training import Alarm
from scratchlab.verifying.verify import CHECKS, verify

QUICK = [name for name in CHECKS if name not in ("kill", "processes")]  # which start processes


@pytest.fixture(scope="module")
def run(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny translator."""
    where = f"output_dir={tmp_path_factory.mktemp('runs')}"
    words = [*tiny, where, "run_id=one", "tracker=[jsonl]", "trainer.max_steps=9", "pictures=false"]
    return train(compose(words).config, words, ["train"])


def test_all_of_a_trained_run_is_equal_and_nothing_of_it_is_changed(run: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    said: list[str] = []
    found = verify(change(read_trained(run), []), run, [*QUICK, "seed"], said.append)
    assert found.equal, found.remarks()
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before
    results = {c.check: {f.result for f in c.findings} for c in found.checked}
    assert list(results) == QUICK and len(said) == len(QUICK) + 1
    idle = {check for check, found in results.items() if found == {NO_CASE}}
    assert idle - {"export"} == {"merge"}  # export: where no ctranslate2 reads it
    for check in ("seed", "stop", "save"):
        assert results[check] == {"bit-equal"}
    small = [f for _, f in found.findings if f.result == ROUNDING]
    assert small and all(0 < (f.difference or 0) <= (f.tolerance or 0) < 1e-3 for f in small)


@pytest.mark.slow
def test_a_command_writes_the_certificate_and_its_exit_code_tells(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny, f"output_dir={tmp_path}"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "killed after 3, resumed" in shown.out and "bit-equal" in shown.out
    found = json.loads((tmp_path / "tiny/verify.json").read_text())
    assert found["equal"] and found["run"] is None and found["machine"]
    assert {f["check"] for f in found["findings"]} == set(CHECKS)
    assert [p.name for p in tmp_path.rglob("*")] == ["tiny", "verify.json"]


def test_of_an_estimator_is_checked_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=logistic", "threads=1", f"output_dir={tmp_path}"]
    assert main([*words, f"checks={','.join([*QUICK, 'processes'])}"]) == 0
    (place,) = tmp_path.rglob("verify.json")
    found = json.loads(place.read_text())["findings"]
    idle = {f["check"]: f["why"] for f in found if f["result"] == NO_CASE}
    expected = {"accumulation", "padding", "generation", "cache", "merge", "export", "processes"}
    assert set(idle) == expected
    assert idle["cache"] == "logistic is an estimator: it decodes no tokens and keeps no cache"
    assert "does not apply: cache: logistic is an estimator" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=logistic", "checks=sed"], "Did you mean 'seed'"),
        (["model=mlp", "dataset=diabetes"], "mlp_regressor"),
        (["model=gptt"], "Did you mean 'gpt'"),
        (["nowhere"], "there is no run 'nowhere'"),
        ([], "which run?"),
    ],
)
def test_what_cannot_be_verified_is_said_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        main(words)
    assert error.value.exit_code == 2 and message in str(error.value)
    assert not list(tmp_path.rglob("*"))


def test_a_run_that_failed_before_its_first_checkpoint_is_refused(
    run: Path, tmp_path: Path
) -> None:
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "config.yaml").write_text((run / "config.yaml").read_text())
    with pytest.raises(UserError, match="has no checkpoint yet") as error:
        main([str(failed)])
    assert error.value.exit_code == 2


def test_who_stops_a_check_stops_the_command(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(subject: Subject) -> Iterator[findings.Finding]:
        subject.train("mine", [Alarm(2, signal.SIGINT)])
        yield from ()

    monkeypatch.setattr(module, "CHECKS", {"seed": interrupted, "save": CHECKS["save"]})
    said: list[str] = []
    with pytest.raises(Stopped, match="SIGINT"):
        verify(change(read_trained(run), []), run, tell=said.append)
    assert len(said) == 1


def test_a_gap_is_a_share_of_the_largest_number_and_says_where_it_is() -> None:
    a = {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "zero": np.array([1e-9])}
    b = {"w": torch.tensor([[1.0, 2.0], [3.5, 4.0]]), "zero": np.array([-1e-9])}
    found = gap(a, b)
    assert (found.value, found.where, found.same_bits) == (0.125, "w[1, 0]", False)
    assert gap(a, a) == findings.Gap(0.0, "w", True)
    assert gap({"zero": np.array([0.0])}, {"zero": np.array([-0.0])}).same_bits is False
    assert gap(a, {"w": a["w"]}).value == math.inf
    for odd in (torch.zeros(3), torch.tensor([[1.0, 2.0], [math.nan, 4.0]])):
        assert gap({"w": a["w"]}, {"w": odd}).value == math.inf
    nan = {"w": np.array([math.nan])}
    assert gap(nan, nan).same_bits


def test_what_must_be_exact_may_not_differ_by_rounding() -> None:
    one = findings.Gap(1e-7, "w", False)
    assert judged("", "", one).result == NOT_EQUAL
    assert judged("", "", one, rounding(1)).result == ROUNDING
    assert judged("", "", findings.Gap(1e-3, "w", False), rounding(100)).result == NOT_EQUAL
    assert judged("", "", findings.Gap(0.0, "w", False)).result == NOT_EQUAL
    assert rounding(100, 2.0**-52, "float64").value < 1e-13


def test_a_process_that_is_killed_imports_nothing_from_the_folder_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``python -m`` would look there first, and find what a stranger has put beside a run."""
    for name in ("json", "scratchlab", "torch"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    assert main(["model=mlp", "dataset=wine_cultivars", "checks=kill", "threads=1"]) == 0
    assert not (tmp_path / "ran").exists()


def test_where_processes_meet_is_nobody_elses_however_late_they_come() -> None:
    taking = (
        "import os, socket\n"
        "with socket.socket() as other:\n"
        "    other.bind(('127.0.0.1', int(os.environ['MASTER_PORT'])))"
    )
    with pytest.raises(RuntimeError, match=r"process \d of 2: OSError.*in use"):
        run_together([sys.executable, "-c", taking], 2)


def test_a_process_that_was_killed_is_said_to_be_so() -> None:
    code = "import os, sys; print('fine', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(RuntimeError, match=r"process \d of 2: ended by SIGKILL"):
        run_together([sys.executable, "-c", code], 2)
