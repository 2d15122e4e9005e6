"""What a language model answers to the questions of a split, or of a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from scratchlab.data.kinds.questions import QuestionDataset
from scratchlab.decoding.continuation import answers
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import Outputs, batched
from scratchlab.registry import register


@dataclass(frozen=True)
class ShortAnswers:
    """Questions, their right answers and the model's, in the order of the split."""

    questions: list[str]
    right: list[str]
    given: list[str]


def short_answers(context: EvaluationContext) -> ShortAnswers:
    """Answers to the first ``limit`` questions of the split (all of them without a limit)."""
    found: ShortAnswers = AnsweringQuestions().of_split(context, limit=context.limit)
    return found


@register("outputs", "short_answers")
class AnsweringQuestions(Outputs):
    """The most probable answer, up to the mask that closes it."""

    def make(self, context: EvaluationContext, **how: Any) -> ShortAnswers:
        """Questions of like length share a batch."""
        dataset = context.dataset
        if not isinstance(dataset, QuestionDataset):
            raise UserError(
                "exact_match: the data set asks no questions",
                "It measures, for example, dataset=birthplaces and dataset=biography_questions.",
            )
        questions = dataset.questions(context.split)[: how["limit"]]
        right = dataset.answers(context.split)[: how["limit"]]
        order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
        given = [""] * len(questions)
        size = max(1, context.batch_size)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            said = answers(context.model, dataset, [questions[i] for i in chosen])
            for index, text in zip(chosen, said, strict=True):
                given[index] = text
        return ShortAnswers(questions, right, given)

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        dataset: Any = context.dataset
        for group in batched(lines, at_once):
            yield from ([answer] for answer in answers(context.model, dataset, group))
