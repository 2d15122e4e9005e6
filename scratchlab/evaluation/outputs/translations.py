"""Translations: of a split, and of lines that a person gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scratchlab.data.contract import Spec, TranslationDataset
from scratchlab.decoding.contract import Hypothesis
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import Writing, batched
from scratchlab.evaluation.records import Records
from scratchlab.models.compiled.fitting import compiled
from scratchlab.registry import register


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
    found: Translations = Translating().of_split(context, count=context.limit)
    return found


def keep(context: EvaluationContext, found: Translations) -> Records:
    """The file of the translations, to which evaluators add their scores."""
    return context.keep(
        "translations",
        given=found.sources,
        expected=found.references,
        said=found.hypotheses,
        log_probability=found.log_probabilities,
    )


@register("outputs", "translations")
class Translating(Writing):
    """The best hypothesis of the chosen decoding."""

    def make(self, context: EvaluationContext, **how: Any) -> Translations:
        dataset = translation_dataset(context)
        sources = dataset.sources(context.split)[: how["count"]]
        references = dataset.references(context.split)[: how["count"]]
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

    def written(
        self, context: EvaluationContext, count: int | None, new_tokens: int
    ) -> tuple[list[str], dict[str, Any]]:
        """They are bounded by the options of the decoding, not by ``new_tokens``."""
        found: Translations = self.of_split(context, count=count)
        return found.hypotheses, decoder_settings(context.decoder)

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        dataset = translation_dataset(context)
        if context.decoder is None:
            raise UserError("this run has no decoding", "Add for example decoding=greedy.")
        config = context.decoder.config
        rows = at_once * getattr(config, "beam_size", 1)
        with compiled(context.model, rows, 0, getattr(config, "compiled", False)):  # for all lines
            for group in batched(lines, at_once):
                sources = [dataset.encode_source(line) for line in group if line.strip()]
                found = iter(generate(context, sources, len(sources)) if sources else [])
                for line in group:
                    yield [dataset.decode_target(next(found).ids) if line.strip() else ""]


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
