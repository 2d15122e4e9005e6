"""What a model, torch or NumPy, predicts for the rows of a split; shared by the evaluators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.contract import ArrayDataset, Spec
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.describing.copies import copies_in_train
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext

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
    return context.once(("predictions", context.split, context.limit), lambda: _predict(context))


def _predict(context: EvaluationContext) -> Predicted:
    if isinstance(context.dataset, TextClassDataset):
        return _predict_texts(context, context.dataset)
    X, y = array_dataset(context).rows(context.split)
    X, y = X[: context.limit], y[: context.limit]
    if len(X) == 0:
        raise UserError(f"The split {context.split!r} has no rows.")
    values, shares = model_outputs(context.model, context.dataset.spec, X, context.device)
    if not np.isfinite(values).all():
        raise UserError(
            "the model's outputs are not numbers any more",
            "Evaluate an earlier checkpoint, or train with a lower learning rate.",
        )
    return Predicted(np.asarray(y), values, shares)


def _predict_texts(context: EvaluationContext, dataset: TextClassDataset) -> Predicted:
    """Of texts, which are of many lengths, in the data set's own batches."""
    truth = dataset.labels(context.split)[: context.limit]
    shares = np.zeros((dataset.size(context.split), dataset.spec.n_classes or 0))
    task: Any = context.task
    for batch in dataset.batches(context.split, seed=context.seed, epoch=0):
        if context.limit is not None and not bool((batch.indices < context.limit).any()):
            continue
        found = task.probabilities(context.model, batch.to(context.device))
        shares[batch.indices.numpy()] = found.double().cpu().numpy()
    shares = shares[: len(truth)]
    return Predicted(truth, shares.argmax(1), shares)


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
    if not hasattr(model, "predict"):  # estimators have one, torch modules have none
        return _torch_outputs(model, spec, X, device)
    values = np.asarray(model.predict(X))
    if not spec.n_classes or not hasattr(model, "predict_proba"):
        return values, None
    shares = np.zeros((len(X), spec.n_classes))
    shares[:, np.asarray(model.classes_, dtype=np.int64)] = model.predict_proba(X)
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
