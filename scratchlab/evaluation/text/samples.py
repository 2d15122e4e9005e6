"""What a model writes, beside what it should have written."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.translations import (
    Translations,
    ignore_case,
    keep,
    translations,
)
from scratchlab.registry import option, register


@register(
    "evaluator", "samples", tasks=("seq2seq",), needs=("sacrebleu",), measures={}, decodes=True
)
class Samples(Evaluator):
    """A table of sample translations with their chrF; outputs/translations.jsonl has them all."""

    @dataclass(frozen=True)
    class Config:
        count: int = option(8, "sentences in the table, picked at random by the seed", min=1)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        found = translations(context)
        scores = sentence_scores(found, ignore_case(None, context))
        everything = range(len(found.sources))
        count = min(self.config.count, len(everything))
        shown = sorted(random.Random(context.seed).sample(everything, count))
        context.sink.table(
            "samples",
            ("source", "reference", "hypothesis", "chrF"),
            [
                (found.sources[i], found.references[i], found.hypotheses[i], round(scores[i], 1))
                for i in shown
            ],
        )
        keep(context, found).add({"chrf": [round(score, 4) for score in scores]})
        return []


def sentence_scores(found: Translations, lowercase: bool = False) -> list[float]:
    """chrF of each translation alone, 0 to 100."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(lowercase=lowercase)
    return [
        float(metric.sentence_score(hypothesis, [reference]).score)
        for hypothesis, reference in zip(found.hypotheses, found.references, strict=True)
    ]
