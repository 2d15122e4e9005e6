"""What trials are worth, and what their options had to do with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from scratchlab.errors import UserError
from scratchlab.reporting.results import read_results
from scratchlab.run.folder import RESULTS
from scratchlab.studies.sweep.options import Config
from scratchlab.tracking.jsonl import METRICS, read_lines

PRUNED = {"median": "worse than the median", "hyperband": "not among the best third"}


def objective(folder: Path, options: Config) -> float:
    """The value that a finished run is compared by; UserError if it has none, or its file is
    damaged."""
    entries = read_lines(folder / METRICS, whole=True) if (folder / METRICS).is_file() else []
    logged = [e[options.chosen] for e in entries if isinstance(e.get(options.chosen), int | float)]
    found = [float(v) for v in logged if math.isfinite(v)]
    if found:
        return min(found) if options.better == "lower" else max(found)
    measured = read_results(folder) if (folder / RESULTS).exists() else []
    named = [m.value for m in measured if m.name == options.chosen]
    if not named or not math.isfinite(named[0]):
        raise UserError(f"the run has no {options.chosen} that is a number")
    return float(named[0])


def report(trial: optuna.Trial, entries: Sequence[Mapping[str, Any]], options: Config) -> str:
    """Tell the study of the validations in a run's metrics that it does not know yet; the reason
    to end the trial, if its pruner sees one."""
    known = trial.storage.get_trial(trial._trial_id).intermediate_values
    for entry in entries:
        value, step = entry.get(options.chosen), entry["step"]
        if not isinstance(value, int | float) or math.isnan(value) or step in known:
            continue
        try:
            trial.report(float(value), step)
        except UpdateFinishedTrialError:
            return ""  # another worker has taken the trial over, which the next look tells
        if trial.should_prune():
            why = PRUNED[str(options.pruner)]
            return f"{why} at update {step:,} ({options.chosen} {value:.4g})"
    return ""


def last_reported(trial: optuna.Trial) -> float | None:
    """The validation that was told last."""
    reported = trial.storage.get_trial(trial._trial_id).intermediate_values
    return reported[max(reported)] if reported else None


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
