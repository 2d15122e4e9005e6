"""chrF (Popović 2015): the F-score of character n-grams, as sacrebleu computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.translations import ignore_case, keep, translations
from scratchlab.evaluation.rescoring.corpus import chrf_metric, chrf_sums
from scratchlab.evaluation.text.corpus_score import corpus_score
from scratchlab.registry import option, register


@register(
    "evaluator",
    "chrf",
    tasks=("seq2seq",),
    needs=("sacrebleu",),
    measures={"chrf": "higher", "chrf+": "higher", "chrf++": "higher"},
    asked_by={"chrf": ("word_order", 0), "chrf+": ("word_order", 1), "chrf++": ("word_order", 2)},
    changed_by=("lowercase", "char_order"),
    decodes=True,
)
class Chrf(Evaluator):
    """chrF of the split's translations, 0 to 100; with ``word_order`` 2 it is chrF++."""

    @dataclass(frozen=True)
    class Config:
        lowercase: bool | None = option(
            None,
            "compare without regard to case; null: only where outputs are lower-cased anyway",
        )
        char_order: int = option(6, "longest n-gram of characters", min=1, max=100)
        word_order: int = option(0, "longest n-gram of words (2: chrF++)", min=0, max=100)
        bootstrap: int = option(
            0,
            "resamplings of sacrebleu for the 95 % interval, which fit many texts; 0: the "
            "jackknife's, which fits few as well",
            min=0,
            max=1_000_000,
        )

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        found = translations(context)
        options: dict[str, Any] = {
            "lowercase": ignore_case(self.config.lowercase, context),
            "char_order": self.config.char_order,
            "word_order": self.config.word_order,
        }
        metric = chrf_metric(**options)
        _, measured = corpus_score(metric, found, context, self.config.bootstrap, chrf_sums)
        measured.name = "chrf" + "+" * self.config.word_order
        measured.examples = keep(context, found).by("chrf", **options)
        return [measured]
