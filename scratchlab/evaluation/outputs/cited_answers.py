"""Answers to questions on documents, with the passages that the model was shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scratchlab.data.kinds.document_questions import DocumentQuestions
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.answers import AnsweringPrompts
from scratchlab.registry import register

_WORD = re.compile(r"\w+")
SHOWN = 100  # characters of a passage


@dataclass(frozen=True)
class CitedAnswers:
    """Questions with all right answers, the model's answers with and (if asked for) without the
    passages, and the numbers of these."""

    questions: list[str]
    right: list[list[str]]
    said: list[str]
    without: list[str] | None
    passages: list[list[int]]


def cited_answers(context: EvaluationContext, new_tokens: int, without: bool) -> CitedAnswers:
    """Answers to the first ``context.limit`` questions of the split (all of them without one)."""
    found: CitedAnswers = AnsweringFromDocuments().of_split(
        context, count=context.limit, new_tokens=new_tokens, without=without
    )
    return found


def stands_in(answer: str, text: str) -> bool:
    """Whether the words of an answer stand in a text one behind the other, case aside."""
    words, there = (_WORD.findall(t.casefold()) for t in (answer, text))
    n = len(words)
    return n > 0 and any(there[i : i + n] == words for i in range(len(there) - n + 1))


@register("outputs", "cited_answers")
class AnsweringFromDocuments(AnsweringPrompts):
    """The first line of what the model writes."""

    def make(self, context: EvaluationContext, **how: Any) -> Any:
        if "without" not in how:  # asked as about any prompts
            return super().make(context, **how)
        dataset = document_questions(context)
        split, count, new = context.split, how["count"], how["new_tokens"]
        said = self._write(context, dataset.prompts(split)[:count], new)
        without = None
        if how["without"]:
            without = self._write(context, dataset.bare_prompts(split)[:count], new)
        return CitedAnswers(
            dataset.texts(split)[:count],
            dataset.accepted(split)[:count],
            first_lines(said),
            None if without is None else first_lines(without),
            dataset.given(split)[:count],
        )

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """The answer to each question; below it, a line each, the passages that it was given."""
        dataset = document_questions(context)
        for line in lines:
            if not line.strip():
                yield [""]
                continue
            prompt, _, _ = dataset.prompt(line)
            numbers, texts = dataset.fitting(dataset.search([line])[0])
            (said,) = first_lines(self._write(context, [prompt], None))
            shown = [f"{dataset.decode(prompt)}\n"] if dataset.config.show_prompt else []
            rows = zip(dataset.owners(numbers), texts, strict=True)
            cited = [_cited(place, said, *row) for place, row in enumerate(rows, 1)]
            yield ["\n".join([*shown, said, *cited])]


def first_lines(texts: Sequence[str]) -> list[str]:
    """What an answer says before it goes on to something else."""
    return [(text.strip().splitlines() or [""])[0].strip() for text in texts]


def _cited(place: int, said: str, name: str, text: str) -> str:
    words = " ".join(text.split())
    short = words if len(words) <= SHOWN else words[: SHOWN - 1].rstrip() + "…"
    holds = " (holds the answer)" if stands_in(said, text) else ""
    return f"  [{place}] {name}{holds}: {short}"


def document_questions(context: EvaluationContext) -> DocumentQuestions:
    """The data set, which must hold questions on documents."""
    if not isinstance(context.dataset, DocumentQuestions):
        raise UserError(
            "the data set holds no questions on documents",
            "Choose dataset=python_questions or dataset=document_questions.",
        )
    return context.dataset
