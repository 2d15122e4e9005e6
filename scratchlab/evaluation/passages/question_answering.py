"""How well questions are answered from documents, beside the same model without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.intervals import give
from scratchlab.evaluation.outputs.cited_answers import (
    CitedAnswers,
    cited_answers,
    document_questions,
    stands_in,
)
from scratchlab.evaluation.passages.squad import exact, f1
from scratchlab.evaluation.records import Records
from scratchlab.evaluation.rescoring import statistic
from scratchlab.registry import option, register


@register(
    "evaluator",
    "question_answering",
    tasks=("language_modeling",),
    measures={
        "exact_match": "higher",
        "answer_f1": "higher",
        "answer_in_passages": "higher",
        "answer_supported": "higher",
        "exact_match_without": "",
        "answer_f1_without": "",
        "exact_match_gain": "higher",
        "answer_f1_gain": "higher",
    },
    changed_by=("new_tokens",),
    data=("cited_answers",),
)
class QuestionAnswering(Evaluator):
    """Exact match and token F1 (SQuAD's), and what the passages have to do with them.

    ``answer_in_passages``: a right answer stands in a passage that the model was shown: what search
    makes possible. ``answer_supported``: the model's own words stand in one. ``…_gain``: how much
    better the answers are than the same model's without passages, question by question, with the
    interval of the paired difference.
    """

    @dataclass(frozen=True)
    class Config:
        new_tokens: int = option(16, "most tokens of an answer", min=1)
        without: bool = option(True, "ask without passages as well, and tell the gain")
        count: int = option(12, "questions in the table of samples", min=1)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        dataset = document_questions(context)
        without = self.config.without and dataset.index is not None
        found = cited_answers(context, self.config.new_tokens, without)
        shown = [dataset.fitting(numbers)[1] for numbers in found.passages]
        scores: dict[str, Any] = {
            "exact_match": [float(exact(s, r)) for s, r in zip(found.said, found.right)],
            "answer_f1": [f1(s, r) for s, r in zip(found.said, found.right)],
        }
        supported = {
            "answer_in_passages": [
                float(any(stands_in(answer, text) for answer in right for text in texts))
                for right, texts in zip(found.right, shown, strict=True)
            ],
            "answer_supported": [
                float(any(stands_in(said, text) for text in texts))
                for said, texts in zip(found.said, shown, strict=True)
            ],
        }
        settings = {"new_tokens": self.config.new_tokens, "passages": dataset.config.passages}
        columns: dict[str, Any] = {**scores, **(supported if dataset.index is not None else {})}
        if found.without is not None:
            columns |= {
                "exact_match_without": [
                    float(exact(s, r)) for s, r in zip(found.without, found.right)
                ],
                "answer_f1_without": [f1(s, r) for s, r in zip(found.without, found.right)],
            }
            for name, values in scores.items():
                pairs = zip(values, columns[f"{name}_without"], strict=True)
                columns[f"{name}_gain"] = [a - b for a, b in pairs]
        kept = context.keep(
            "cited_answers",
            given=found.questions,
            expected=found.right,
            said=found.said,
            said_without=found.without,
            passages=[dataset.owners(numbers) for numbers in found.passages],
            **columns,
        )
        if not context.quick:
            self._show(context, found, {**scores, **supported})
        return [_measured(name, kept, settings) for name in columns]

    def _show(
        self, context: EvaluationContext, found: CitedAnswers, scores: dict[str, list[float]]
    ) -> None:
        dataset = document_questions(context)
        kinds = dataset.kinds(context.split)[: len(found.questions)]
        count = len(found.questions)
        shown = np.linspace(0, count - 1, min(self.config.count, count)).astype(int).tolist()
        context.sink.table(
            "answers",
            ("question", "right", "model", "without passages", "first passage"),
            [
                (found.questions[i], found.right[i][0], found.said[i],
                 "" if found.without is None else found.without[i],
                 next(iter(dataset.owners(found.passages[i])), ""))
                for i in shown
            ],
        )  # fmt: skip
        if any(kinds):
            rows = []
            for kind in sorted(set(kinds)):
                own = [i for i, k in enumerate(kinds) if k == kind]
                means = (float(np.mean([values[i] for i in own])) for values in scores.values())
                rows.append((kind, len(own), *(round(100 * mean, 1) for mean in means)))
            columns = ("kind", "questions", *(f"{name} (%)" for name in scores))
            context.sink.table("answers_by_kind", columns, rows)


def _measured(name: str, kept: Records, settings: dict[str, object]) -> Measurement:
    """The mean of a column in percent; of a gain, which may be below 0, in points."""
    gain = name.endswith("_gain")
    values = kept.columns[name]
    found = Measurement(
        name=name,
        value=100 * float(np.mean(values)),
        unit="points" if gain else "%",
        better="" if name.endswith("_without") else "higher",
        n=len(values),
        settings=dict(settings),
        examples=kept.by("mean", column=name, factor=100.0, highest=0 if gain else 100),
    )
    give(found, statistic(found.examples, kept.columns))
    return found
