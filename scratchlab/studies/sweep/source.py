"""A sweep at work: Optuna chooses points and keeps the study, each trial is a run in a process.

A trial of the study that ended badly cannot be taken back; trying it again adds another trial with
the same point and the same ``run``: the name of the run folder, which is that of the first.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from scratchlab.errors import UserError
from scratchlab.regular_files import expanded
from scratchlab.reporting.results import read_results
from scratchlab.reporting.search import Tried, shown_value
from scratchlab.studies.runs import StudyFolder, completed, differences, is_done
from scratchlab.studies.sweep.journal import LOCK, Journal
from scratchlab.studies.sweep.options import Config
from scratchlab.studies.sweep.plan import Sweep
from scratchlab.studies.sweep.space import grid, point_words, seed_of
from scratchlab.studies.workers import Job, Outcome
from scratchlab.tracking.jsonl import METRICS, read_lines

JOURNAL = "study.journal"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
STATUS = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "to run",
}


def open_study(
    sweep: Sweep, folder: StudyFolder, say: Callable[[str], None] = lambda text: None
) -> optuna.Study:
    """Make the study or go on with it; UserError if it is a study of something else."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = sweep.options
    try:
        study = optuna.create_study(
            storage=_storage(options.storage, folder, say),
            study_name=folder.path.name,
            direction="minimize" if options.better == "lower" else "maximize",
            pruner=_pruner(options),
            load_if_exists=True,
        )
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"sweep.storage: the study cannot be opened: {reason}") from error
    _require_same(study, sweep)
    return study


def _storage(
    given: str | None, folder: StudyFolder, say: Callable[[str], None]
) -> optuna.storages.BaseStorage:
    from optuna.storages.journal import JournalRedisBackend, JournalStorage

    if given is None:
        path = folder.path / JOURNAL
        # The sweep's folder is locked by this process, so nobody else holds the journal's lock.
        path.with_name(path.name + LOCK).unlink(missing_ok=True)
        return JournalStorage(Journal(path, say))
    if given.startswith("redis"):
        return JournalStorage(JournalRedisBackend(given))
    if "://" in given:
        return optuna.storages.get_storage(given)
    path = expanded(given)
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(Journal(path, say))


def _pruner(options: Config) -> optuna.pruners.BasePruner:
    if options.pruner is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(options.pruner_trials, options.pruner_warmup)


def sampler_of(options: Config, number: int) -> optuna.samplers.BaseSampler:
    """A sampler whose draws depend on the trial's number and the trials before it alone."""
    seed = seed_of(options.seed, number)
    if options.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _require_same(study: optuna.Study, sweep: Sweep) -> None:
    """The study's trials must be comparable with those to come."""
    now: dict[str, Any] = {
        "metric": sweep.options.chosen,
        "space": sweep.space(),
        "config": sweep.config,
    }
    before = study.user_attrs
    if not study.get_trials(deepcopy=False) or "config" not in before:
        for key, value in now.items():
            study.set_user_attr(key, value)
        return
    hint = "Write name=NAME for a new sweep beside it."
    for key in ("metric", "space"):
        if before[key] != now[key]:
            raise UserError(
                f"the sweep {study.study_name} has another {key}: {before[key]}, now {now[key]}",
                hint,
            )
    changed = list(differences(completed(before["config"]), now["config"]))
    if changed:
        key, old, new = changed[0]
        raise UserError(
            f"the sweep {study.study_name} was begun with {key}={old!r}, now it is {new!r}", hint
        )


def run_of(trial: FrozenTrial | optuna.Trial) -> str:
    """The name of the run folder of a trial."""
    return str(trial.user_attrs.get("run") or f"trial-{trial.number:03d}")


def place_of(folder: StudyFolder) -> str:
    """What tells a folder from those of other machines that share the study."""
    return f"{socket.gethostname()}:{folder.path.resolve()}"


def tried(study: optuna.Study, folder: StudyFolder) -> list[Tried]:
    """Every run of the study as it stands, in the order of their first trials."""
    runs: dict[str, Tried] = {}
    for trial in study.get_trials(deepcopy=False):
        name = run_of(trial)
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        attrs = trial.user_attrs
        if not params:
            continue
        status = STATUS[trial.state]
        if trial.state == TrialState.RUNNING and attrs.get("place") == place_of(folder):
            status = "stopped"
        runs[name] = Tried(
            name,
            dict(params),
            trial.value if trial.state in ENDED else None,
            status,
            str(attrs.get("reason", "")),
            str(attrs.get("log", "")),
            float(attrs.get("seconds", 0.0)),
        )
    return list(runs.values())


