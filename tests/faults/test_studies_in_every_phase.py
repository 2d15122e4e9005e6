"""A signal, or a disk without room, in each phase of a suite and of a sweep: the command says so in
one line and, given again, ends with all results, each once, and with the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_a_hundred_kills import assert_whole, command_of, content, ended, runs_in

LEDGER, FOLDER = "scratchlab.studies.sweep.ledger:Ledger.", "scratchlab.studies.runs:StudyFolder."
PHASES = {
    "start": (FOLDER + "open", 1),
    "claim": (LEDGER + "claim", 2),
    "training": ("scratchlab.tracking.jsonl:Jsonl.log", 15),
    "checkpoint": ("scratchlab.run.checkpoint:_fill", 2),
    "end of a run": (LEDGER + "end", 1),
    "record": (FOLDER + "record", 2),
    "tables": (FOLDER + "reporting", 1),
    "page": ("scratchlab.reporting.report.page:write_page", 1),
}
TABLES = {"suite": "tables/comparison.csv", "sweep": "tables/trials.csv"}


def cases(*default: tuple[str, str]) -> list[Any]:
    """Every phase of both verbs; all but ``default`` are slow."""
    return [
        pytest.param(verb, phase, marks=() if (verb, phase) in default else pytest.mark.slow)
        for verb in ("suite", "sweep")
        for phase in PHASES
    ]


@pytest.fixture(scope="module")
def whole(launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """The runs of a study that nothing befell, and its table."""
    made: dict[str, Any] = {}

    def of(verb: str) -> Any:
        if verb not in made:
            cwd = tmp_path_factory.mktemp(verb)
            ended(launcher, [*command_of(verb, cwd), "output_dir=out"], cwd)
            folder = cwd / "out/killed"
            made[verb] = (content(folder), (folder / TABLES[verb]).read_bytes())
        return made[verb]

    return of


def assert_goes_on(launcher: Any, verb: str, words: list[str], cwd: Path, expected: Any) -> None:
    done = launcher.run(*words, cwd=cwd, fork_runs=True)
    assert done.code == 0 and "Traceback" not in done.err, done.err
    folder = cwd / "out/killed"
    runs, table = expected
    assert_whole(verb, folder, {k: v.replace(b"whole", b"out") for k, v in runs.items()})
    left = [p for p in folder.rglob(".*") if p.name not in (".lock", ".tables.lock")]
    assert not left, "remains of what was broken off"
    assert (folder / "report.html").is_file()
    if verb == "suite":  # the table of a sweep has times in it
        assert (folder / TABLES[verb]).read_bytes() == table


@pytest.mark.parametrize(("verb", "phase"), cases(("sweep", "training")))
def test_sigterm_stops_a_study_which_then_goes_on(
    launcher: Any, whole: Callable[[str], Any], tmp_path: Path, verb: str, phase: str
) -> None:
    words, met = [*command_of(verb, tmp_path), "output_dir=out"], tmp_path / "met"
    planted = ["sigterm", *PHASES[phase], str(met)]
    done = launcher.run(*words, cwd=tmp_path, fork_runs=True, planted=planted)
    assert met.exists() and done.code == 130, (done.code, done.err)
    assert done.err.count("stopped by SIGTERM") + done.err.count("interrupted") == 1, done.err
    assert "Traceback" not in done.err + done.out and "error: " not in done.err, done.err
    folder = tmp_path / "out/killed"
    for run in runs_in(folder):
        assert json.loads((run / "status.json").read_text())["status"] in ("done", "stopped")
    assert_goes_on(launcher, verb, words, tmp_path, whole(verb))


@pytest.mark.parametrize(("verb", "phase"), cases(("suite", "end of a run")))
def test_a_full_disk_ends_a_study_in_a_line_and_it_goes_on_once_there_is_room(
    launcher: Any,
    whole: Callable[[str], Any],
    small_disk: Path,
    tmp_path: Path,
    verb: str,
    phase: str,
) -> None:
    words, met = [*command_of(verb, tmp_path), f"output_dir={small_disk}"], tmp_path / "met"
    planted = ["full_disk", *PHASES[phase], str(met), str(small_disk)]
    done = launcher.run(*words, cwd=tmp_path, fork_runs=True, planted=planted)
    assert met.exists() and done.code == 2, (done.code, done.err)
    assert "the disk is full" in done.err and done.err.count("error: ") == 1, done.err
    assert "Traceback" not in done.err + done.out, done.err
    (small_disk / "filling").unlink()
    (tmp_path / "out").symlink_to(small_disk)
    assert_goes_on(launcher, verb, words, tmp_path, whole(verb))
