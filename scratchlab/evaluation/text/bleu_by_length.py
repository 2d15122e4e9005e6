"""BLEU of short and of long sentences: what a model forgets of a source while it writes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.translations import ignore_case, translations
from scratchlab.evaluation.text.perplexity_by_length import lengths_apart, range_label
from scratchlab.figures.lines import by_length_figure
from scratchlab.registry import option, register


@register(
    "evaluator",
    "bleu_by_length",
    tasks=("seq2seq",),
    needs=("sacrebleu",),
    measures={},
    decodes=True,
)
class BleuByLength(Evaluator):
    """A table and a picture of corpus BLEU and chrF by the length of the source.

    The groups hold about equally many sentences and depend on the text alone, so they are the same
    for every model and vocabulary.
    """

    @dataclass(frozen=True)
    class Config:
        groups: int = option(6, "groups of sentences, about equally many in each", min=1)
        unit: str = option(
            "word", "what a source's length is counted in", choices=("word", "character")
        )
        lowercase: bool | None = option(
            None,
            "compare without regard to case; null: only where outputs are lower-cased anyway",
        )
        tokenize: str = option(
            "13a",
            "how sacrebleu splits sentences into words",
            choices=("13a", "intl", "char", "none", "zh"),
        )

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        if context.quick:
            return []
        found, unit = translations(context), self.config.unit
        lower = ignore_case(self.config.lowercase, context)
        bleu = BLEU(lowercase=lower, tokenize=self.config.tokenize, force=True)
        chrf = CHRF(lowercase=lower)
        sizes = [len(s.split() if unit == "word" else s) for s in found.sources]
        rows = []
        for inside in lengths_apart(np.array(sizes), self.config.groups):
            lengths = [sizes[i] for i in inside]
            written = [found.hypotheses[i] for i in inside]
            wanted = [[found.references[i] for i in inside]]
            scores = [float(m.corpus_score(written, wanted).score) for m in (chrf, bleu)]
            label = range_label(min(lengths), max(lengths))
            rows.append((label, len(inside), *(round(s, 4) for s in scores)))
        columns = (f"source length in {unit}s", "sentences", "chrF", "BLEU")
        context.sink.table("bleu_by_length", columns, rows)
        context.sink.figure(
            "bleu_by_length",
            by_length_figure,
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[3] for row in rows],
            float(bleu.corpus_score(found.hypotheses, [found.references]).score),
            f"length of the source in {unit}s (below: number of sentences)",
            "BLEU",
            f"BLEU by length of source, split {context.split}",
        )
        return []
