"""Classes against the truth: accuracy, precision, recall, F1, overall and class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.intervals import give
from scratchlab.evaluation.outputs.predictions import (
    Predicted,
    keep_classes,
    predictions,
    without_copies,
)
from scratchlab.evaluation.records import Records
from scratchlab.evaluation.rescoring import statistic
from scratchlab.registry import register


@dataclass(frozen=True)
class ClassScores:
    """Per class [classes]; ``support`` are its rows. 0 where a class was never predicted."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    predicted: NDArray[np.bool_]

    def mean(self, values: NDArray[np.float64], weighted: bool) -> float:
        """Over the classes that occur, in the truth or among the predictions."""
        occurs = (self.support > 0) | self.predicted
        return float(np.average(values, weights=self.support if weighted else occurs))


def confusion(found: Predicted, classes: int) -> NDArray[np.int64]:
    """Rows by true class, columns by predicted class [classes, classes]."""
    pairs = found.truth.astype(np.int64) * classes + found.values.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def counted(
    truth: NDArray[np.int64], values: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each class [classes]: the rows that are right, those predicted, those there are."""
    hits = np.bincount(truth[truth == values], minlength=classes)
    predicted = np.bincount(values, minlength=classes)
    return hits, predicted, np.bincount(truth, minlength=classes)


def class_scores(
    hits: NDArray[np.int64], predicted: NDArray[np.int64], support: NDArray[np.int64]
) -> ClassScores:
    """Precision, recall and F1 of each class from what :func:`counted` counts."""
    none = np.zeros(len(hits))
    precision = np.divide(hits, predicted, out=none.copy(), where=predicted > 0)
    recall = np.divide(hits, support, out=none.copy(), where=support > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=none.copy(), where=both > 0)
    return ClassScores(precision, recall, f1, support, predicted > 0)


def made_again(kept: Records, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each figure is made again from the file of predictions."""
    means = {
        f"{measure}_{kind}": kept.by("classes", measure=measure, weighted=kind == "weighted")
        for measure in ("precision", "recall", "f1")
        for kind in ("macro", "weighted")
    }
    area = {"roc_auc": kept.by("roc_auc", positive=names[1])} if len(names) == 2 else {}
    return {"accuracy": kept.by("share"), **means, **area}


@register(
    "evaluator",
    "classification",
    tasks=("classification",),
    measures={
        "accuracy": "higher",
        "precision_macro": "higher",
        "recall_macro": "higher",
        "f1_macro": "higher",
        "precision_weighted": "higher",
        "recall_weighted": "higher",
        "f1_weighted": "higher",
        "roc_auc": "higher",
        "log_loss": "lower",
    },
)
class Classification(Evaluator):
    """Accuracy, macro and weighted precision, recall and F1; a report class by class.

    Macro means are over the classes that occur in the split or among the predictions, each counted
    alike; weighted ones count each class by its rows. A class that is never predicted has
    precision 0. ``log_loss`` and, for two classes, ``roc_auc`` need probabilities.
    ``accuracy_unseen`` leaves out the rows that have a copy in training (where some have).
    """

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        found = predictions(context)
        names = context.dataset.spec.class_names
        truth, values = found.truth.astype(np.int64), found.values.astype(np.int64)
        scores = class_scores(*counted(truth, values, len(names)))
        rows_in_all = len(truth)
        accuracy = float((truth == values).sum() / rows_in_all)
        measured = {"accuracy": accuracy}
        for kind, weighted in (("macro", False), ("weighted", True)):
            for name in ("precision", "recall", "f1"):
                measured[f"{name}_{kind}"] = scores.mean(getattr(scores, name), weighted)
        if found.shares is not None and len(names) == 2 and len(np.unique(found.truth)) == 2:
            from sklearn.metrics import roc_auc_score

            measured["roc_auc"] = float(roc_auc_score(found.truth, found.shares[:, 1]))
        rows: list[tuple[Any, ...]] = [
            (names[i], scores.precision[i], scores.recall[i], scores.f1[i], int(scores.support[i]))
            for i in range(len(names))
        ]
        for kind, weighted in (("macro mean", False), ("weighted mean", True)):
            means = [scores.mean(getattr(scores, n), weighted) for n in ("precision", "recall")]
            rows.append((kind, *means, scores.mean(scores.f1, weighted), rows_in_all))
        if not context.quick:
            columns = ("class", "precision", "recall", "f1", "rows")
            context.sink.table("classification_report", columns, rows)
        kept = keep_classes(context, found)
        how = made_again(kept, names)
        result = [
            Measurement(n, v, n=len(found.truth), examples=how[n]) for n, v in measured.items()
        ]
        for one in () if context.quick else result:
            give(one, statistic(one.examples, kept.columns))
        if found.shares is not None:
            true = found.shares[np.arange(len(found.truth)), found.truth]
            smallest = np.finfo(found.shares.dtype).eps  # as scikit-learn's log_loss has it
            losses = 0 - np.log(true.clip(min=smallest))  # never -0
            kept.add({"nats": losses.astype(np.float64)})
            by = kept.by("mean", column="nats")
            loss = Measurement("log_loss", float(losses.mean()), "nats", "lower", examples=by)
            loss.n = len(found.truth)
            result.append(loss)
        unseen = None if context.quick else without_copies(context, len(found.truth))
        if unseen is not None:
            hits = (found.values == found.truth)[unseen]
            which = {"rows": "without a copy in training", "copies": int((~unseen).sum())}
            kept.add({"unseen": unseen})
            by = kept.by("share", where="unseen")
            share = float(hits.mean())
            result.append(
                Measurement("accuracy_unseen", share, n=len(hits), settings=which, examples=by)
            )
        return result
