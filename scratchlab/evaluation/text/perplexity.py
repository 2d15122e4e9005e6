"""Perplexity: the exponential of the mean negative log-likelihood of a target, for every task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchlab.data.contract import TranslationDataset
from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.records import Records
from scratchlab.evaluation.text.text_scores import TargetScores, target_scores
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
        scores = target_scores(context)
        total, count = float(scores.nats.sum()), len(scores.nats)
        mean = total / count
        value = exponential(mean, context.split)
        unit = context.dataset.spec.unit
        settings = {"unit": unit, "nll": mean, "examples": len(scores.numbers)}
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
        if context.quick:
            return [found]
        kept = keep(context, scores)
        found.examples = kept.by("perplexity")
        if not self.config.per_character:
            return [found]
        return [found, self._per_character(context, total, settings, kept)]

    def _per_character(
        self, context: EvaluationContext, total: float, settings: dict[str, Any], kept: Records
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
        found = Measurement(
            name="bits_per_character",
            value=total / math.log(2) / max(1, characters),
            better="lower",
            n=characters,
            split=context.split,
            settings=settings,
        )
        lengths = [len(text) for text in kept.columns["given"]]
        if sum(lengths) == characters:  # no character belongs to two pieces of the text
            kept.add({"characters": lengths})
            found.examples = kept.by(
                "ratio", above="nats", below="characters", factor=1 / math.log(2)
            )
        return found


def keep(context: EvaluationContext, scores: TargetScores) -> Records:
    """Keep the texts that were to be predicted, with their nats and their numbers of targets."""
    dataset: Any = context.dataset
    pairs = isinstance(dataset, TranslationDataset)
    decode = dataset.decode_target if pairs else dataset.decode
    pieces = scores.pieces()
    ids = [
        [i for i in part.tolist() if i >= 0] for part in np.split(pieces.ids, pieces.bounds[1:-1])
    ]
    return context.keep(
        "likelihoods",
        ids=pieces.numbers.tolist(),
        given=[decode(part) for part in ids],
        nats=pieces.sums,
        targets=np.diff(pieces.bounds),
    )


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


def exponential(mean: float, split: str) -> float:
    """The perplexity that a mean of nats makes; UserError if either is no finite number."""
    _finite(mean, f"The mean loss on the split {split!r}")
    try:
        return math.exp(mean)
    except OverflowError:
        return _finite(math.inf, f"The perplexity on the split {split!r}")


def _finite(value: float, what: str) -> float:
    """``value`` if it is a number; UserError otherwise, since such a score says nothing."""
    if not math.isfinite(value):
        raise UserError(
            f"{what} is {value}: the model's outputs are not numbers any more.",
            "Evaluate an earlier checkpoint, or train with a lower learning rate.",
        )
    return value
