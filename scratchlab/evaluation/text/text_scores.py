"""Negative log-likelihoods of single targets, by examples or lines, for every kind of model."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from scratchlab.data.kinds.running_text import RunningText
from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.contract import EvaluationContext

# Logits computed at once: positions times vocabulary.
AT_ONCE = 1 << 23
# Targets of a piece: a longer line is cut into such, so that no few of them decide everything.
LONGEST = 512


@dataclass(frozen=True)
class TargetScores:
    """-log p in nats [targets] of what a model was to predict, and its ``ids`` [targets].

    Example i is ``bounds[i] : bounds[i + 1]``, its place in the split ``numbers[i]``; the last
    target of a line is its end. ``unfinished``: the last example is the beginning of a line.
    """

    nats: NDArray[np.float64]
    ids: NDArray[np.int64]
    bounds: NDArray[np.int64]
    numbers: NDArray[np.int64]
    unfinished: bool = False

    @property
    def sums(self) -> NDArray[np.float64]:
        """The nats of each example."""
        return np.add.reduceat(self.nats, self.bounds[:-1])

    def pieces(self) -> TargetScores:
        """The same, examples of more than :data:`LONGEST` targets cut."""
        starts = self.bounds[:-1]
        bounds = [np.arange(a, b, LONGEST) for a, b in zip(starts, self.bounds[1:], strict=True)]
        if all(len(part) == 1 for part in bounds):
            return self
        joined = np.append(np.concatenate(bounds), self.bounds[-1])
        return dataclasses.replace(self, bounds=joined, numbers=np.arange(len(joined) - 1))


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
    """The scores of the split's whole lines."""
    found = target_scores(context)
    whole = slice(0, -1) if found.unfinished and len(found.numbers) > 1 else slice(None)
    return LineScores(found.sums[whole], np.diff(found.bounds)[whole])


def target_scores(context: EvaluationContext) -> TargetScores:
    """The scores of the split's targets, made once for all evaluators that look at them.

    A model that counts (``score_tokens``) sees each line alone; a neural one sees what the data
    set's evaluation batches show it. The examples of running text are its lines; those of other
    data (questions, masked spans, pairs of sentences) are the data set's.
    """
    key = ("target_scores", context.split, context.limit)
    return cast(TargetScores, context.once(key, lambda: _target_scores(context)))


def _target_scores(context: EvaluationContext) -> TargetScores:
    dataset: Any = context.dataset
    if isinstance(context.model, NGram):
        return _counted(context, context.model)
    found = _by_example(context)
    if not len(found.nats):
        raise UserError(f"The split {context.split!r} has no targets to predict.")
    if isinstance(dataset, RunningText) and context.split != "train":
        return _by_line(found, dataset, context.split)
    return found


def _counted(context: EvaluationContext, model: NGram) -> TargetScores:
    tokens, offsets = lines_to_score(context)
    scores = model.score_tokens(tokens, offsets)
    end = context.dataset.tokenizer.line_end_id
    ids = np.insert(tokens, offsets[1:], -1 if end is None else end)
    nats = -np.log(10) * scores.log10_probs
    return TargetScores(nats, ids, scores.offsets, np.arange(len(offsets) - 1))


@torch.inference_mode()
def _by_example(context: EvaluationContext) -> TargetScores:
    """The targets of every example, in the order of the split.

    One after the other, the windows of a running text give each of its targets exactly once.
    """
    task, model = context.task, context.model
    nats: list[NDArray[np.float64]] = []
    ids, owners = [], []
    for batch in context.dataset.batches(context.split, seed=context.seed, epoch=0):
        batch = first_examples(batch, context.limit)
        if batch is None:
            continue
        batch = batch.to(context.device)
        wanted, counted = task.wanted(batch)
        targets = wanted[counted]
        nats.append(targets_nll(model, task.hidden(model, batch)[counted], targets))
        ids.append(targets.cpu().numpy())
        owners.append(_owners(batch, counted))
    if not nats:
        none = np.zeros(0, np.int64)
        return TargetScores(np.zeros(0), none, none, none)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    numbers, sizes = np.unique(owner, return_counts=True)
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    return TargetScores(np.concatenate(nats)[order], np.concatenate(ids)[order], bounds, numbers)


def _owners(batch: Any, counted: torch.Tensor) -> NDArray[np.int64]:
    """The example that each target [N] belongs to, in a batch where ``counted`` [B, T] are."""
    rows = counted.nonzero()[:, 0]
    segments = getattr(batch, "segments", None)
    if segments is None:
        owners = batch.indices[rows]
    else:  # rows of several examples, which indices has one after the other
        sizes = segments.max(1).values + 1
        owners = batch.indices[(sizes.cumsum(0) - sizes)[rows] + segments[counted]]
    return cast(NDArray[np.int64], owners.cpu().numpy())


def _by_line(found: TargetScores, dataset: RunningText, split: str) -> TargetScores:
    """Targets of running text by its lines; the last lines may be left out (eval_tokens).

    The first token of a text is not predicted where no end of a line can stand before it.
    """
    _, offsets = dataset.sentences(split)
    lengths = np.diff(offsets) + 1
    lengths[-1] -= int(lengths.sum()) - dataset.size(split)  # the last line may have no end
    ends = np.cumsum(lengths) - int(dataset.tokenizer.line_end_id is None)
    total = len(found.nats)
    whole = int(np.searchsorted(ends, total, side="right"))
    unfinished = bool(whole == 0 or ends[whole - 1] < total)
    bounds = np.concatenate(([0], ends[:whole], [total] if unfinished else []))
    numbers = np.flatnonzero(np.diff(bounds) > 0)
    bounds = np.append(bounds[numbers], total).astype(np.int64)
    return TargetScores(found.nats, found.ids, bounds, numbers, unfinished)


def targets_nll(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> NDArray[np.float64]:
    """-log p of each of ``targets`` [N] given the last layer ``hidden`` [N, D], in nats."""
    adaptive = getattr(model, "adaptive", None)
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


def lines_to_score(context: EvaluationContext) -> tuple[Any, Any]:
    """Ids [n] and bounds [lines + 1] of what a model that counts is measured on: whole lines, as
    many as ``context.limit`` and the data set's ``eval_tokens`` leave room for."""
    dataset: Any = context.dataset
    tokens, offsets = dataset.sentences(context.split)
    lines = len(offsets) - 1
    if context.limit is not None:
        lines = min(lines, context.limit)
    if dataset.config.eval_tokens is not None:
        ends = offsets[1:] + np.arange(1, len(offsets))  # targets up to the end of each line
        fitting = int(np.searchsorted(ends, dataset.config.eval_tokens, side="right"))
        lines = min(lines, max(1, fitting))
    return tokens[: offsets[lines]], offsets[: lines + 1]


def first_examples(batch: Any, limit: int | None) -> Any:
    """The rows of ``batch`` that are among the split's first ``limit`` examples; None if none is.

    Batches that do not say which examples they hold (a running text) are kept whole.
    """
    if limit is None or not hasattr(batch, "indices"):
        return batch
    keep = batch.indices < limit
    if bool(keep.all()):
        return batch
    if not bool(keep.any()):
        return None
    rows = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return dataclasses.replace(
        batch, **{k: v[keep] for k, v in rows.items() if isinstance(v, torch.Tensor)}
    )
