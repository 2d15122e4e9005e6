"""Who runs which trial: claims, leases, and what is left of workers that are killed."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalStorage
from optuna.trial import TrialState

from scratchlab.studies.sweep import ledger as module
from scratchlab.studies.sweep.journal import Journal
from scratchlab.studies.sweep.leases import place_of
from scratchlab.studies.sweep.ledger import (
    MOST_LOSSES,
    Ledger,
    attempts_in,
    names_of,
    running,
    tried,
)
from scratchlab.studies.sweep.study import sqlite

from . import pulling


def study(path: Path) -> optuna.Study:
    """The study in a journal, or in a database of SQLite."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_journal = path.suffix == ".journal"
    storage = JournalStorage(Journal(path)) if is_journal else sqlite(f"sqlite:///{path}")
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


def begin(ledger: Ledger, run: str) -> int | None:
    return ledger.claim(run, ledger.open()[run], {"x": 1})


def elsewhere(path: Path, lease: float, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A worker of another machine, which does not come to show that it lives."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "new_worker", lambda: "far:0000-1-0:ab")
        return Ledger(study(path), names_of(3), lease)


@pytest.mark.parametrize(
    "name", ["study.journal", pytest.param("study.db", marks=pytest.mark.slow)]
)
def test_workers_at_one_study_run_each_trial_once(tmp_path: Path, name: str) -> None:
    open_it = partial(study, tmp_path / name)
    open_it()
    work = partial(pulling.pull, open_it, tmp_path, 12, lease=30.0)
    codes = [os.waitpid(pid, 0)[1] for pid in [pulling.start(work) for _ in range(3)]]
    assert codes == [0, 0, 0]
    pulling.require_each_once(open_it(), tmp_path, 12)
    assert len(open_it().get_trials(states=(TrialState.COMPLETE,))) == 12
    assert all(len((tmp_path / f"trial-{n:03d}").read_text().split()) == 1 for n in range(12))


def test_of_workers_that_are_killed_no_trial_is_lost_and_none_done_twice(tmp_path: Path) -> None:
    open_it = partial(study, tmp_path / "study.journal")
    open_it()
    pulling.killed_at_random(open_it, tmp_path, trials=40, kills=20, seed=0)
    pulling.require_each_once(open_it(), tmp_path, 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_of_workers_at_a_database_no_trial_is_lost_and_none_done_twice(
    tmp_path: Path, seed: int
) -> None:
    open_it = partial(study, tmp_path / "study.db")
    open_it()
    pulling.killed_at_random(open_it, tmp_path, trials=40, kills=20, seed=seed)
    pulling.require_each_once(open_it(), tmp_path, 40)


def test_of_two_claims_at_the_same_moment_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    with Ledger(study(path), names_of(3), 30) as one, Ledger(study(path), names_of(3), 30) as two:
        free = two.open()["trial-000"]  # both have seen it free
        first = begin(one, "trial-000")
        assert first is not None and two.claim("trial-000", free, {"x": 1}) is None
        assert [t._trial_id for t in attempts_in(one.study)["trial-000"]] == [first]
        assert list(two.open()) == ["trial-001", "trial-002"]
        states = [t.state for t in one.study.get_trials()]
        assert states == [TrialState.RUNNING, TrialState.FAIL]


def test_a_worker_of_another_machine_that_shows_no_life_loses_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.journal"
    far = elsewhere(path, 0.2, monkeypatch)
    lost = begin(far, "trial-000")
    assert lost is not None
    with Ledger(study(path), names_of(3), 30) as near:
        assert list(near.open()) == ["trial-001", "trial-002"] and near.unsure == 1
        assert near.elsewhere == {"trial-000": "far:0000-1-0:ab"}
        time.sleep(0.25)  # as long as it had promised to need at most
        free = near.open()
        assert list(free) == ["trial-000", "trial-001", "trial-002"]
        again = near.claim("trial-000", free["trial-000"])
        assert again is not None and near.study.get_trials()[-1].system_attrs == {
            "fixed_params": {"x": 1}
        }
        # It was only asleep: what it says now does not count, and it learns so.
        with far:
            assert not far.end(lost, TrialState.COMPLETE, 1.0)
            far.heart.hold(lost)
            time.sleep(0.2)
            assert far.heart.lost == {lost}
        assert near.end(again, TrialState.COMPLETE, 2.0)
        ended = [(t.state, t.values) for t in near.study.get_trials()]
        assert ended == [(TrialState.FAIL, None), (TrialState.COMPLETE, [2.0])]


def test_a_worker_that_lives_keeps_its_trial_for_longer_than_a_lease(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    with Ledger(study(path), names_of(1), 0.4) as one, Ledger(study(path), names_of(1), 0.4) as two:
        held = begin(one, "trial-000")
        for _ in range(10):
            assert not two.open()
            time.sleep(0.1)
        assert two.unsure == 0 and two.elsewhere == {"trial-000": one.worker}
        (shown,) = running(two.study)
        assert shown[:2] == ("trial-000", one.worker)
        assert place_of(one.worker) == f"{socket.gethostname()}, process {os.getpid()}"
        gone = one.worker.replace(f"-{os.getpid()}-", "-4999999-")  # more than there can be
        assert place_of(gone) == f"{socket.gethostname()}, process 4999999 (gone)"
        assert held is not None and one.end(held, TrialState.COMPLETE, 1.0)


def test_what_failed_is_tried_again_when_a_command_asks_and_what_was_stopped_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "study.journal"
    with Ledger(study(path), names_of(3), 30) as ledger:
        for run, attrs in (("trial-000", {}), ("trial-001", {"end": "stopped"})):
            number = begin(ledger, run)
            assert number is not None and ledger.end(number, TrialState.FAIL, **attrs)
        assert list(ledger.open()) == ["trial-001", "trial-002"]
        assert [t.status for t in tried(ledger.study)] == ["failed", "stopped"]
        ledger.ask_for_failed()
        assert list(ledger.open()) == ["trial-000", "trial-001", "trial-002"]
        number = begin(ledger, "trial-000")
        assert number is not None and ledger.end(number, TrialState.FAIL)
        assert list(ledger.open()) == ["trial-001", "trial-002"] and ledger.missing() == 3


def test_a_trial_that_takes_its_workers_along_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.journal"
    with Ledger(study(path), names_of(1), 30) as ledger:
        for _ in range(MOST_LOSSES):
            begin(elsewhere(path, 0.0, monkeypatch), "trial-000")
            ledger.open()
            time.sleep(0.01)
            free = ledger.open()
        assert not free and ledger.missing() == 1
        (row,) = tried(ledger.study)
        assert (row.status, row.reason) == ("failed", "its worker was lost 5 times")
