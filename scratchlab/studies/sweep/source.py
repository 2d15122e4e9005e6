"""A sweep at work: free trials are taken from the study, and what came of them is told to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from scratchlab.reporting.search import shown_value
from scratchlab.studies.runs import StudyFolder, is_done
from scratchlab.studies.sweep.ledger import STOPPED, Ledger, run_of, tried
from scratchlab.studies.sweep.plan import Sweep
from scratchlab.studies.sweep.space import grid, point_words
from scratchlab.studies.sweep.study import pruner_of, sampler_of
from scratchlab.studies.sweep.values import objective
from scratchlab.studies.workers import Job, Outcome
from scratchlab.tracking.jsonl import METRICS, read_lines

SECONDS_BETWEEN_LOOKS = 0.5  # into a study that had nothing to do


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
        self.pruner = pruner_of(sweep.options)
        self.points = list(grid(sweep.dimensions)) if sweep.options.sampler == "grid" else []
        self.running: dict[str, optuna.Trial] = {}
        self._seen_bytes: dict[str, int] = {}
        self._next_look = 0.0
        self.record()

    def missing(self) -> int:
        """How many trials are still to be made."""
        return self.ledger.missing()

    def take(self) -> Job | None:
        if time.monotonic() < self._next_look:
            return None
        for run, attempts in self.ledger.open().items():
            job = self._begin(run, attempts)
            if job is not None:
                return job
        self._next_look = time.monotonic() + min(SECONDS_BETWEEN_LOOKS, self.ledger.lease / 4)
        return None

    def waits(self) -> bool:
        """Whether it must be seen first if what runs elsewhere goes on or is to be taken over."""
        return self.ledger.unsure > 0

    def _begin(self, run: str, attempts: list[FrozenTrial]) -> Job | None:
        """The job of a trial that is free, or None if there is nothing to run for it."""
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
        job = self._job(run, point)
        self.running[job.name] = trial
        if not is_done(job.folder):
            return job
        # Its process ended well, but nobody lived to write it down.
        self.ended(job, Outcome(job.name, "done", log=str(job.log)))
        return None

    def _job(self, name: str, point: dict[str, Any]) -> Job:
        sweep = self.sweep
        flags = ["--config-dir", sweep.config_dir] if sweep.config_dir else []
        words = [*sweep.words, *sweep.defaults, *self.threads]
        words += point_words(sweep.dimensions, point)
        return self.folder.job(name, ["train", *flags], words)

    def started(self, job: Job) -> None:
        again = " again" if (job.folder / "config.yaml").is_file() else ""
        params = self.running[job.name].params
        shown = " ".join(f"{key}={shown_value(value)}" for key, value in params.items())
        self.say(f"{job.name}: started{again}: {shown} (log: {job.log})")

    def watch(self, job: Job) -> str:
        """The reason to end the trial, if there is one; with a pruner new validations are told."""
        trial = self.running[job.name]
        if trial._trial_id in self.ledger.heart.lost:
            return "taken over by another worker, as this one had shown no sign of life"
        if self.sweep.options.pruner is None:
            return ""
        path = job.folder / METRICS
        size = path.stat().st_size if path.is_file() else 0
        if size == self._seen_bytes.get(job.name):
            return ""
        self._seen_bytes[job.name] = size
        name = self.sweep.options.chosen
        known = trial.storage.get_trial(trial._trial_id).intermediate_values
        for entry in read_lines(path):
            value, step = entry.get(name), entry["step"]
            if not isinstance(value, int | float) or math.isnan(value) or step in known:
                continue
            try:
                trial.report(float(value), step)
            except UpdateFinishedTrialError:
                continue  # the next look tells why
            if trial.should_prune():
                return f"worse than the median at update {step:,} ({name} {value:.4g})"
        return ""

    def ended(self, job: Job, outcome: Outcome) -> None:
        trial = self.running.pop(job.name)
        self._next_look = 0.0
        value = None
        if outcome.status == "done":
            value = objective(job.folder, self.sweep.options)
            if value is None:
                outcome.status = "failed"
                outcome.reason = f"the run has no {self.sweep.options.chosen} that is a number"
        attrs: dict[str, Any] = {"log": outcome.log, "seconds": outcome.seconds}
        if outcome.reason:
            attrs["reason"] = outcome.reason
        if outcome.status == "stopped":
            attrs["end"] = STOPPED
        state, values = TrialState.FAIL, None
        if value is not None:
            state, values = TrialState.COMPLETE, [value]
        elif outcome.status == "pruned":
            state, values = TrialState.PRUNED, self._last_reported(trial)
        if not self.ledger.end(trial._trial_id, state, values, **attrs):
            self.say(f"{job.name}: was taken over by another worker")
        elif outcome.status != "stopped":
            self._announce(job, outcome, value)
        self.record()

    def _last_reported(self, trial: optuna.Trial) -> list[float] | None:
        reported = trial.storage.get_trial(trial._trial_id).intermediate_values
        return [reported[max(reported)]] if reported else None

    def _announce(self, job: Job, outcome: Outcome, value: float | None) -> None:
        text = outcome.reason
        if value is not None:
            best = self.study.best_trial
            text = f"{self.sweep.options.chosen} {value:.5g}"
            text += f" (best {best.value:.5g}, {run_of(best)})"
        log = f" (log: {outcome.log})" if outcome.status == "failed" else ""
        left = self.missing()
        self.say(
            f"{job.name}: {outcome.status} after {outcome.seconds:.0f} s: {text}{log}; {left} to go"
        )

    def release(self) -> None:
        """Leave to others what has not ended: this process will not."""
        for name, trial in list(self.running.items()):
            del self.running[name]
            self.ledger.end(trial._trial_id, TrialState.FAIL, end=STOPPED)

    def record(self) -> None:
        """Write down how every trial ended, as far as they have."""
        self.folder.record(
            [
                Outcome(t.run, t.status, t.reason, t.log, t.seconds)
                for t in tried(self.study)
                if t.status not in ("running", "to run")
            ]
        )
