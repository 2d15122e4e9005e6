"""Perplexity: the exponential of the mean negative log-likelihood of a target, for every task."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.registry import option, register

# Settings of a data set that hold for a model that counts, too.
COUNTED_SETTINGS = ("unit", "tokenizer", "first_tokens")


@register(
    "evaluator",
    "perplexity",
    tasks=("seq2seq", "language_modeling"),
    measures={"perplexity": "lower", "bits_per_character": "lower"},
    asked_by={"bits_per_character": ("per_character", True)},
    per_token=("perplexity",),
)
class Perplexity(Evaluator):
    """exp(sum of the targets' negative log-likelihoods / number of targets) over the split.

    Sums over all targets make it independent of how examples share batches. Its unit (word, BPE
    token, character) is that of the data set: perplexities of different units do not compare, and
    those of running text depend on the context that each target has. Both are in its settings.
    """

    @dataclass(frozen=True)
    class Config:
        """Label smoothing is never part of it; how a running text is read is
        up to the data set (``dataset.eval_context``, ``dataset.eval_stride``)."""

        per_character: bool = option(
            False, "also bits per character of running text, which compare between tokenizers"
        )

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        total, count, examples = summed(context)
        if count == 0:
            raise UserError(f"The split {context.split!r} has no targets to predict.")
        mean = _finite(total / count, f"The mean loss on the split {context.split!r}")
        try:
            value = math.exp(mean)
        except OverflowError:
            value = _finite(math.inf, f"The perplexity on the split {context.split!r}")
        unit = context.dataset.spec.unit
        settings = {"unit": unit, "nll": mean, "examples": examples}
        if hasattr(context.dataset, "evaluation_settings"):
            settings |= reading(context)
            if not context.quick:
                show(context, settings, value, count)
        found = Measurement(
            name="perplexity",
            value=value,
            unit=f"per {unit}",
            better="lower",
            n=count,
            split=context.split,
            settings=settings,
        )
        if not self.config.per_character or context.quick:
            return [found]
        return [found, self._per_character(context, total, settings)]

    def _per_character(
        self, context: EvaluationContext, total: float, settings: dict[str, Any]
    ) -> Measurement:
        """The whole text's negative log-likelihood in bits, by its characters."""
        dataset: Any = context.dataset
        counts = isinstance(context.model, NGram)
        if counts or not hasattr(dataset, "evaluated_text") or context.limit is not None:
            raise UserError(
                "evaluator.perplexity.per_character: it is for running text and models of torch",
                "Set evaluator.perplexity.per_character=false.",
            )
        characters = len(dataset.evaluated_text(context.split))
        return Measurement(
            name="bits_per_character",
            value=total / math.log(2) / max(1, characters),
            better="lower",
            n=characters,
            split=context.split,
            settings=settings,
        )


def summed(context: EvaluationContext) -> tuple[float, int, int]:
    """The targets' negative log-likelihoods added, the number of targets and of examples."""
    if isinstance(context.model, NGram):  # a model that counts
        tokens, offsets = lines_to_score(context)
        scores = context.model.score_tokens(tokens, offsets)
        bits = float(scores.log10_probs.sum())
        return -math.log(10) * bits, len(scores.log10_probs), len(offsets) - 1
    total, count, examples = 0.0, 0, 0
    with torch.inference_mode():
        for batch in context.dataset.batches(context.split, seed=context.seed, epoch=0):
            batch = first_examples(batch, context.limit)
            if batch is None:
                continue
            loss = context.task.loss(context.model, batch.to(context.device))
            total += float(loss.nll)
            count += loss.count
            examples += _rows(batch)
    return total, count, examples


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


def reading(context: EvaluationContext) -> dict[str, Any]:
    """What each target is predicted from: unit, context and stride."""
    dataset: Any = context.dataset
    settings: dict[str, Any] = dataset.evaluation_settings(context.split)
    if isinstance(context.model, NGram):
        settings = {k: v for k, v in settings.items() if k in COUNTED_SETTINGS}
        settings["context"] = f"{context.model.order - 1} in the same line"
    return settings


def show(
    context: EvaluationContext, settings: dict[str, Any], perplexity: float, count: int
) -> None:
    """A table that says how the perplexity came about, for people."""
    read = [k for k in settings if k not in ("nll", "examples")]
    columns = (*read, "targets", "nats per target", "bits per target", "perplexity")
    nll = settings["nll"]
    numbers = (count, round(nll, 4), round(nll / math.log(2), 4), round(perplexity, 4))
    context.sink.table("perplexity", columns, [(*(settings[k] for k in read), *numbers)])


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


def _rows(batch: Any) -> int:
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, torch.Tensor):
            return len(value)
    return 0


def _finite(value: float, what: str) -> float:
    """``value`` if it is a number; UserError otherwise, since such a score says nothing."""
    if not math.isfinite(value):
        raise UserError(
            f"{what} is {value}: the model's outputs are not numbers any more.",
            "Evaluate an earlier checkpoint, or train with a lower learning rate.",
        )
    return value
