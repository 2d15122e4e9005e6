"""A tracker that fails is dropped; training goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from scratchlab.errors import MissingPackageError, Stopped
from scratchlab.tracking.contract import RunInfo, Tracker
from scratchlab.tracking.guard import Trackers
from scratchlab.tracking.jsonl import Jsonl, read_lines


class Failing(Tracker):
    registered_name = "failing"

    def __init__(self, error: Exception, at: str = "log") -> None:
        super().__init__(None)
        self.error, self.at, self.calls = error, at, 0

    def start(self, run: RunInfo) -> None:
        if self.at == "start":
            raise self.error

    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        self.calls += 1
        raise self.error

    def finish(self, status: str) -> None:
        raise self.error


class Listening(Failing):
    def __init__(self) -> None:
        super().__init__(RuntimeError())
        self.heard: list[str] = []

    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        pass

    def message(self, text: str) -> None:
        self.heard.append(text)

    def finish(self, status: str) -> None:
        pass


def test_a_failing_tracker_is_named_once_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing, listening = Failing(OSError("no network")), Listening()
    trackers = Trackers([failing, listening, Jsonl(Jsonl.Config())])
    with caplog.at_level(logging.WARNING):
        trackers.start(RunInfo("name", "id", tmp_path))
        for step in (1, 2, 3):
            trackers.log(step, {"loss": 1.0}, {})
        trackers.finish("done")
    assert failing.calls == 1
    assert [e["step"] for e in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert listening.heard == [
        "Tracker failing is switched off (log failed), training goes on. OSError: no network"
    ]
    assert len(caplog.records) == 1


def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    listening = Listening()
    missing = Failing(MissingPackageError("wandb", "The tracker wandb", "wandb"), at="start")
    trackers = Trackers([missing, listening])
    trackers.start(RunInfo("name", "id", tmp_path))
    assert trackers.active == (listening,)
    assert "pip install 'scratchlab[wandb]'" in listening.heard[0]


def test_two_trackers_that_fail_at_the_same_call_are_both_dropped(tmp_path: Path) -> None:
    class Mute(Failing):
        def message(self, text: str) -> None:
            raise self.error

    trackers = Trackers([Mute(OSError("a")), Mute(OSError("b"))])
    trackers.start(RunInfo("name", "id", tmp_path))
    trackers.log(1, {"loss": 1.0}, {})
    assert trackers.active == ()


def test_a_request_to_stop_is_not_taken_for_a_fault(tmp_path: Path) -> None:
    failing = Failing(Stopped("SIGTERM"))
    trackers = Trackers([failing])
    trackers.start(RunInfo("name", "id", tmp_path))
    with pytest.raises(Stopped):
        trackers.log(1, {}, {})
    assert trackers.active == (failing,)
