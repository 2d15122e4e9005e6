"""A suite whose runs several processes pull."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from scratchlab.run.folder import RunFolder
from scratchlab.studies import suite_shared as module
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.suite import Member
from scratchlab.studies.suite_file import SuiteRun
from scratchlab.studies.suite_shared import SharedSuite, shared, standing
from scratchlab.studies.workers import Job, Outcome

from .conftest import outcomes


def members(folder: StudyFolder, **after: str | None) -> list[Member]:
    """Runs by name, with what each waits for."""
    found = []
    for name, source in after.items():
        job = Job(name, ("train",), folder.path / name, folder.logs / f"{name}.log")
        run = SuiteRun(name=name, label=name, overrides=(), seeds=(0,), source=source)
        found.append(Member(run, (0, None), job, {}, (source,) if source else ()))
    return found


def finish(suite: SharedSuite, job: Job, status: str = "done", reason: str = "") -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    RunFolder(job.folder).write_status(status)
    suite.ended(job, Outcome(job.name, status, reason, str(job.log), 1.0))


def names(suite: Sequence[Job | None]) -> list[str | None]:
    return [job.name if job else None for job in suite]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    made = StudyFolder(tmp_path / "suite")
    made.path.mkdir()
    return made


def test_two_processes_share_the_runs_and_wait_for_each_others(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.0)
    runs = members(folder, base=None, one="base", two="base", three="base")
    with shared(runs, folder, print) as here, shared(runs, folder, print) as there:
        base = here.take()
        assert base is not None and base.name == "base"
        assert there.take() is None and there.waits()  # it may be that nobody is at it
        there.ledger.unsure = 0
        assert there.waits()  # one process will be free for three runs
        assert there.states()["base"].startswith("running on ")
        assert ("base", "running") in [row[:2] for row in standing(runs, folder)]
        finish(here, base)
        jobs = [there.take(), here.take(), there.take(), here.take()]
        assert names(jobs) == ["one", "two", "three", None]
        assert here.left() == 3
        here.ledger.unsure = 0
        assert not here.waits()  # each will be done by who has it
        for suite, job in zip((there, here, there), jobs):
            assert job is not None
            finish(suite, job)
        assert here.left() == there.left() == 0
        assert [o.status for o in here.outcomes.values()] == ["done"] * 4
        assert len(outcomes(folder.path)) == 4  # whoever of them wrote it last
    assert [row[1] for row in standing(runs, folder)] == ["done"] * 4


def test_a_failure_elsewhere_is_learned_and_done_again_only_when_asked(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.0)
    runs = members(folder, base=None, one="base")
    with shared(runs, folder, print) as here, shared(runs, folder, print) as there:
        base = here.take()
        assert base is not None
        finish(here, base, "failed", "no such file")
        assert there.left() == 0
        reasons = {name: o.reason for name, o in there.outcomes.items()}
        assert reasons == {"base": "no such file", "one": "base is not done"}
    with shared(runs, folder, print) as worker:
        assert worker.take() is None and not worker.waits()
    with shared(runs, folder, print) as command:
        command.ask_again()
        assert names([command.take()]) == ["base"]


def test_what_a_process_leaves_goes_to_the_next_and_a_lost_folder_is_filled_again(
    folder: StudyFolder,
) -> None:
    runs = members(folder, base=None)
    with shared(runs, folder, print) as first:
        assert names([first.take()]) == ["base"]  # stopped: the block ends
    with shared(runs, folder, print) as second:
        base = second.take()
        assert base is not None
        finish(second, base)
    (base.folder / "status.json").unlink()
    with shared(runs, folder, print) as third:
        assert third.take() is None and third.left() == 1  # it may still appear
        third.ask_again()
        third._next_look = 0.0
        assert names([third.take()]) == ["base"]
