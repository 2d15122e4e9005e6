"""The translations of a split, made once for all evaluators that look at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from scratchlab.data.contract import Spec, TranslationDataset
from scratchlab.decoding.contract import Hypothesis
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext


@dataclass(frozen=True)
class Translations:
    """Sentences in the order of the split, and the model's log-probability of what it wrote.

    ``clipped`` counts sources that were longer than the model can read and lost their end.
    """

    sources: list[str]
    references: list[str]
    hypotheses: list[str]
    log_probabilities: list[float]
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
    found = generate(context, rows, context.batch_size)
    return Translations(
        sources,
        references,
        [dataset.decode_target(hypothesis.ids) for hypothesis in found],
        [hypothesis.log_probability for hypothesis in found],
        clipped,
    )


def generate(
    context: EvaluationContext, rows: Sequence[Sequence[int]], batch_size: int
) -> list[Hypothesis]:
    """The decoder's best hypothesis for each sentence of ids, in the order given.

    Sentences of similar length share a batch; how many do changes the time, not the result.
    """
    if context.decoder is None:
        raise UserError(
            "Translations are needed, and no decoding is chosen.", "Add for example decoding=beam."
        )
    found: list[Hypothesis] = context.decoder.generate_all(
        context.model, rows, context.dataset.spec, max(1, batch_size)
    )
    return found


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


def ignore_case(asked: bool | None, context: EvaluationContext) -> bool:
    """Whether scores compare lower-cased text: as asked, or as the data set's own output is."""
    return context.dataset.lower_cased if asked is None else asked
