"""The translations of a split, made once for all evaluators that look at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from scratchlab.data.contract import Spec, TranslationDataset
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext


@dataclass(frozen=True)
class Translations:
    """Sentences in the order of the split; ``scores`` are the decoder's (log-probabilities).

    ``clipped`` counts sources that were longer than the model can read and lost their end.
    """

    sources: list[str]
    references: list[str]
    hypotheses: list[str]
    scores: list[float]
    clipped: int = 0


def translations(context: EvaluationContext) -> Translations:
    """Translate the split (its first ``context.limit`` sentences) with the context's decoder."""
    key = ("translations", context.split, context.limit)
    return cast(Translations, context.once(key, lambda: _translate(context)))


def _translate(context: EvaluationContext) -> Translations:
    dataset = translation_dataset(context)
    sources = dataset.sources(context.split)[: context.limit]
    references = dataset.references(context.split)[: context.limit]
    if not sources:
        raise UserError(
            f"There is nothing to translate in the split {context.split!r}.",
            "Choose another split, or a limit of at least 1.",
        )
    encoded = [dataset.encode_source(text) for text in sources]
    rows, clipped = clip_sources(encoded, dataset.spec)
    hypotheses = [""] * len(rows)
    scores = [0.0] * len(rows)
    # Sentences of like length share a batch: little padding, and short ones are done early.
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    size = max(1, context.batch_size)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        found = generate(context, pad_sources([rows[i] for i in chosen], dataset.spec))
        for index, (ids, score) in zip(chosen, found, strict=True):
            hypotheses[index] = dataset.decode_target(ids)
            scores[index] = score
    return Translations(sources, references, hypotheses, scores, clipped)


def generate(context: EvaluationContext, source: torch.Tensor) -> list[tuple[list[int], float]]:
    """The best target ids and their score for each row of ``source`` [batch, length]."""
    if context.decoder is None:
        raise UserError(
            "Translations are needed, and no decoding is chosen.", "Add for example decoding=beam."
        )
    with torch.inference_mode():
        found = context.decoder.generate(
            context.model, source.to(context.device), context.dataset.spec
        )
    return [([int(i) for i in ids], float(score)) for ids, score in found]


def translation_dataset(context: EvaluationContext) -> TranslationDataset:
    """The data set as one of sentence pairs; UserError if it is another kind."""
    if not isinstance(context.dataset, TranslationDataset):
        raise UserError(
            f"The data set {type(context.dataset).__name__} has no sentence pairs to translate."
        )
    return context.dataset


def clip_sources(encoded: Sequence[Sequence[int]], spec: Spec) -> tuple[list[list[int]], int]:
    """Cut rows longer than ``spec.max_source_length`` (the end mark stays); how many were cut."""
    limit = spec.max_source_length
    rows, clipped = [], 0
    for ids in encoded:
        row = list(ids)
        if limit is not None and len(row) > limit:
            row = [*row[: limit - 1], row[-1]]
            clipped += 1
        rows.append(row)
    return rows, clipped


def pad_sources(rows: Sequence[Sequence[int]], spec: Spec) -> torch.Tensor:
    """Rows of ids as one tensor [batch, longest], filled with ``pad_id`` at the right end."""
    if spec.pad_id is None:
        raise UserError("The data set names no padding id, so sentences cannot share a batch.")
    width = max(len(row) for row in rows)
    return torch.tensor(
        [[*row, *[spec.pad_id] * (width - len(row))] for row in rows], dtype=torch.int64
    )


def decoder_settings(decoder: Any) -> dict[str, Any]:
    """What of a decoder changes the meaning of a score: its name and its options."""
    if decoder is None:
        return {}
    name = getattr(decoder, "registered_name", type(decoder).__name__)
    config = getattr(decoder, "config", None)
    options = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else {}  # type: ignore[arg-type]
    return {"decoding": name, **options}


def corpus_settings(context: EvaluationContext, found: Translations) -> dict[str, Any]:
    """The settings that every score of translations shares."""
    settings = decoder_settings(context.decoder)
    if found.clipped:
        settings["clipped_sources"] = found.clipped
    return settings
