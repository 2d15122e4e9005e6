"""chrF (Popović 2015): the F-score of character n-grams, as sacrebleu computes it."""

from __future__ import annotations

from dataclasses import dataclass

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.translations import ignore_case, translations
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
            1000, "resamplings for the 95 % confidence interval (0: none)", min=0, max=1_000_000
        )

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        from sacrebleu.metrics.chrf import CHRF

        found = translations(context)
        metric = CHRF(
            char_order=self.config.char_order,
            word_order=self.config.word_order,
            lowercase=ignore_case(self.config.lowercase, context),
        )
        _, measured = corpus_score(metric, found, context, self.config.bootstrap)
        measured.name = "chrf" + "+" * self.config.word_order
        return [measured]
