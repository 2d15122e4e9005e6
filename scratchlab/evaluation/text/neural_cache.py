"""Perplexity of a language model that remembers what came a while ago (Grave et al. 2017).

What a model has just read comes again more often than it learned to expect: names, titles, topics.
A continuous cache keeps the last N hidden states h_i, each with the token x_i that came behind it,
and adds a share of what follows from those like the present one,

    p(w) = (1 - λ) p_model(w) + λ p_cache(w),    p_cache(w) ∝ Σ_i [x_i = w] exp(θ h · h_i / √d).

Nothing is trained. θ and λ are chosen on the validation split, unless they are given.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scratchlab.data.kinds.running_text import RunningText
from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.text.perplexity import exponential, keep, reading
from scratchlab.evaluation.text.text_scores import target_scores, targets_nll
from scratchlab.registry import option, register

SHARPNESS = (0.125, 0.25, 0.5, 1.0, 2.0)  # that are tried
WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
ROWS = 512  # targets at a time


@register(
    "evaluator",
    "neural_cache",
    tasks=("language_modeling",),
    measures={"cache_perplexity": "lower"},
    per_token=("cache_perplexity",),
)
class NeuralCache(Evaluator):
    """Perplexity with a continuous cache of the text so far, of running text and models of torch.

    Its unit, and the context that the model itself sees, are those of ``perplexity``.
    """

    @dataclass(frozen=True)
    class Config:
        size: int = option(2000, "tokens that are remembered", min=1)
        sharpness: float | None = option(
            None,
            "θ: how alike hidden states must be; null: chosen on the validation split",
            above=0,
        )
        weight: float | None = option(
            None, "λ: share of the cache; null: chosen on the validation split", min=0, below=1
        )

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        if isinstance(context.model, NGram) or not isinstance(context.dataset, RunningText):
            raise UserError(
                "evaluator.neural_cache is for running text and models with hidden states",
                "Leave it out, or choose such a data set and model.",
            )
        if context.limit is not None or context.split == "train":
            raise UserError("evaluator.neural_cache reads a whole split: val or test")
        sharpness, weight = self._chosen(context)
        read = Reading.of(context, context.split)
        nats = mixed(read, cached(read, self.config.size, sharpness), weight)
        scores = dataclasses.replace(target_scores(context), nats=nats)
        kept = keep(context, target_scores(context))
        kept.add({"nats_with_cache": scores.pieces().sums})
        settings = {
            **reading(context),
            "cache_size": self.config.size,
            "sharpness": sharpness,
            "weight": weight,
        }
        found = Measurement(
            name="cache_perplexity",
            value=exponential(float(nats.mean()), context.split),
            unit=f"per {context.dataset.spec.unit}",
            better="lower",
            n=len(nats),
            split=context.split,
            settings=settings,
            examples=kept.by("perplexity", nats="nats_with_cache"),
        )
        without = exponential(float(read.nats.mean()), context.split)
        columns = ("tokens remembered", "θ", "λ", "perplexity without", "with")
        numbers = (self.config.size, sharpness, weight, round(without, 4), round(found.value, 4))
        context.sink.table("neural_cache", columns, [numbers])
        return [found]

    def _chosen(self, context: EvaluationContext) -> tuple[float, float]:
        """θ and λ: those given, or the best of those that are tried on the validation split."""
        given, weight = self.config.sharpness, self.config.weight
        if given is not None and weight is not None:
            return given, weight
        if "val" not in context.dataset.splits or context.split == "val":
            raise UserError(
                "evaluator.neural_cache: sharpness and weight are chosen on another split, val",
                "Give both, for example evaluator.neural_cache.sharpness=1 "
                "evaluator.neural_cache.weight=0.1.",
            )
        read = Reading.of(context, "val")
        found = {}
        for sharpness in SHARPNESS if given is None else (given,):
            from_cache = cached(read, self.config.size, sharpness)
            for share in WEIGHTS if weight is None else (weight,):
                found[sharpness, share] = float(mixed(read, from_cache, share).mean())
        return min(found, key=lambda pair: found[pair])


@dataclass(frozen=True)
class Reading:
    """A split as a model reads it: of every target, in the order of the text, the hidden state that
    it is predicted from [N, D], its id [N] and its negative log-likelihood in nats [N]."""

    hidden: Tensor
    ids: Tensor
    nats: NDArray[np.float64]

    @classmethod
    @torch.inference_mode()
    def of(cls, context: EvaluationContext, split: str) -> Reading:
        """Windows of running text come one after the other and give each target once."""
        task, model = context.task, context.model
        hidden, ids, nats, owners = [], [], [], []
        for batch in context.dataset.batches(split, seed=context.seed, epoch=0):
            batch = batch.to(context.device)
            wanted, counted = task.wanted(batch)
            states, targets = task.hidden(model, batch)[counted], wanted[counted]
            nats.append(targets_nll(model, states, targets))
            hidden.append(states.float().cpu())
            ids.append(targets.cpu())
            owners.append(batch.indices.cpu()[counted.cpu().nonzero()[:, 0]])
        if not ids:
            raise UserError(f"The split {split!r} has no targets to predict.")
        order = torch.cat(owners).argsort(stable=True)
        return cls(torch.cat(hidden)[order], torch.cat(ids)[order], np.concatenate(nats)[order])


@torch.inference_mode()
def cached(read: Reading, size: int, sharpness: float) -> NDArray[np.float64]:
    """p_cache of each target [N]; NaN of the first, before which there is nothing."""
    hidden, ids = read.hidden, read.ids
    scale, found = sharpness / math.sqrt(hidden.shape[1]), []
    for start in range(0, len(ids), ROWS):
        end, first = min(start + ROWS, len(ids)), max(0, start - size)
        scores = hidden[start:end] @ hidden[first:end].t() * scale  # [rows, remembered]
        now = torch.arange(start, end)[:, None]
        then = torch.arange(first, end)[None]
        scores.masked_fill_((then >= now) | (then < now - size), float("-inf"))
        p = scores.softmax(-1)
        found.append((p * (ids[start:end, None] == ids[None, first:end])).sum(-1))
    return torch.cat(found).double().numpy()


def mixed(read: Reading, from_cache: Sequence[float] | Any, weight: float) -> NDArray[np.float64]:
    """The nats of each target [N] under both together."""
    own = np.exp(-read.nats)
    share = np.where(np.isnan(from_cache), 0.0, weight)
    p: NDArray[np.float64] = (1 - share) * own + share * np.nan_to_num(from_cache)
    if weight == 0:
        return read.nats
    return -np.log(p)
