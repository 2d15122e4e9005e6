"""Values against the truth: MSE, RMSE, MAE, R² and pictures of what is off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.predictions import (
    Predicted,
    keep_values,
    predictions,
    without_copies,
)
from scratchlab.figures.style import colour, new_figure, style
from scratchlab.registry import register

if TYPE_CHECKING:
    from matplotlib.figure import Figure


UNIT = "target"  # errors are in the unit of what is predicted


@register(
    "evaluator",
    "regression",
    tasks=("regression",),
    measures={"rmse": "lower", "mse": "lower", "mae": "lower", "r2": "higher"},
)
class Regression(Evaluator):
    """MSE, RMSE, MAE (in the target's unit) and R²; the residual plot.

    R² is 1 - squared errors / squared distances from the split's mean; null where the target does
    not vary. ``rmse_unseen`` leaves out the rows that have a copy in training (where some have).
    """

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        found = predictions(context)
        error = found.values - found.truth
        rows = len(error)
        mse = float(np.mean(error**2))
        total = float(np.mean((found.truth - found.truth.mean()) ** 2))
        if not context.quick:
            context.sink.figure("residuals", residual_figure, found, context.split)
        result = [
            Measurement("rmse", math.sqrt(mse), UNIT, better="lower", n=rows),
            Measurement("mse", mse, f"{UNIT}²", better="lower", n=rows),
            Measurement("mae", float(np.mean(np.abs(error))), UNIT, better="lower", n=rows),
            Measurement("r2", 1 - mse / total if total > 0 else math.nan, n=rows),
        ]
        kept = keep_values(context, found)
        for one in result:
            one.examples = kept.by("error", measure=one.name)
        unseen = None if context.quick else without_copies(context, rows)
        if unseen is not None:
            rest = math.sqrt(float(np.mean(error[unseen] ** 2)))
            which = {"rows": "without a copy in training", "copies": int((~unseen).sum())}
            kept.add({"unseen": unseen})
            result.append(
                Measurement(
                    "rmse_unseen",
                    rest,
                    UNIT,
                    better="lower",
                    n=int(unseen.sum()),
                    settings=which,
                    examples=kept.by("error", measure="rmse", where="unseen"),
                )
            )
        return result


@style()
def residual_figure(found: Predicted, split: str) -> Figure:
    """Predicted against true values, and the residuals (true - predicted) over the predictions."""
    figure, ((left, right),) = new_figure(1, 2, height=430)
    truth, values = found.truth, found.values
    dots = {"s": 14, "color": colour(0), "alpha": 0.6, "linewidths": 0}
    low, high = min(truth.min(), values.min()), max(truth.max(), values.max())
    left.plot([low, high], [low, high], color="#999999", linestyle="--", linewidth=1)
    left.scatter(truth, values, **dots)
    left.set_xlabel("true value")
    left.set_ylabel("predicted value")
    left.set_title(f"Predictions on {split} ({len(truth):,} rows)")
    right.axhline(0, color="#999999", linestyle="--", linewidth=1)
    right.scatter(values, truth - values, **dots)
    right.set_xlabel("predicted value")
    right.set_ylabel("residual: true - predicted")
    right.set_title("Residuals")
    return figure
