"""Exact match: how many questions get exactly the right answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.intervals import WILSON, wilson
from scratchlab.evaluation.outputs.short_answers import short_answers
from scratchlab.registry import option, register


@register(
    "evaluator",
    "exact_match",
    tasks=("language_modeling",),
    measures={"exact_match": "higher", "exact_match_constant": ""},
    data=("questions",),
)
class ExactMatch(Evaluator):
    """Greedy answers that equal the right one to the letter, beside what a constant answer gets.

    An answer ends at the next mask. The constant is the most frequent training answer.
    The interval is the score interval of a share (Wilson 1927), which is not empty where no answer,
    or every one, is right.
    """

    @dataclass(frozen=True)
    class Config:
        count: int = option(12, "questions in the table of samples", min=1)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        found = short_answers(context)
        questions, right, given = found.questions, found.right, found.given
        dataset: Any = context.dataset
        constant = dataset.constant_answer
        if dataset.lower_cased:
            right, constant = [a.lower() for a in right], constant.lower()
        hits = sum(a == b for a, b in zip(given, right, strict=True))
        constant_hits = sum(constant == b for b in right)
        if not context.quick:
            self._show(context, questions, right, given)
        settings = {"constant_answer": constant, "constant": 100 * constant_hits / len(right)}
        kept = context.keep("short_answers", given=questions, expected=right, said=given)
        share = _share("exact_match", hits, len(right), settings)
        share.examples = kept.by("share", factor=100.0)
        return [
            share,
            _share("exact_match_constant", constant_hits, len(right), {"answer": constant}),
        ]

    def _show(
        self, context: EvaluationContext, questions: list[str], right: list[str], given: list[str]
    ) -> None:
        shown = sorted(
            {round(i * (len(right) - 1) / self.config.count) for i in range(self.config.count)}
        )
        context.sink.table(
            "exact_match",
            ("question", "answer", "model", "right"),
            [(questions[i], right[i], given[i], given[i] == right[i]) for i in shown],
        )


def _share(name: str, hits: int, n: int, settings: dict[str, Any]) -> Measurement:
    low, high = wilson(hits, n)
    return Measurement(
        name=name,
        value=100 * hits / n,
        unit="%",
        better="higher" if name == "exact_match" else "",
        n=n,
        settings=settings,
        low=100 * low,
        high=100 * high,
        interval=WILSON,
    )
