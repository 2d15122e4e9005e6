"""Training that stops where it is good enough, and how long it took to get there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scratchlab.data.contract import Dataset
from scratchlab.errors import UserError, suggest
from scratchlab.evaluation.comparable import expected
from scratchlab.training.contract import Progress, TrainingContext

KEY = "trainer.stop_at"


def goals(config: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    """What is to be reached of each metric, and which way it improves.

    Raises:
        UserError: no validation measures it, or it is neither better high nor low.
    """
    wanted: Mapping[str, float] = config["trainer"].get("stop_at") or {}
    if not wanted:
        return {}
    found, whole = expected(config)
    measured = {name: metric for name, metric in found.items() if name.startswith("val/")}
    goals = {}
    for name, value in wanted.items():
        if name not in measured and (whole or not name.startswith("val/")):
            hint = suggest(name, measured, "Measured are")
            more = " Others are measured with trainer.validation_evaluators=[…]."
            raise UserError(f"{KEY}: no validation measures {name!r}", hint + more)
        better = measured[name].better if name in measured else ""
        if not better:
            raise UserError(f"{KEY}: nothing says whether {name} is better high or low",
                            "Choose a metric whose evaluator says so.")  # fmt: skip
        goals[name] = (float(value), better)
    return goals


def check_goals(config: Mapping[str, Any], dataset: Dataset) -> None:
    """UserError, before anything is trained, if ``trainer.stop_at`` can never be reached."""
    if goals(config) and not ("val" in dataset.splits and dataset.size("val") > 0):
        raise UserError(f"{KEY}: the data set has no validation split", "Give it one, or leave it.")


def said(goals: Mapping[str, tuple[float, str]]) -> str:
    """``val/loss ≤ 1.55``."""
    sign = {"lower": "≤", "higher": "≥"}
    return ", ".join(f"{name} {sign[better]} {value:g}" for name, (value, better) in goals.items())


def meets(scalars: Mapping[str, float], goals: Mapping[str, tuple[float, str]]) -> bool:
    """Whether a validation found all that is to be reached."""
    signs = {"lower": 1, "higher": -1}
    return bool(goals) and all(
        name in scalars and signs[better] * scalars[name] <= signs[better] * value
        for name, (value, better) in goals.items()
    )


def stop_where_reached(
    at: Progress, scalars: Mapping[str, float], context: TrainingContext
) -> None:
    """The end of training where a validation found what ``trainer.stop_at`` says; said and kept."""
    wanted = goals(context.config)
    if missing := [name for name in wanted if name not in scalars]:
        known = ", ".join(sorted(scalars))
        raise UserError(f"{KEY}: {missing[0]!r} is not measured", f"Measured: {known}.")
    if meets(scalars, wanted):
        at.finished = True
        at.reached = {
            "target": {name: value for name, (value, _) in wanted.items()},
            "found": {name: float(scalars[name]) for name in wanted},
            "step": at.step,
            "training_seconds": at.seconds,
            "seconds": context.command_seconds(),
        }
        found = ", ".join(f"{name} {scalars[name]:.4f}" for name in wanted)
        context.tracker.message(
            f"reached {said(wanted)} after update {at.step:,} ({found}): "
            f"{at.reached['seconds']:,.1f} s since the command, {at.seconds:,.1f} s of training"
        )
    elif wanted and at.finished:
        context.tracker.message(f"{said(wanted)} was not reached")


def still_reached(at: Progress, config: Mapping[str, Any]) -> bool:
    """Whether what a run that goes on has reached is what is wanted now; else it is forgotten."""
    if at.reached is not None and not meets(at.reached.get("found") or {}, goals(config)):
        at.reached = None
    return at.reached is not None
