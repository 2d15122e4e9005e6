"""What a model says to the first examples of a split, as arrays: what checks compare."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchlab.data.contract import ArrayBatch, ArrayDataset, Seq2SeqBatch, TokenBatch
from scratchlab.estimators.embeddings.base import WordEstimator
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.outputs.predictions import model_outputs
from scratchlab.lab.parts import Parts
from scratchlab.registry import is_estimator
from scratchlab.verifying.subject import EXAMPLES, OUTPUTS

Arrays = dict[str, Any]


def outputs(parts: Parts, split: str) -> Arrays:
    """Logits (of models of torch), predictions, log-probabilities, vectors; nothing of estimators
    that are of another kind."""
    if is_estimator(parts.config):
        return of_estimator(parts, split, EXAMPLES)
    batch = next(iter(few(parts, split, OUTPUTS))).to(parts.device)
    return {"outputs": of_batch(parts, batch)}


def few(parts: Parts, split: str, size: int) -> Any:
    """The first examples of a split in batches of this size."""
    from scratchlab.verifying.batches import regrouped

    dataset = regrouped(parts.dataset, size, EXAMPLES)
    return dataset.batches(split, seed=parts.config["seed"], epoch=0)


def of_batch(parts: Parts, batch: Any) -> Any:
    """The output of a torch model for a batch; its loss where nothing more is known of the kind."""
    model = parts.model
    with parts.adapted.measuring():
        if isinstance(batch, Seq2SeqBatch):
            return model(batch.source, batch.target_in)
        if isinstance(batch, TokenBatch):
            return model(batch.tokens)
        if isinstance(batch, ArrayBatch):
            return model(batch.inputs)
        return parts.task.loss(model, batch).nll


def of_estimator(parts: Parts, split: str, size: int) -> Arrays:
    """The answers of an estimator to the first rows or lines, ``size`` of them at once."""
    model, dataset = parts.model, parts.dataset
    if isinstance(model, NGram):
        return {"log-probabilities": _log_probabilities(model, dataset, split, size)}
    if isinstance(model, WordEstimator):
        return {"vectors": model.vectors().matrix}
    if not isinstance(dataset, ArrayDataset) or not hasattr(model, "predict"):
        return {}
    X = dataset.rows(split)[0][:EXAMPLES]
    pieces = [
        model_outputs(model, dataset.spec, X[i : i + size]) for i in range(0, X.shape[0], size)
    ]
    shares = [share for _, share in pieces if share is not None]
    found = {"predictions": np.concatenate([values for values, _ in pieces])}
    return found | ({"probabilities": np.concatenate(shares)} if shares else {})


def _log_probabilities(model: NGram, dataset: Any, split: str, size: int) -> Any:
    tokens, offsets = dataset.sentences(split)
    offsets = offsets[: EXAMPLES + 1]
    found = []
    for first in range(0, len(offsets) - 1, size):
        bounds = offsets[first : first + size + 1]
        piece = model.score_tokens(tokens[bounds[0] : bounds[-1]], bounds - bounds[0])
        found.append(piece.log10_probs)
    return np.concatenate(found)
