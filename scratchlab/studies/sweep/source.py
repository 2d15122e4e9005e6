"""A sweep at work: free trials are taken from the study, and what came of them is told to it."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from scratchlab.errors import UserError, number_of
from scratchlab.reporting.search import shown_value
from scratchlab.studies.runs import StudyFolder, is_done
from scratchlab.studies.sweep.leases import place_of
from scratchlab.studies.sweep.ledger import STOPPED, VALUES, Ledger, run_of, running, tried
from scratchlab.studies.sweep.plan import Repeat, Sweep
from scratchlab.studies.sweep.racing import is_hopeless
from scratchlab.studies.sweep.space import grid, point_words
from scratchlab.studies.sweep.study import pruner_of, sampler_of
from scratchlab.studies.sweep.values import last_reported, objective, report
from scratchlab.studies.workers import STOP, Job, Outcome
from scratchlab.tracking.jsonl import METRICS, read_lines

SECONDS_BETWEEN_LOOKS = 0.5  # into a study that had nothing to do


@dataclass
class _Held:
    """A trial that this process has the lease of: its runs, one after the other."""

    run: str
    trial: optuna.Trial
    point: dict[str, Any]
    left: list[Repeat]
    values: list[float] = field(default_factory=list)
    seconds: float = 0.0
    job: str | None = None  # the run that is at work


class SweepSource:
    """Gives the workers what is missing in the study and tells it how each trial ended.

    Any number of them, in as many processes and on as many machines, may be at one study.
    """

    def __init__(
        self,
        sweep: Sweep,
        ledger: Ledger,
        folder: StudyFolder,
        say: Callable[[str], None],
        threads: int | None = None,
    ) -> None:
        self.sweep, self.ledger, self.folder, self.say = sweep, ledger, folder, say
        self.study = ledger.study
        self.threads = [] if threads is None else [f"threads={threads}"]
        self.pruner = pruner_of(sweep)
        self.points = list(grid(sweep.dimensions)) if sweep.options.sampler == "grid" else []
        self.held: dict[str, _Held] = {}
        self.given_up = ""  # why no more trials are begun
        self._seen_bytes: dict[str, int] = {}
        self._next_look = 0.0
        self._waited = False
        self.record()

    def missing(self) -> int:
        """How many trials are still to be made."""
        return self.ledger.missing()

    def left(self) -> int:
        """How many trials may still be begun or are going on, here or elsewhere."""
        free = 0 if self._gives_up() else len(self.ledger.open())
        return free + len(self.held) + len(self.ledger.elsewhere)

    def states(self) -> dict[str, str]:
        """How every trial stands that was begun, for people."""
        found = {run: f"running on {place_of(worker)}" for run, worker, _ in running(self.study)}
        for t in tried(self.study):
            if t.run not in found:
                value = "" if t.value is None else f"{self.sweep.options.chosen} {t.value:.5g}"
                found[t.run] = ": ".join(filter(None, (t.status, value, t.reason)))
        return dict(sorted(found.items()))

    def take(self) -> Job | None:
        if self._gives_up():
            return None
        for held in [h for h in self.held.values() if h.job is None]:
            if (job := self._go_on(held)) is not None:
                return job
        if time.monotonic() < self._next_look:
            return None
        for run, attempts in self.ledger.open().items():
            begun = self._begin(run, attempts)
            if begun is not None and (job := self._go_on(begun)) is not None:
                return job
        self._next_look = time.monotonic() + min(SECONDS_BETWEEN_LOOKS, self.ledger.lease / 4)
        return None

    def waits(self) -> bool:
        """Whether it must be seen first if what runs elsewhere goes on or is to be taken over."""
        waits = not self.given_up and self.ledger.unsure > 0
        if waits and not self._waited:
            self._waited = True
            where = "; ".join(f"{t} by {place_of(w)}" for t, w in self.ledger.elsewhere.items())
            self.say(f"waiting for a sign of life of what is run elsewhere: {where}")
        return waits

    def _gives_up(self) -> bool:
        most = self.sweep.options.fail_fast
        if most is not None and not self.given_up and time.monotonic() >= self._next_look:
            count, reason = self.ledger.failed_alike()
            if count >= most:
                self.given_up = f"{number_of(count, 'trial')} failed alike: {reason}"
                self.say(f"{self.given_up}; no more are begun (sweep.fail_fast={most})")
        return bool(self.given_up)

    def _begin(self, run: str, attempts: list[FrozenTrial]) -> _Held | None:
        """A trial that is free, its point chosen; None if another process was faster."""
        number = int(run.rpartition("-")[2])
        claimed = self.ledger.claim(run, attempts, self.points[number] if self.points else None)
        if claimed is None:
            return None
        sampler = sampler_of(self.sweep.options, number)
        study = optuna.Study(
            self.study.study_name, self.study._storage, sampler=sampler, pruner=self.pruner
        )
        trial = optuna.Trial(study, claimed)
        try:
            point = {d.key: d.suggest(trial) for d in self.sweep.dimensions}
        except UpdateFinishedTrialError:  # the choice took longer than the lease
            return None
        held = _Held(run, trial, point, list(self.sweep.repeats))
        self.held[run] = held
        return held

    def _go_on(self, held: _Held) -> Job | None:
        """The next run of a trial; None if it has ended without one."""
        while held.run in self.held:
            job = self._job(held, held.left[0])
            held.job = job.name
            if not is_done(job.folder):
                return job
            # Its process ended well, but nobody lived to write it down.
            self.ended(job, Outcome(job.name, "done", log=str(job.log)))
        return None

    def _job(self, held: _Held, repeat: Repeat) -> Job:
        sweep = self.sweep
        flags = ["--config-dir", sweep.config_dir] if sweep.config_dir else []
        words = [*sweep.words, *sweep.defaults, *repeat.words, *self.threads]
        words += point_words(sweep.dimensions, held.point)
        return self.folder.job(held.run + repeat.suffix, ["train", *flags], words)

    def _holder(self, job: Job) -> _Held:
        return next(held for held in self.held.values() if held.job == job.name)

    def started(self, job: Job) -> None:
        again = " again" if (job.folder / "config.yaml").is_file() else ""
        point = self._holder(job).point
        shown = " ".join(f"{key}={shown_value(value)}" for key, value in point.items())
        self.say(f"{job.name}: started{again}: {shown} (log: {job.log})")

    def watch(self, job: Job) -> str:
        """The reason to end the run, if there is one; with a pruner new validations are told."""
        held = self._holder(job)
        if held.trial._trial_id in self.ledger.heart.lost:
            return "taken over by another worker, as this one had shown no sign of life"
        if self.given_up:
            return STOP
        if self.sweep.options.pruner is None or held.values:
            return ""
        path = job.folder / METRICS
        size = path.stat().st_size if path.is_file() else 0
        if size == self._seen_bytes.get(job.name):
            return ""
        self._seen_bytes[job.name] = size
        return report(held.trial, read_lines(path), self.sweep.options)

    def ended(self, job: Job, outcome: Outcome) -> None:
        held, options = self._holder(job), self.sweep.options
        held.job = None
        held.seconds += outcome.seconds
        self._next_look = 0.0
        if outcome.status == "done":
            try:
                held.values.append(objective(job.folder, options))
                held.left.pop(0)
            except UserError as error:
                outcome.status, outcome.reason = "failed", error.message
        if outcome.status == "done" and held.left:
            if not (options.race and self._is_hopeless(held)):
                self.say(f"{job.name}: done after {outcome.seconds:.0f} s: {self._values(held)}")
                return
            outcome.status = "pruned"
            runs = f"{len(held.values)} of {len(self.sweep.repeats)} runs"
            outcome.reason = f"too far behind the best after {runs}"
        self._end(held, outcome)
        self.record()

    def _is_hopeless(self, held: _Held) -> bool:
        return is_hopeless(held.values, self.ledger.finished(), self.sweep.options.better)

    def _end(self, held: _Held, outcome: Outcome) -> None:
        """Tell the study how a trial ended."""
        del self.held[held.run]
        attrs: dict[str, Any] = {"log": outcome.log, "seconds": round(held.seconds, 1)}
        if outcome.reason:
            attrs["reason"] = outcome.reason
        if len(self.sweep.repeats) > 1:
            attrs[VALUES] = held.values
        state, value = TrialState.FAIL, None
        if outcome.status == "stopped":
            attrs["end"] = STOPPED
        elif outcome.status == "done":
            state, value = TrialState.COMPLETE, statistics.fmean(held.values)
        elif outcome.status == "pruned":
            state = TrialState.PRUNED
            value = statistics.fmean(held.values) if held.values else last_reported(held.trial)
        if not self.ledger.end(held.trial._trial_id, state, value, **attrs):
            self.say(f"{held.run}: was taken over by another worker")
        elif outcome.status != "stopped":
            self._announce(held, outcome)

    def _announce(self, held: _Held, outcome: Outcome) -> None:
        text = outcome.reason
        if outcome.status == "done":
            best = self.study.best_trial
            text = f"{self._values(held)} (best {best.value:.5g}, {run_of(best)})"
        log = f" (log: {outcome.log})" if outcome.status == "failed" else ""
        after = f"after {held.seconds:.0f} s"
        self.say(f"{held.run}: {outcome.status} {after}: {text}{log}; {self.missing()} to go")

    def _values(self, held: _Held) -> str:
        text = f"{self.sweep.options.chosen} {statistics.fmean(held.values):.5g}"
        if len(held.values) > 1:
            text += f" ± {statistics.stdev(held.values):.2g}"
        return text

    def release(self) -> None:
        """Leave to others what has not ended: this process will not go on with it."""
        for held in list(self.held.values()):
            del self.held[held.run]
            with contextlib.suppress(Exception):  # else they find the lease run out
                self.ledger.end(held.trial._trial_id, TrialState.FAIL, end=STOPPED)

    def record(self) -> None:
        """Write down how every run ended, as far as they have."""
        outcomes = []
        for t in tried(self.study):
            if t.status in ("running", "to run"):
                continue
            names = [t.run + repeat.suffix for repeat in self.sweep.repeats]
            done = len(names) if t.status == "done" else len(t.values)
            outcomes += [Outcome(name, "done", "", t.log, t.seconds) for name in names[:done]]
            if t.status != "pruned" or not t.values:  # else the next run was not begun
                outcomes += [
                    Outcome(name, t.status, t.reason, t.log, t.seconds)
                    for name in names[done : done + 1]
                ]
        self.folder.record(outcomes)
