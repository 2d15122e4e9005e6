"""Who runs which trial of a sweep, and how each ended: kept in the study, on whatever storage.

A trial (``trial-007``: a point, and the name of its run folder) is tried in *attempts*; each is a
trial of Optuna's, and the last one counts. (The runs of a suite that several processes share are
kept in the same way: trials without a point.)

What runs an attempt may end without a word, so it only has a lease of it
(:mod:`scratchlab.studies.sweep.leases`): when that runs out, anybody may end the attempt and begin
the next. Both are safe on every storage without a lock: a trial of Optuna's ends once, and of two
attempts with the same number the one that the storage put first counts; the other is given up
before anything is done for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from scratchlab.reporting.search import Tried
from scratchlab.studies.sweep.leases import SECONDS, WORKER, Heart, Watch, is_dead, new_worker

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
STATUS = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "to run",
}
MOST_LOSSES = 5
"""Attempts in a row that end with their workers, before the trial is taken for the reason."""

# Attributes of an attempt, and how one ended that is to be followed by another.
RUN, ATTEMPT, VALUES, END = "run", "attempt", "values", "end"
STOPPED, LOST = "stopped", "lost"
AGAIN = "again:"  # of the study: as many attempts were there when a command asked for another

Attempts = dict[str, list[FrozenTrial]]


def name_of(number: int) -> str:
    """The name of a trial of the sweep, which is that of its run folder."""
    return f"trial-{number:03d}"


def names_of(count: int) -> list[str]:
    """The names of so many trials."""
    return [name_of(number) for number in range(count)]


def run_of(attempt: FrozenTrial | optuna.Trial) -> str:
    """The trial of the sweep that an attempt is at."""
    return str(attempt.user_attrs.get(RUN) or name_of(attempt.number))


def attempts_in(study: optuna.Study) -> Attempts:
    """The attempts at each trial, in their order, without those that do not count."""
    return _sorted(study)[0]


def _sorted(study: optuna.Study) -> tuple[Attempts, list[FrozenTrial]]:
    """The attempts that count, and those that another process was faster with."""
    found: Attempts = {}
    seen: set[tuple[str, int]] = set()
    late = []
    for trial in study.get_trials(deepcopy=False):
        run, number = run_of(trial), trial.user_attrs.get(ATTEMPT)
        if number is not None and (run, number) in seen:
            late.append(trial)
            continue
        if number is not None:
            seen.add((run, number))
        found.setdefault(run, []).append(trial)
    return found, late


def point_of(attempts: list[FrozenTrial]) -> dict[str, Any]:
    """The point of a trial; empty before it was chosen."""
    for trial in attempts:
        point = trial.params or trial.system_attrs.get("fixed_params", {})
        if point:
            return dict(point)
    return {}


def tried(study: optuna.Study) -> list[Tried]:
    """Every trial as it stands, in the order of their names."""
    rows = []
    for run, attempts in sorted(attempts_in(study).items(), key=lambda a: (len(a[0]), a[0])):
        last, attrs = attempts[-1], attempts[-1].user_attrs
        point = point_of(attempts)
        if not point:
            continue
        status = STATUS[last.state]
        if last.state == TrialState.FAIL and attrs.get(END):
            status = "stopped"
        rows.append(
            Tried(
                run,
                point,
                last.value if last.state in ENDED else None,
                status,
                str(attrs.get("reason", "")),
                str(attrs.get("log", "")),
                float(attrs.get("seconds", 0.0)),
                tuple(attrs.get(VALUES, ())),
            )
        )
    return rows


def running(study: optuna.Study) -> list[tuple[str, str, str]]:
    """The trials that run, with their workers and the time at which they began."""
    last = {run: attempts[-1] for run, attempts in attempts_in(study).items()}
    return [
        (run, str(t.user_attrs.get(WORKER, "")), f"{t.datetime_start:%Y-%m-%d %H:%M:%S}")
        for run, t in sorted(last.items())
        if t.state == TrialState.RUNNING
    ]


class Ledger:
    """A process's view of the study, and what it writes there; used with ``with``.

    ``names``: the trials of the sweep, in their order. ``lease``: seconds after which this process
    may be taken for dead when it shows no sign of life.
    """

    def __init__(self, study: optuna.Study, names: Sequence[str], lease: float) -> None:
        self.study, self.names, self.lease = study, names, lease
        self.worker = new_worker()
        self.heart = Heart(study._storage, lease)
        self._watch = Watch()
        self.unsure = 0  # attempts elsewhere of which it is not known yet whether they go on
        self.elsewhere: dict[str, str] = {}  # the trials that run there, and their workers

    def __enter__(self) -> Ledger:
        self.heart.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.heart.__exit__(*error)

    def ask_for_failed(self) -> None:
        """Have everything tried again that failed by itself so far, or whose process is gone."""
        for run, attempts in attempts_in(self.study).items():
            last = attempts[-1]
            failed = last.state == TrialState.FAIL and not last.user_attrs.get(END)
            worker = str(last.user_attrs.get(WORKER, ""))
            if failed or (last.state == TrialState.RUNNING and is_dead(worker)):
                self.ask_for(run, attempts)

    def ask_for(self, run: str, attempts: Sequence[FrozenTrial]) -> None:
        """Have a trial tried again whose last attempt has ended."""
        self.study.set_user_attr(AGAIN + run, len(attempts))

    def open(self) -> Attempts:
        """The trials that may be begun now, in their order, with the attempts at them so far.

        Leases that have run out are ended.
        """
        found, late = _sorted(self.study)
        asked = self.study.user_attrs
        self.unsure, self.elsewhere = 0, {}
        for trial in late:  # whose process died before it had given it up
            if trial.state == TrialState.RUNNING and self._watch.has_run_out(trial):
                self.end(trial._trial_id, TrialState.FAIL)
        attempts = {run: found.get(run, []) for run in self.names}
        return {run: a for run, a in attempts.items() if not a or self._is_free(run, a, asked)}

    def _is_free(self, run: str, attempts: list[FrozenTrial], asked: Mapping[str, Any]) -> bool:
        last = attempts[-1]
        if last.state == TrialState.RUNNING:
            worker = str(last.user_attrs.get(WORKER, ""))
            if worker == self.worker:
                return False
            if self._watch.has_run_out(last):
                return self._end_lost(attempts, asked.get(AGAIN + run, 0))
            self.unsure += not self._watch.is_alive(last)
            self.elsewhere[run] = worker
            return False
        if last.state == TrialState.WAITING or last.user_attrs.get(END):
            return True
        return len(attempts) <= asked.get(AGAIN + run, 0)

    def _end_lost(self, attempts: list[FrozenTrial], forgotten: int) -> bool:
        """End an attempt whose worker is gone; whether another one is to follow.

        The losses among the first ``forgotten`` attempts are no reason not to.
        """
        number, reason = attempts[-1]._trial_id, "its worker was lost"
        before = [t.user_attrs.get(END) for t in attempts[forgotten:-1]]
        if before[1 - MOST_LOSSES :] == [LOST] * (MOST_LOSSES - 1):
            reason += f" {MOST_LOSSES} times"
            self.end(number, TrialState.FAIL, reason=reason)
            return False
        return self.end(number, TrialState.FAIL, reason=reason, end=LOST)

    def claim(
        self, run: str, before: list[FrozenTrial], point: Mapping[str, Any] | None = None
    ) -> int | None:
        """Begin the next attempt at a trial, at this point if it has none yet.

        Returns Optuna's number of it, or None if another process was faster.
        """
        fixed = point_of(before) or dict(point or {})
        attempt = create_trial(
            state=TrialState.RUNNING,
            user_attrs={
                RUN: run,
                ATTEMPT: len(before),
                WORKER: self.worker,
                SECONDS: self.lease,
            },
            system_attrs={"fixed_params": fixed} if fixed else {},
        )
        number = self.study._storage.create_new_trial(self.study._study_id, attempt)
        if any(t._trial_id == number for t in attempts_in(self.study)[run]):
            self.heart.hold(number)
            return number
        self.end(number, TrialState.FAIL)
        return None

    def end(
        self, attempt: int, state: TrialState, value: float | None = None, **attrs: Any
    ) -> bool:
        """Write down how an attempt ended, and ``attrs`` of it; False if that was done by another
        process already."""
        storage = self.study._storage
        self.heart.let_go(attempt)
        try:
            for key, found in attrs.items():
                storage.set_trial_user_attr(attempt, key, found)
            storage.set_trial_state_values(attempt, state, None if value is None else [value])
        except UpdateFinishedTrialError:
            return False
        return True

    def failed_alike(self) -> tuple[int, str]:
        """How many trials failed for the most frequent reason, and the reason of one of them.

        Those that are to be tried again do not count. Reasons are alike if they differ in numbers.
        """
        asked = self.study.user_attrs
        alike: dict[str, list[str]] = {}
        for run, attempts in attempts_in(self.study).items():
            last = attempts[-1]
            if last.state != TrialState.FAIL or last.user_attrs.get(END):
                continue
            if len(attempts) > asked.get(AGAIN + run, 0):
                reason = str(last.user_attrs.get("reason", ""))
                alike.setdefault(re.sub(r"\d+", "0", reason), []).append(reason)
        most = max(alike.values(), key=len, default=[])
        return len(most), most[0] if most else ""

    def finished(self) -> list[list[float]]:
        """The values of all runs of each trial that ended well."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [list(t.user_attrs[VALUES]) for t in done if VALUES in t.user_attrs]

    def missing(self) -> int:
        """How many trials have not ended well or early."""
        found = attempts_in(self.study)
        return sum(run not in found or found[run][-1].state not in ENDED for run in self.names)
