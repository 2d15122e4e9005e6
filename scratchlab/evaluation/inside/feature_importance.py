"""Which features a model leans on: by its own account (trees), and by shuffling them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.other_runs import other_run, read_table
from scratchlab.evaluation.outputs.predictions import array_dataset, model_outputs
from scratchlab.figures.style import colour, head, label_text, new_figure, style
from scratchlab.registry import option, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

SHOWN = 20
LONGEST_NAME = 30


@register(
    "evaluator",
    "feature_importance",
    tasks=("classification", "regression"),
    measures={"importance_rank_correlation": "", "permutation_impurity_correlation": ""},
    data=("rows",),
)
class FeatureImportance(Evaluator):
    """Permutation importance (Breiman 2001) on the split, and impurity importance of trees.

    Permutation: how much accuracy (R² for numbers) falls when a feature's values are shuffled among
    the rows, mean and deviation over ``repeats``. Impurity: the share of the splits' gain in
    training. ``compare`` gives the rank correlation (Spearman) of the permutation importances
    with those of other runs.
    """

    @dataclass(frozen=True)
    class Config:
        repeats: int = option(5, "times each feature is shuffled", min=1)
        rows: int | None = option(2000, "rows that are measured; null: all of the split", min=1)
        compare: list[str] = option(
            [], "run folders whose importances are compared with these", path="name"
        )

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        names = array_dataset(context).spec.feature_names
        falls = self._falls(context)
        mean, spread = falls.mean(axis=1), falls.std(axis=1)
        impurity = getattr(context.model, "feature_importances_", None)
        order = np.argsort(-mean, kind="stable")
        columns = ["feature", "permutation", "deviation", *(["impurity"] if impurity is not None
                   else [])]  # fmt: skip
        rows: list[list[str | float]] = []
        for i in order.tolist():
            row: list[str | float] = [names[i], float(mean[i]), float(spread[i])]
            rows.append([*row, float(impurity[i])] if impurity is not None else row)
        context.sink.table("feature_importance", columns, rows)
        context.sink.figure(
            "feature_importance", importance_figure, names, mean, spread, impurity, context.split,
            "accuracy" if context.dataset.spec.n_classes else "R²",
        )  # fmt: skip
        result = []
        for run in self.config.compare:
            own = dict(zip(names, mean.tolist(), strict=True))
            value = rank_correlation(own, other_run(context, run))
            result.append(
                Measurement("importance_rank_correlation", value, better="", settings={"with": run})
            )
        if impurity is not None:
            both = _spearman(mean, np.asarray(impurity))
            result.append(Measurement("permutation_impurity_correlation", both, better=""))
        return result

    def _falls(self, context: EvaluationContext) -> NDArray[np.float64]:
        """Loss of score [features, repeats]."""
        X, y = array_dataset(context).rows(context.split)
        rng = np.random.default_rng(context.seed)
        if self.config.rows is not None and len(X) > self.config.rows:
            kept = np.sort(rng.choice(len(X), self.config.rows, replace=False))
            X, y = X[kept], y[kept]
        whole = self._score(context, X, y)
        falls = np.zeros((X.shape[1], self.config.repeats))
        for feature in range(X.shape[1]):
            shuffled = X.copy()
            for repeat in range(self.config.repeats):
                shuffled[:, feature] = X[rng.permutation(len(X)), feature]
                falls[feature, repeat] = whole - self._score(context, shuffled, y)
        return falls

    def _score(
        self, context: EvaluationContext, X: NDArray[np.float64], y: NDArray[np.float64]
    ) -> float:
        spec = context.dataset.spec
        values, _ = model_outputs(context.model, spec, X, context.device)
        if spec.n_classes:
            return float(np.mean(values == y))
        return 1 - float(np.mean((values - y) ** 2)) / max(float(np.var(y)), 1e-12)


def rank_correlation(own: dict[str, float], path: Path) -> float:
    """Spearman's correlation with the permutation importances in another run's table."""
    found = read_table(path, "feature_importance", ("feature", "permutation"))
    other = {name: float(value) for name, value in found}
    if set(other) != set(own):
        raise UserError(f"{path} is about other features", "Compare runs on the same data set.")
    return _spearman(np.array(list(own.values())), np.array([other[n] for n in own]))


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    from scipy.stats import rankdata

    ranks = rankdata(a), rankdata(b)
    if any(np.ptp(r) == 0 for r in ranks):
        return 0.0  # all alike: there is no order to compare
    return float(np.corrcoef(*ranks)[0, 1])


@style()
def importance_figure(
    names: Sequence[str],
    mean: NDArray[np.float64],
    spread: NDArray[np.float64],
    impurity: NDArray[np.float64] | None,
    split: str,
    score: str,
) -> Figure:
    """Bars of the features, the most important on top; trees' own account beside them."""
    order = np.argsort(-mean, kind="stable")[:SHOWN]
    panels = 1 if impurity is None else 2
    figure, axes = new_figure(1, panels, height=150 + 26 * len(order))
    places = np.arange(len(order))
    left = axes[0][0]
    left.barh(
        places,
        mean[order],
        xerr=spread[order],
        color=colour(0),
        height=0.65,
        error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 2},
    )
    left.set_yticks(places, [label_text(names[i], LONGEST_NAME) for i in order])
    left.set_xlabel(f"fall of {score} when shuffled")
    left.set_title(f"by permutation, on {split}")
    if impurity is not None:
        right = axes[0][1]
        right.barh(places, np.asarray(impurity)[order], color=colour(1), height=0.65)
        right.set_yticks(places, [])
        right.set_xlabel("share of the gain of all splits")
        right.set_title("by impurity, on train")
    for axis in axes[0]:
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
    more = f" ({SHOWN} of {len(names)})" if len(names) > SHOWN else ""
    title = f"Importance of the features{more}"
    head(figure, title)
    return figure
