"""Bagging from the inside: what each further member gives, and how far the members agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.estimators.ensembles.members import class_shares
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.other_runs import other_run, read_table
from scratchlab.evaluation.outputs.predictions import array_dataset
from scratchlab.figures.style import SEQUENTIAL, colour, head, new_figure, style
from scratchlab.registry import option, register

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register(
    "evaluator",
    "ensemble",
    tasks=("classification", "regression"),
    measures={"member_accuracy": "higher", "member_rmse": "lower"},
    asks="members",
)
class Ensemble(Evaluator):
    """Score of the first 1, 2, 5 … members of a bagging (table ``ensemble``), and their votes.

    Accuracy for classes, RMSE for numbers. The picture ``votes`` is a histogram over the rows: of
    the share of members that vote for the winning class (rows that are right and wrong apart), or
    of the deviation among the members' numbers. ``compare`` joins the tables of other runs to the
    heat map of ensembles × members.
    """

    @dataclass(frozen=True)
    class Config:
        counts: list[int] = option([1, 2, 5, 10, 20, 50, 100], "numbers of members", min=1)
        label: str = option("", "what the heat map calls this run; empty: its members")
        compare: dict[str, str] = option(
            {}, "other runs in the heat map: {LABEL: RUN, …}", path="name"
        )

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        members = getattr(context.model, "members_", None)
        if not members:
            raise UserError(
                "evaluator.ensemble: this model has no members", "It is for model=bagging."
            )
        X, y = array_dataset(context).rows(context.split)
        classes = bool(context.dataset.spec.n_classes)
        said = self._classes(context, X) if classes else self._numbers(context, X)
        counts = sorted({c for c in self.config.counts if c < len(members)} | {len(members)})
        rows = [(count, _score(said[:count].mean(axis=0), y, classes)) for count in counts]
        metric = "accuracy" if classes else "rmse"
        context.sink.table("ensemble", ("members", metric), rows)
        context.sink.figure("votes", votes_figure, said, y, classes, context.split)
        table = {self.config.label or _name(context): dict(rows)}
        for label, run in self.config.compare.items():
            found = read_table(other_run(context, run), "ensemble", ("members", metric))
            table[label] = {int(n): float(value) for n, value in found}
        if self.config.compare:
            what = "Accuracy" if classes else "RMSE"
            title = f"{what} of bagging on {context.split} by members"
            context.sink.figure("ensemble_heat_map", heat_map, table, metric, title)
        alone = [_score(one, y, classes) for one in said]
        return [
            Measurement(
                f"member_{metric}",
                float(np.mean(alone)),
                better="higher" if classes else "lower",
                spread=float(np.std(alone)),
                n=len(y),
                settings={"spread": "standard deviation over the members"},
            )
        ]

    def _classes(self, context: EvaluationContext, X: NDArray[Any]) -> NDArray[np.float64]:
        """[members, rows, classes]: probabilities, or votes where the ensemble counts those."""
        model = context.model
        soft = model.vote == "soft"
        classes = context.dataset.spec.n_classes or 0
        found = np.zeros((len(model.members_), len(X), classes))
        for number, member in enumerate(model.members_):
            shares = class_shares(member, X, model.classes_, soft)
            found[number][:, np.asarray(model.classes_, dtype=np.int64)] = shares
        return found

    def _numbers(self, context: EvaluationContext, X: NDArray[Any]) -> NDArray[np.float64]:
        """[members, rows]."""
        return np.stack([member.predict(X) for member in context.model.members_])


def _name(context: EvaluationContext) -> str:
    return type(context.model.members_[0]).__name__


def _score(said: NDArray[Any], y: NDArray[Any], classes: bool) -> float:
    if classes:
        return float(np.mean(said.argmax(axis=-1) == y))
    return float(np.sqrt(np.mean((said - y) ** 2)))


@style()
def votes_figure(said: NDArray[Any], y: NDArray[Any], classes: bool, split: str) -> Figure:
    """Agreement of the members over the rows of a split."""
    figure, ((axis,),) = new_figure(height=400)
    members = len(said)
    if classes:
        votes = np.stack([np.bincount(v, minlength=said.shape[2]) for v in said.argmax(-1).T])
        share = votes.max(axis=1) / members
        right = votes.argmax(axis=1) == y
        bars = min(members, 20)
        bins = (np.arange(bars + 2) - 0.5) / bars  # shares are in the middle of a bar
        axis.hist(
            [share[right], share[~right]],
            bins,
            rwidth=0.9,
            stacked=True,
            color=[colour(0), colour(1)],
            label=[f"right ({right.sum():,})", f"wrong ({(~right).sum():,})"],
        )
        axis.set_xlabel("share of the members that vote for the winning class")
        axis.set_xlim(0, 1 + 0.6 / bars)
        figure.legend(loc="outside lower center", ncols=2)
    else:
        axis.hist(said.std(axis=0), 30, color=colour(0))
        axis.set_xlabel("standard deviation among the members' predictions")
    axis.set_ylabel(f"rows of {split}")
    head(figure, f"Agreement of {members} members on {len(y):,} rows")
    return figure


@style()
def heat_map(table: dict[str, dict[int, float]], metric: str, title: str) -> Figure:
    """Ensembles (down) × members (across), the score in each cell."""
    counts: Sequence[int] = sorted({c for row in table.values() for c in row})
    values = np.array([[row.get(c, np.nan) for c in counts] for row in table.values()])
    figure, ((axis,),) = new_figure(height=150 + 46 * len(table))
    low, high = np.nanmin(values), np.nanmax(values)
    image = axis.imshow(values, cmap=SEQUENTIAL, aspect="auto", vmin=low, vmax=high)
    middle = low + 0.55 * (high - low)
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        if np.isfinite(value):
            shade = "white" if value > middle else "black"
            axis.text(column, row, f"{value:.3f}", ha="center", va="center", color=shade)
    axis.set_xticks(range(len(counts)), [str(c) for c in counts])
    axis.set_yticks(range(len(table)), list(table))
    axis.grid(False)
    axis.set_xlabel("members")
    head(figure, title)
    bar = figure.colorbar(image, ax=axis)
    bar.set_label(f"{metric} {'↑' if metric == 'accuracy' else '↓'}")
    bar.outline.set_visible(False)
    return figure