class SweepSource:
    """Gives the workers what is missing in the study and tells it how each trial ended."""

    def __init__(
        self,
        sweep: Sweep,
        study: optuna.Study,
        folder: StudyFolder,
        say: Callable[[str], None],
        threads: int | None = None,
    ) -> None:
        self.sweep, self.study, self.folder, self.say = sweep, study, folder, say
        self.threads = [] if threads is None else [f"threads={threads}"]
        self.running: dict[str, optuna.Trial] = {}
        self.place = place_of(folder)
        trials = study.get_trials(deepcopy=False)
        self.adopted = [t for t in trials if t.state == TrialState.RUNNING and self._is_mine(t)]
        self._enqueue(trials)
        self.seen_bytes: dict[str, int] = {}
        self.record()

    def _is_mine(self, trial: FrozenTrial) -> bool:
        """Begun here by a process that is gone (the folder is locked by this one)."""
        place = trial.user_attrs.get("place")
        return place == self.place or (place is None and self.sweep.options.storage is None)

    def _enqueue(self, trials: list[FrozenTrial]) -> None:
        """All points of a grid, once; and what failed, again."""
        latest = {run_of(t): t for t in trials}
        for name, trial in latest.items():
            if trial.state == TrialState.FAIL and trial.params:
                self.study.enqueue_trial(trial.params, user_attrs={"run": name})
        if self.sweep.options.sampler == "grid":
            for point in grid(self.sweep.dimensions):
                self.study.enqueue_trial(point, skip_if_exists=True)

    def missing(self) -> int:
        """How many runs are still to be made."""
        runs = {run_of(t): t.state for t in self.study.get_trials(deepcopy=False)}
        begun = sum(state in ENDED for state in runs.values())
        return max(0, self.sweep.trials - begun)

    def take(self) -> Job | None:
        while True:
            trial = self._next()
            if trial is None:
                return None
            if trial.user_attrs.get("place") != self.place:
                trial.set_user_attr("place", self.place)
            self.study.sampler = sampler_of(self.sweep.options, trial.number)
            point = {d.key: d.suggest(trial) for d in self.sweep.dimensions}
            job = self._job(run_of(trial), point)
            self.running[job.name] = trial
            if not is_done(job.folder):
                return job
            # Its process ended well, but nobody lived to write it down.
            self.ended(job, Outcome(job.name, "done", log=str(job.log)))

    def _next(self) -> optuna.Trial | None:
        if self.adopted:
            return optuna.trial.Trial(self.study, self.adopted.pop(0)._trial_id)
        is_grid = self.sweep.options.sampler == "grid"
        while True:
            trials = self.study.get_trials(deepcopy=False)
            waiting = any(t.state == TrialState.WAITING for t in trials)
            begun = len({run_of(t) for t in trials})
            if not waiting and (is_grid or begun >= self.sweep.trials):
                return None
            trial = self.study.ask()
            if not is_grid or trial.storage.get_trial_system_attrs(trial._trial_id):
                return trial
            # Another machine took the last point in between, and this trial has none.
            self.study.tell(trial, state=TrialState.FAIL)

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
        """With a pruner: report new validations; the reason to end the trial, if there is one."""
        if self.sweep.options.pruner is None:
            return ""
        path = job.folder / METRICS
        size = path.stat().st_size if path.is_file() else 0
        if size == self.seen_bytes.get(job.name):
            return ""
        self.seen_bytes[job.name] = size
        trial, name = self.running[job.name], self.sweep.options.chosen
        known = trial.storage.get_trial(trial._trial_id).intermediate_values
        for entry in read_lines(path):
            value, step = entry.get(name), entry["step"]
            if not isinstance(value, int | float) or math.isnan(value) or step in known:
                continue
            trial.report(float(value), step)
            if trial.should_prune():
                return f"worse than the median at update {step:,} ({name} {value:.4g})"
        return ""

    def ended(self, job: Job, outcome: Outcome) -> None:
        trial = self.running.pop(job.name)
        if outcome.status == "stopped":
            return  # it stays open, and the next call goes on with it
        if outcome.status == "done":
            value = objective(job.folder, self.sweep.options)
            if value is None:
                outcome.status = "failed"
                outcome.reason = f"the run has no {self.sweep.options.chosen} that is a number"
        attrs = {"reason": outcome.reason, "log": outcome.log, "seconds": outcome.seconds}
        for key, text in attrs.items():
            trial.set_user_attr(key, text)
        if outcome.status == "done":
            self.study.tell(trial, value)
        else:
            pruned = outcome.status == "pruned"
            self.study.tell(trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)
        self._announce(job, outcome)
        self.record()

    def _announce(self, job: Job, outcome: Outcome) -> None:
        text = outcome.reason
        if outcome.status == "done":
            best = self.study.best_trial
            text = f"{self.sweep.options.chosen} {self._value(job.name):.5g}"
            text += f" (best {best.value:.5g}, {run_of(best)})"
        log = f" (log: {outcome.log})" if outcome.status == "failed" else ""
        left = self.missing()
        self.say(
            f"{job.name}: {outcome.status} after {outcome.seconds:.0f} s: {text}{log}; {left} to go"
        )

    def _value(self, name: str) -> float:
        found = [t.value for t in self.study.get_trials(deepcopy=False) if run_of(t) == name]
        return float(found[-1] if found[-1] is not None else math.nan)

    def record(self) -> None:
        """Write down how every run ended, as far as they have."""
        self.folder.record(
            [
                Outcome(t.run, t.status, t.reason, t.log, t.seconds)
                for t in tried(self.study, self.folder)
                if t.run not in self.running and t.status != "to run"
            ]
        )


def objective(folder: Path, options: Config) -> float | None:
    """The value that a finished run is compared by, or None if it has none."""
    entries = read_lines(folder / METRICS) if (folder / METRICS).is_file() else []
    logged = [e[options.chosen] for e in entries if isinstance(e.get(options.chosen), int | float)]
    found = [float(v) for v in logged if math.isfinite(v)]
    if found:
        return min(found) if options.better == "lower" else max(found)
    try:
        results = read_results(folder)
    except UserError:
        return None
    named = [m.value for m in results if m.name == options.chosen]
    return float(named[0]) if named and math.isfinite(named[0]) else None


def importance(study: optuna.Study) -> dict[str, float]:
    """Each option's share in the differences between finished trials; empty if too few ended."""
    values = [t.value for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    if len(values) < 4 or len(set(values)) < 2:
        return {}
    # PED-ANOVA, Optuna's default, looks at the best tenth only: of a small study a trial or two.
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    except RuntimeError:  # its trees see no difference between the trials
        return {}
