"""The examples that a model gets wrong, as pictures or rows, and those that two models share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.contract import ArrayDataset
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.other_runs import other_run, read_table
from scratchlab.evaluation.outputs.predictions import (
    Predicted,
    keep_classes,
    keep_values,
    predictions,
)
from scratchlab.figures.images import draw_image
from scratchlab.figures.style import head, label_text, new_figure, style
from scratchlab.registry import option, register

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8  # pictures in a row
LONGEST_NAME = 8  # of a class above a picture


@register(
    "evaluator",
    "mistakes",
    tasks=("classification", "regression"),
    measures={"mistakes": "lower", "mistakes_shared": ""},
    changed_by=("tolerance",),
    data=("rows", "texts"),
)
class Mistakes(Evaluator):
    """What a model gets wrong: table ``mistakes`` (all of them) and, for images, a picture.

    Rows are those of a table, images or texts. Classes: every row of another class than the
    predicted one, the surest mistakes first. Numbers: the rows, the largest errors first; a
    *mistake* is an error above ``tolerance``. With ``compare`` the mistakes are compared with those
    of other runs on the same split:
    ``mistakes_shared`` is |A ∩ B| / |A ∪ B| (Jaccard), 1 where both make the same mistakes.
    """

    @dataclass(frozen=True)
    class Config:
        shown: int = option(24, "mistakes in the picture or with their cells or text", min=1)
        tolerance: float | None = option(
            None,
            "numbers: errors above this are mistakes; null: the standard deviation of the target",
            above=0,
        )
        compare: list[str] = option(
            [], "run folders whose mistakes are compared with these", path="name"
        )

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        found = predictions(context)
        wrong, order = self._wrong(context, found)
        number = Measurement("mistakes", float(len(wrong)), "rows", "lower", n=len(found.truth))
        keep_right = keep_classes if context.dataset.spec.n_classes else keep_values
        kept = keep_right(context, found)
        kept.add({"mistake": np.isin(np.arange(len(found.truth)), wrong)})
        number.examples = kept.by("count", column="mistake")
        result = [number]
        if context.quick:
            return result
        dataset = context.dataset
        if not isinstance(dataset, ArrayDataset | TextClassDataset):
            raise UserError("evaluator.mistakes needs a table, images or texts with classes")
        context.sink.table("mistakes", *self._table(context, dataset, found, order))
        if isinstance(dataset, ArrayDataset) and dataset.spec.image_shape and len(order):
            shown = order[: self.config.shown]
            context.sink.figure("mistakes", mistakes_figure, context, dataset, found, shown)
        if self.config.compare:
            result += self._compare(context, dataset, found, set(wrong.tolist()))
        return result

    def _wrong(
        self, context: EvaluationContext, found: Predicted
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers of the mistakes, rising and worst first."""
        if context.dataset.spec.n_classes:
            wrong = np.flatnonzero(found.values != found.truth)
            surest = np.zeros(len(wrong))
            if found.shares is not None:
                surest = found.shares[wrong, found.values[wrong].astype(int)]
            return wrong, wrong[np.argsort(-surest, kind="stable")]
        error = np.abs(found.values - found.truth)
        bound = self.config.tolerance or float(found.truth.std())
        wrong = np.flatnonzero(error > bound)
        return wrong, wrong[np.argsort(-error[wrong], kind="stable")]

    def _table(
        self,
        context: EvaluationContext,
        dataset: ArrayDataset | TextClassDataset,
        found: Predicted,
        order: NDArray[np.int64],
    ) -> tuple[list[str], list[list[Any]]]:
        names = dataset.spec.class_names
        cells = dataset.original(context.split, 0)
        columns = ["row", "true", "predicted", *(["probability"] if names else ["error"]), *cells]
        rows: list[list[Any]] = []
        for place, index in enumerate(order.tolist()):
            truth, value = found.truth[index], found.values[index]
            if names:
                share = "" if found.shares is None else float(found.shares[index, int(value)])
                row: list[Any] = [index, names[int(truth)], names[int(value)], share]
            else:
                row = [index, float(truth), float(value), float(value - truth)]
            shown = dataset.original(context.split, index) if place < self.config.shown else {}
            rows.append([*row, *(shown.get(c, "") for c in cells)])
        return columns, rows

    def _compare(
        self,
        context: EvaluationContext,
        dataset: ArrayDataset | TextClassDataset,
        found: Predicted,
        own: set[int],
    ) -> list[Measurement]:
        table, result = [], []
        rows, names = len(found.truth), dataset.spec.class_names
        for name in self.config.compare:
            listed = read_table(other_run(context, name), "mistakes", ("row", "true"))
            other = {int(row) for row, _ in listed}
            for row, true in listed:
                index = int(row)
                if index >= rows or not _same(true, found.truth[index], names):
                    raise UserError(
                        f"compare: the mistakes of {name} are about other rows: "
                        f"row {row} has the target {true} there",
                        "Compare runs on the same data set, split and dataset.split_seed.",
                    )
            both, either = len(own & other), len(own | other)
            shared = both / either if either else 1.0
            # If the two sets had nothing to do with each other this many would be shared.
            chance = len(own) * len(other) / rows
            table.append((name, len(own), len(other), both, chance, shared))
            result.append(
                Measurement("mistakes_shared", shared, better="", n=either, settings={"with": name})
            )
        columns = ("run", "mistakes here", "mistakes there", "both", "both by chance", "Jaccard")
        context.sink.table("mistakes_shared", columns, table)
        return result


def _same(text: str, truth: float, names: Sequence[str]) -> bool:
    """Whether a cell of a table of mistakes names this target."""
    return text == names[int(truth)] if names else bool(np.isclose(float(text), truth))


@style()
def mistakes_figure(
    context: EvaluationContext,
    dataset: ArrayDataset,
    found: Predicted,
    shown: NDArray[np.int64],
) -> Figure:
    """Images with their true and predicted class, the surest mistakes first."""
    names = dataset.spec.class_names
    X = dataset.rows(context.split)[0][shown]
    titles = []
    for index in shown.tolist():
        value = int(found.values[index])
        share = "" if found.shares is None else f" ({found.shares[index, value]:.0%})"
        truth = label_text(names[int(found.truth[index])], LONGEST_NAME)
        titles.append(f"{truth} → {label_text(names[value], LONGEST_NAME)}{share}")
    probability = "" if found.shares is None else " (and its probability)"
    title = f"Mistakes on {context.split}: true → predicted class{probability}"
    return images_figure(X, dataset.spec.image_shape or (1, 1, 1), titles, title)


@style()
def images_figure(
    X: NDArray[Any], shape: tuple[int, int, int], titles: Sequence[str], title: str
) -> Figure:
    """Images X [n, features], each with a title of its own, in rows of eight."""
    rows = -(-len(X) // COLUMNS)
    figure, axes = new_figure(rows, COLUMNS, height=60 + 135 * rows, width=1000)
    for index, axis in enumerate(axes.flat):
        axis.axis("off")
        if index >= len(X):
            continue
        draw_image(axis, X[index].reshape(shape))
        axis.set_title(titles[index], fontsize=7.5, fontweight="normal", loc="center", pad=3)
    head(figure, title)
    return figure
