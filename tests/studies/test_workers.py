"""Processes of a study that cannot start, and a study that fails while some run."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scratchlab.errors import Stopped, UserError
from scratchlab.studies import workers
from scratchlab.studies.nursery import Process
from scratchlab.studies.workers import Job, Outcome, run_all, share_of_threads


class Jobs:
    """A source of runs that remembers how they ended."""

    modules: Sequence[str] = ()

    def __init__(self, folder: Path, *names: str) -> None:
        self.waiting = [
            Job(name, (name,), folder / name, folder / "logs" / f"{name}.log") for name in names
        ]
        self.outcomes: dict[str, Outcome] = {}

    def take(self) -> Job | None:
        return self.waiting.pop(0) if self.waiting else None

    def waits(self) -> bool:
        return False

    def started(self, job: Job) -> None:
        pass

    def watch(self, job: Job) -> str:
        return ""

    def ended(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.name] = outcome


class Ended:
    """A process that has ended already."""

    def poll(self) -> int | None:
        return 1

    def wait(self) -> int:
        return 1

    def terminate(self) -> None:
        pass

    def kill(self) -> None:
        pass


class Starting:
    """Starts processes as a function of their words says."""

    def __init__(self, start: Callable[[Sequence[str]], Process]) -> None:
        self._start = start

    def __enter__(self) -> Starting:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start(self, arguments: Sequence[str], log: Path, variables: object = None) -> Process:
        return self._start(arguments)


def test_a_process_that_cannot_be_started_is_a_failure_and_the_next_one_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(words: Sequence[str]) -> Process:
        if words[0] == "one":
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return Ended()

    monkeypatch.setattr(workers, "Nursery", lambda *_: Starting(start))
    monkeypatch.setattr(workers, "SECONDS_BETWEEN_LOOKS", 0.0)
    jobs = Jobs(tmp_path, "one", "two")
    run_all(jobs, workers=1)
    first, second = jobs.outcomes["one"], jobs.outcomes["two"]
    assert first.status == second.status == "failed"
    reason = "the process could not be started: Resource temporarily unavailable"
    assert first.reason == reason and second.reason != reason


def test_a_study_that_fails_asks_its_runs_to_save_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Saving(Ended):
        """Ends politely when it is asked to."""

        def poll(self) -> int | None:
            return 130 if "terminate" in asked else None

        def terminate(self) -> None:
            asked.append("terminate")

        def kill(self) -> None:
            asked.append("kill")

    class Full(Jobs):
        def watch(self, job: Job) -> str:
            raise UserError("Cannot write study.journal: the disk is full.")

    monkeypatch.setattr(workers, "Nursery", lambda *_: Starting(lambda words: Saving()))
    with pytest.raises(UserError, match="the disk is full"):
        run_all(Full(tmp_path, "one"), workers=1)
    assert asked == ["terminate", "kill"]


def test_a_run_that_a_signal_for_all_ends_first_is_stopped_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminated(Ended):
        """Ends by a signal that reaches its parent a little later."""

        def poll(self) -> int | None:
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM)).start()
            return -int(signal.SIGTERM)

    monkeypatch.setattr(workers, "Nursery", lambda *_: Starting(lambda words: Terminated()))
    jobs = Jobs(tmp_path, "one", "two")
    with pytest.raises(Stopped):
        run_all(jobs, workers=1)
    assert jobs.outcomes["one"].status == "stopped" and [j.name for j in jobs.waiting] == ["two"]


def test_python_m_imports_no_file_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    by_hand = [sys.executable, "-m", "scratchlab", "list", "optimizer"]
    assert "adamw" in subprocess.run(by_hand, capture_output=True, text=True, check=True).stdout


def test_more_workers_than_the_cores_can_use_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert share_of_threads(1, None) is None and share_of_threads(2, None) == 1
    assert share_of_threads(16, 3) == 3 and share_of_threads(16, None) == 1
    with pytest.raises(UserError, match="workers: 256 runs at a time are too many for 2 cores"):
        share_of_threads(256, 1)
