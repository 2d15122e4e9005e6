"""A machine whose clock is set by an hour, forwards or back, while it shares a sweep or a suite:
leases are neither taken from who lives nor left to who is gone."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import psutil
import pytest
from optuna.storages.journal import JournalStorage
from optuna.trial import TrialState

from scratchlab.studies.sweep import leases, ledger
from scratchlab.studies.sweep.journal import Journal
from scratchlab.studies.sweep.ledger import Ledger, attempts_in, names_of
from tests.faults.test_a_hundred_kills import assert_whole, command_of, content, ended

LEASE = 60.0
HOUR = 3600.0
FAR = "far:0000-1-0:ab"  # a process of another machine


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets this machine's clock by so many seconds, as everything here reads it."""
    by, right, boot = [0.0], time.time, psutil.boot_time()

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + datetime.timedelta(seconds=by[0])

    monkeypatch.setattr(time, "time", lambda: right() + by[0])
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot + by[0])
    monkeypatch.setattr("optuna.storages.journal._storage.datetime", Clock)
    monkeypatch.setattr("optuna.trial._frozen.datetime", SimpleNamespace(datetime=Clock))
    return lambda seconds: by.__setitem__(0, seconds)


def study(path: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(Journal(path))
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds go by that no setting of the clock changes."""
    passed = [0.0]
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: passed[0]))
    return lambda seconds: passed.__setitem__(0, passed[0] + seconds)


def show_life(ledger: Ledger) -> None:
    """What the thread of the leases does every so often."""
    for trial in list(ledger.heart._beats):
        ledger.heart._beat(trial)


@pytest.mark.parametrize("hours", [1, -1])
def test_the_lease_of_who_lives_is_kept_and_that_of_who_is_gone_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    set_clock: Callable[[float], None],
    wait: Callable[[float], None],
    hours: int,
) -> None:
    path, names = tmp_path / "study.journal", names_of(3)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "new_worker", lambda: FAR)
        far = Ledger(study(path), names, LEASE)
    here, near = Ledger(study(path), names, LEASE), Ledger(study(path), names, LEASE)
    assert here.claim("trial-000", here.open()["trial-000"]) is not None
    assert far.claim("trial-001", far.open()["trial-001"]) is not None
    for look in range(12):  # three leases long, the clock set each time
        set_clock(hours * HOUR * (look % 2))
        assert list(near.open()) == list(far.open()) == ["trial-002"]
        wait(LEASE / 4)
        show_life(here)
        show_life(far)
    assert near.unsure == 0
    # The far one dies, and the clock is set once more: an hour is neither waited nor skipped.
    assert list(near.open()) == ["trial-002"]
    set_clock(0.0)
    wait(0.9 * LEASE)
    show_life(here)
    assert list(near.open()) == ["trial-002"]
    wait(0.2 * LEASE)
    taken = near.claim("trial-001", near.open()["trial-001"])
    assert taken is not None and near.end(taken, TrialState.COMPLETE, 1.0)
    found = attempts_in(near.study)
    assert [t.state for t in found["trial-001"]] == [TrialState.FAIL, TrialState.COMPLETE]
    assert [t.state for t in found["trial-000"]] == [TrialState.RUNNING]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["suite", "sweep"])
def test_two_commands_whose_clocks_are_set_there_and_back_do_everything_once(
    launcher: Any, tmp_path: Path, verb: str
) -> None:
    words = command_of(verb, tmp_path)
    ended(launcher, [*words, "output_dir=whole"], tmp_path)
    words = [*words, "output_dir=again"]
    both = [
        launcher.start(*words, cwd=tmp_path, fork_runs=True, planted=["clock", hours])
        for hours in (1, -1)
    ]
    for done in [command.wait() for command in both]:
        assert done.code == 0 and "Traceback" not in done.err, done.err
    assert_whole(verb, tmp_path / "again/killed", content(tmp_path / "whole/killed"))
