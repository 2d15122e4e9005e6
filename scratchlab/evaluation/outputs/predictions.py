"""Classes and values that a model, torch or NumPy, predicts for rows of tables and for images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.contract import ArrayDataset, Spec
from scratchlab.describing.copies import copies_in_train
from scratchlab.errors import UnansweredRows, UserError
from scratchlab.estimators.protocol import Saveable
from scratchlab.estimators.scoring import Probabilistic
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import LOGGER, Outputs, outputs_for
from scratchlab.evaluation.records import Records
from scratchlab.registry import register

if TYPE_CHECKING:
    from torch import nn

ROWS_AT_ONCE = 256  # of torch models


@dataclass(frozen=True)
class Predicted:
    """``truth`` and ``values`` [rows]: class numbers or values in the target's unit.

    ``shares`` [rows, classes]: probabilities; None where the model gives none, or for values.
    """

    truth: NDArray[Any]
    values: NDArray[Any]
    shares: NDArray[Any] | None = None


def array_dataset(context: EvaluationContext) -> ArrayDataset:
    """The data set, which must be a table or images."""
    if not isinstance(context.dataset, ArrayDataset):
        raise UserError("this evaluator needs a table or images")
    return context.dataset


def predictions(context: EvaluationContext) -> Predicted:
    """Predictions for the first ``limit`` rows of the split (all of them without a limit)."""
    refusal = UserError("this evaluator needs a table, images or texts with classes")
    predicting: Predicting = outputs_for(context.dataset, Predicting, refusal)
    found: Predicted = predicting.of_split(context, limit=context.limit)
    return found


class Predicting(Outputs):
    """Outputs that are :class:`Predicted`."""


@register("outputs", "predictions")
class PredictingRows(Predicting):
    """A class or a value for each row of a table and each image."""

    def make(self, context: EvaluationContext, **how: Any) -> Predicted:
        X, y = array_dataset(context).rows(context.split)
        X, y = X[: how["limit"]], y[: how["limit"]]
        if len(y) == 0:
            raise UserError(f"The split {context.split!r} has no rows.")
        values, shares = model_outputs(context.model, context.dataset.spec, X, context.device)
        if not np.isfinite(values).all():
            raise UserError(
                "the model's outputs are not numbers any more",
                "Evaluate an earlier checkpoint, or train with a lower learning rate.",
            )
        return Predicted(np.asarray(y), values, shares)

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """The class (with its probability) or the value of each row.

        Raises:
            UnansweredRows: at the end, if rows could not be read; each was told of in its place.
        """
        total = refused = 0
        told = ""
        for row in array_dataset(context).encode_lines(lines):
            total += 1
            if isinstance(row, UserError):
                refused += 1
                # What would be right is said once, not for each of a thousand rows.
                LOGGER.error("%s", row.message if row.hint == told else row)
                told = row.hint
                yield [""]
            else:
                yield ["" if row is None else self._answer(context, row)]
        if refused:
            raise UnansweredRows(f"{refused:,} of {total:,} rows were not answered")

    def _answer(self, context: EvaluationContext, row: NDArray[Any]) -> str:
        spec = context.dataset.spec
        values, shares = model_outputs(context.model, spec, row, context.device)
        if not spec.n_classes:
            return f"{values[0]:.6g}"
        name = spec.class_names[int(values[0])]
        return name if shares is None else f"{name}\t{shares[0].max():.4f}"


def keep_classes(context: EvaluationContext, found: Predicted) -> Records:
    """The file of predicted classes; of two classes ``rating`` is the second one's probability."""
    names = context.dataset.spec.class_names
    truth, values = found.truth.astype(np.int64), found.values.astype(np.int64)
    scores: dict[str, Any] = {}
    if found.shares is not None:
        scores["probability"] = found.shares[np.arange(len(values)), values]
        if len(names) == 2:
            scores["rating"] = found.shares[:, 1]
    return context.keep(
        "predictions",
        given=_shown(context, len(truth)),
        expected=[names[i] for i in truth.tolist()],
        said=[names[i] for i in values.tolist()],
        **scores,
    )


def keep_values(context: EvaluationContext, found: Predicted) -> Records:
    """The file of predicted values, in the target's unit."""
    return context.keep(
        "predictions",
        given=_shown(context, len(found.truth)),
        expected=found.truth.tolist(),
        said=found.values.tolist(),
    )


def _shown(context: EvaluationContext, rows: int) -> list[str] | None:
    """Examples as a person reads them: cells with the names of their columns (images: nothing)."""
    original = getattr(context.dataset, "original", None)
    if context.quick or original is None or not original(context.split, 0):
        return None
    return [
        ", ".join(f"{k} {v}" for k, v in original(context.split, i).items()) for i in range(rows)
    ]


def without_copies(context: EvaluationContext, rows: int) -> NDArray[np.bool_] | None:
    """Which of the evaluated rows have no copy in training; None where that leaves all or none."""
    if context.split == "train":
        return None
    copies = (copies_in_train(context.dataset, context.split) or [])[:rows]
    if not 0 < sum(copies) < rows:
        return None
    return ~np.array(copies, dtype=np.bool_)


def model_outputs(
    model: Any, spec: Spec, X: NDArray[Any], device: Any = "cpu"
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Class numbers or values [rows] for any X [rows, features], and probabilities if it has any.

    Probabilities are [rows, classes], in the order of ``spec.class_names``.
    """
    if not isinstance(model, Saveable):
        return _torch_outputs(model, spec, X, device)
    fitted: Any = model
    values = np.asarray(fitted.predict(X))
    if not spec.n_classes or not isinstance(model, Probabilistic):
        return values, None
    shares = np.zeros((len(values), spec.n_classes))
    shares[:, np.asarray(fitted.classes_, dtype=np.int64)] = fitted.predict_proba(X)
    return values, shares


def _torch_outputs(
    model: nn.Module, spec: Spec, X: NDArray[Any], device: Any
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    import torch

    shape = spec.image_shape or (X.shape[1],)
    outputs = []
    for first in range(0, len(X), ROWS_AT_ONCE):
        rows = torch.from_numpy(X[first : first + ROWS_AT_ONCE].astype(np.float32))
        with torch.no_grad():
            found = model(rows.view(len(rows), *shape).to(device)).float().cpu()
        outputs.append(found.softmax(-1) if spec.n_classes else found.reshape(len(rows)))
    joined = torch.cat(outputs).numpy()
    return (joined.argmax(axis=1), joined) if spec.n_classes else (joined, None)
