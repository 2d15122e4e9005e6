"""Which classes are taken for which: the confusion matrix, and the ROC curve of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.predictions import predictions
from scratchlab.evaluation.rows.classification import confusion
from scratchlab.figures.style import SEQUENTIAL, colour, head, label_text, new_figure, style
from scratchlab.registry import register

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 40  # more do not fit a picture


@register("evaluator", "confusion_matrix", tasks=("classification",), measures={})
class ConfusionMatrix(Evaluator):
    """Table and picture of true against predicted classes; with two classes the ROC curve too."""

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        found = predictions(context)
        names = context.dataset.spec.class_names
        matrix = confusion(found, len(names))
        rows = [(n, *map(int, row)) for n, row in zip(names, matrix, strict=True)]
        context.sink.table("confusion_matrix", ("true \\ predicted", *names), rows)
        if len(names) <= MOST_CLASSES:
            title = f"Confusion matrix on {context.split} ({len(found.truth):,} rows)"
            context.sink.figure("confusion_matrix", confusion_figure, matrix, names, title)
        if found.shares is not None and len(names) == 2 and len(np.unique(found.truth)) == 2:
            shares = found.shares[:, 1]
            context.sink.figure("roc", roc_figure, found.truth, shares, names[1], context.split)
        return []


@style()
def confusion_figure(matrix: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """Counts in cells coloured by their share of the true class [classes, classes]."""
    count = len(names)
    size = max(430, 42 * count + 170)
    figure, ((axis,),) = new_figure(height=size, width=max(620, size + 120))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        if matrix[row, column]:
            axis.text(
                column,
                row,
                f"{matrix[row, column]:,}",
                ha="center",
                va="center",
                fontsize=8 if count <= 12 else 6.5,
                color="white" if shares[row, column] > 0.55 else "black",
            )
    labels = [label_text(n, 14) for n in names]
    turned = any(len(n) > 4 for n in labels)
    axis.set_xticks(range(count), labels, rotation=45 if turned else 0, ha="right" if turned else
                    "center")  # fmt: skip
    axis.set_yticks(range(count), labels)
    axis.grid(False)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    head(figure, title)
    bar = figure.colorbar(image, ax=axis, shrink=0.8)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


@style()
def roc_figure(
    truth: NDArray[np.int64], scores: NDArray[np.float64], name: str, split: str
) -> Figure:
    """The ROC curve of the second of two classes, with the area under it."""
    from sklearn.metrics import roc_auc_score, roc_curve

    false_rate, true_rate, _ = roc_curve(truth, scores)
    figure, ((axis,),) = new_figure(height=480, width=620)
    axis.plot(false_rate, true_rate, color=colour(0), label="model")
    axis.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=1, label="chance")
    axis.set_xlabel("false positive rate")
    axis.set_ylabel("true positive rate")
    area = roc_auc_score(truth, scores)
    title = f"ROC curve of {label_text(name, 20)} on {split}: area {area:.3f}, {len(truth):,} rows"
    head(figure, title)
    axis.set_aspect("equal")
    axis.legend(loc="lower right")
    return figure
