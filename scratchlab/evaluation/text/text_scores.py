"""Negative log-likelihoods of single targets and whole lines, for every kind of language model."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from scratchlab.data.contract import IGNORE
from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.text.perplexity import first_examples, lines_to_score

# Logits computed at once: positions times vocabulary.
AT_ONCE = 1 << 23


@dataclass(frozen=True)
class LineScores:
    """Of every line (or example) of a split: the sum of its targets' negative log-likelihoods in
    nats, and how many targets it has (the end of the line is one). Both [lines]."""

    nll: NDArray[np.float64]
    targets: NDArray[np.int64]

    def perplexity(self) -> float:
        """Per target, over all lines."""
        return math.exp(float(self.nll.sum()) / int(self.targets.sum()))


def line_scores(context: EvaluationContext) -> LineScores:
    """The scores of the split's lines, made once for all evaluators that look at them.

    A model that counts (``score_tokens``) sees each line alone; a neural one sees what the data
    set's evaluation batches show it, so the sums are those of the perplexity. Data sets whose
    examples are no running text (questions, masked spans) are scored by example.
    """
    key = ("line_scores", context.split, context.limit)
    return cast(LineScores, context.once(key, lambda: _line_scores(context)))


def _line_scores(context: EvaluationContext) -> LineScores:
    dataset: Any = context.dataset
    if isinstance(context.model, NGram):
        scores = context.model.score_tokens(*lines_to_score(context))
        return LineScores(-np.log(10) * scores.sentence_log10, np.diff(scores.offsets))
    by_example = example_nll(context)
    if not by_example:
        raise UserError(f"The split {context.split!r} has no targets to predict.")
    if not hasattr(dataset, "sentences"):
        return LineScores(
            np.array([float(v.sum()) for v in by_example]), np.array([len(v) for v in by_example])
        )
    nll = np.concatenate(by_example)
    # Targets of each line, its end included; the first token of a text is not predicted where no
    # end of a line can stand before it. The last lines may be left out (eval_tokens).
    _, offsets = dataset.sentences(context.split)
    lengths = np.diff(offsets) + 1
    total = dataset.size(context.split)
    lengths[-1] -= int(lengths.sum()) - total  # the last line may have no end
    bounds = np.cumsum(lengths) - int(dataset.tokenizer.line_end_id is None)
    whole = int(np.searchsorted(bounds, len(nll), side="right"))
    if whole == 0:
        return LineScores(np.array([nll.sum()]), np.array([len(nll)]))
    bounds = np.concatenate(([0], bounds[:whole]))
    sums = np.concatenate(([0.0], np.cumsum(nll)))[bounds]
    keep = np.diff(bounds) > 0
    return LineScores(np.diff(sums)[keep], np.diff(bounds)[keep])


@torch.inference_mode()
def example_nll(context: EvaluationContext) -> list[NDArray[np.float64]]:
    """The negative log-likelihoods of every example's targets, in the order of the split.

    One after the other, the windows of a running text give each of its targets exactly once.
    """
    task: Any = context.task
    model: Any = context.model
    found: defaultdict[int, list[NDArray[np.float64]]] = defaultdict(list)
    for batch in context.dataset.batches(context.split, seed=context.seed, epoch=0):
        batch = first_examples(batch, context.limit)
        if batch is None:
            continue
        batch = batch.to(context.device)
        counted = batch.targets != IGNORE
        nll = targets_nll(model, task.hidden(model, batch)[counted], batch.targets[counted])
        per_row = np.split(nll, np.cumsum(counted.sum(1).cpu().numpy())[:-1])
        for index, values in zip(batch.indices.tolist(), per_row, strict=True):
            found[index].append(values)
    return [np.concatenate(found[index]) for index in sorted(found)]


def targets_nll(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> NDArray[np.float64]:
    """-log p of each of ``targets`` [N] given the last layer ``hidden`` [N, D], in nats."""
    adaptive = model.adaptive
    widest = adaptive.bounds[-1][1] if adaptive is not None else model.output.out_features
    rows = max(1, AT_ONCE // int(widest))
    parts = [
        adaptive.nll(h, t)
        if adaptive is not None
        else F.cross_entropy(model.project(h).float(), t, reduction="none")
        for h, t in zip(hidden.split(rows), targets.split(rows), strict=True)
    ]
    joined = torch.cat(parts) if parts else hidden.new_zeros(0)
    return cast(NDArray[np.float64], joined.double().cpu().numpy())
