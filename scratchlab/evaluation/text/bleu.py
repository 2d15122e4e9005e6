"""Corpus BLEU (Papineni et al. 2002) as sacrebleu computes it (Post 2018), with its signature."""

from __future__ import annotations

from dataclasses import dataclass

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.translations import ignore_case, keep, translations
from scratchlab.evaluation.rescoring.corpus import bleu_metric, bleu_sums
from scratchlab.evaluation.text.corpus_score import corpus_score
from scratchlab.registry import option, register


@register(
    "evaluator",
    "bleu",
    tasks=("seq2seq",),
    needs=("sacrebleu",),
    measures={"bleu": "higher"},
    changed_by=("lowercase", "tokenize"),
    decodes=True,
)
class Bleu(Evaluator):
    """BLEU of the split's translations against its references, 0 to 100, with a confidence."""

    @dataclass(frozen=True)
    class Config:
        lowercase: bool | None = option(
            None,
            "compare without regard to case; null: only where outputs are lower-cased anyway",
        )
        tokenize: str = option(
            "13a",
            "how sacrebleu splits sentences into words",
            choices=("13a", "intl", "char", "none", "zh"),
        )
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
        lowercase, tokenize = ignore_case(self.config.lowercase, context), self.config.tokenize
        metric = bleu_metric(lowercase, tokenize)
        score, measured = corpus_score(metric, found, context, self.config.bootstrap, bleu_sums)
        measured.name = "bleu"
        measured.examples = keep(context, found).by("bleu", lowercase=lowercase, tokenize=tokenize)
        measured.settings |= {
            "precisions": [round(float(p), 2) for p in score.precisions],
            "brevity_penalty": round(float(score.bp), 4),
            "length_ratio": round(float(score.ratio), 4),
        }
        return [measured]
