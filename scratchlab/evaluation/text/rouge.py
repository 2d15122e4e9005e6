"""ROUGE of generated summaries, and of the first sentences of the text for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchlab.data.sources.sentence_ends import split_sentences
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.intervals import give
from scratchlab.evaluation.outputs.answers import summarised_dataset, written_about
from scratchlab.evaluation.records import Records
from scratchlab.evaluation.rescoring import statistic
from scratchlab.evaluation.text.rouge_words import PLAIN, tokenizer, words_of
from scratchlab.registry import option, register

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line's end is one's end too."""
    found = (s.strip() for line in text.split("\n") for s in split_sentences(line, loose=True))
    return [s for s in found if s]


def rouge_scores(
    written: Sequence[str], references: Sequence[str], stemmer: bool
) -> tuple[Any, dict[str, Any]]:
    """F-measures in percent [texts, kinds], by the rouge-score library, and its settings.

    ROUGE-Lsum takes each sentence of a text as a line of its own (Lin 2004, section 3.2). The
    references decide what a word is (:mod:`scratchlab.evaluation.text.rouge_words`).
    """
    from rouge_score.rouge_scorer import RougeScorer

    words = words_of(references)
    stemmer = stemmer and words == PLAIN
    scorer = RougeScorer(list(KINDS), use_stemmer=stemmer, tokenizer=tokenizer(words))
    rows = []
    for text, reference in zip(written, references, strict=True):
        found = scorer.score("\n".join(sentences(reference)), "\n".join(sentences(text)))
        rows.append([100 * found[kind].fmeasure for kind in KINDS])
    return np.array(rows), {"words": words, "stemmer": stemmer}


def columns_of(scores: Any) -> dict[str, Any]:
    """Scores [texts, kinds] by their kinds."""
    return {kind: scores[:, i].tolist() for i, kind in enumerate(KINDS)}


def rouge_measurements(
    scores: Any, prefix: str, split: str, settings: dict[str, Any], kept: Records
) -> list[Measurement]:
    """Means with their 95 % confidence intervals."""
    result = []
    for kind, column in zip(KINDS, scores.T, strict=True):
        measured = Measurement(
            name=f"{prefix}{kind}",
            value=float(column.mean()),
            unit="%",
            better="higher",
            n=len(column),
            split=split,
            settings=settings,
            examples=kept.by("mean", column=kind, highest=100),
        )
        give(measured, statistic(measured.examples, kept.columns))
        result.append(measured)
    return result


@register(
    "evaluator",
    "rouge",
    tasks=("language_modeling", "seq2seq"),
    needs=("rouge_score",),
    extra="pretrained",
    measures={
        "rouge1": "higher",
        "rouge2": "higher",
        "rougeL": "higher",
        "rougeLsum": "higher",
        "summary_words": "",
    },
    changed_by=("examples", "new_tokens", "stemmer"),
    data=("answers",),
    decodes=True,
)
class Rouge(Evaluator):
    """ROUGE-1, -2, -L and -Lsum (F-measure) of the summaries that the model generates."""

    @dataclass(frozen=True)
    class Config:
        examples: int | None = option(None, "first examples of the split only; null: all", min=1)
        new_tokens: int = option(64, "tokens of a summary at most", min=1)
        stemmer: bool = option(True, "compare stems of English words (Porter)")
        count: int = option(8, "examples in the table of samples", min=0)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        dataset = summarised_dataset(context, "rouge")
        config = self.config
        limit = config.examples
        if context.limit is not None:
            limit = min(limit or context.limit, context.limit)
        written, how = written_about(context, "rouge", limit, config.new_tokens)
        references = dataset.references(context.split)[: len(written)]
        scores, words = rouge_scores(written, references, config.stemmer)
        sources = dataset.sources(context.split)[: len(written)]
        if not context.quick:
            self._show(context, sources, references, written, scores)
        kept = context.keep(
            "summaries", given=sources, expected=references, said=written, **columns_of(scores)
        )
        settings: dict[str, Any] = {**words, **how}
        lengths = [len(text.split()) for text in written]
        length = Measurement(
            "summary_words", float(np.mean(lengths)), "words", "", n=len(written),
            split=context.split,
            settings={"reference": float(np.mean([len(r.split()) for r in references]))},
        )  # fmt: skip
        return [*rouge_measurements(scores, "", context.split, settings, kept), length]

    def _show(
        self,
        context: EvaluationContext,
        sources: Sequence[str],
        references: Sequence[str],
        written: Sequence[str],
        scores: Any,
    ) -> None:
        count = min(self.config.count, len(written))
        chosen = np.linspace(0, len(written) - 1, count).astype(int).tolist() if count else []
        context.sink.table(
            "summaries",
            ("text", "reference", "model", "ROUGE-L"),
            [
                (sources[i][:300], references[i], written[i], round(float(scores[i, 2]), 1))
                for i in chosen
            ],
        )


@register(
    "evaluator",
    "lead3",
    tasks=("language_modeling", "seq2seq"),
    needs=("rouge_score",),
    extra="pretrained",
    measures={
        "lead3_rouge1": "higher",
        "lead3_rouge2": "higher",
        "lead3_rougeL": "higher",
        "lead3_rougeLsum": "higher",
    },
    asked_by={
        "lead3_rouge1": ("sentences", 3),
        "lead3_rouge2": ("sentences", 3),
        "lead3_rougeL": ("sentences", 3),
        "lead3_rougeLsum": ("sentences", 3),
    },
    changed_by=("examples", "stemmer"),
    data=("answers",),
)
class Lead3(Evaluator):
    """ROUGE of a text's first three sentences as its summary: what costs nothing."""

    @dataclass(frozen=True)
    class Config:
        sentences: int = option(3, "how many sentences", min=1)
        examples: int | None = option(None, "first examples of the split only; null: all", min=1)
        stemmer: bool = option(True, "compare stems of English words (Porter)")

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        dataset = summarised_dataset(context, "lead3")
        count = self.config.sentences
        sources = dataset.sources(context.split)[: self.config.examples]
        leads = [" ".join(sentences(text)[:count]) for text in sources]
        references = dataset.references(context.split)[: len(leads)]
        scores, words = rouge_scores(leads, references, self.config.stemmer)
        settings = {**words, "sentences": count}
        kept = context.keep(
            f"lead{count}", given=sources, expected=references, said=leads, **columns_of(scores)
        )
        return rouge_measurements(scores, f"lead{count}_", context.split, settings, kept)
