"""Analogies: a is to b as c is to which word?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.contract import Dataset
from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.intervals import wilson
from scratchlab.evaluation.words.word_sets import (
    Section,
    embedded_analogies,
    find_set,
    form_in,
    read_analogies,
    vectors_of,
)
from scratchlab.registry import option, register

AT_ONCE = 512  # questions of one product
EPSILON = 0.001


@register(
    "evaluator",
    "analogies",
    tasks=("word_vectors",),
    measures={"analogies": "higher"},
    changed_by=("questions", "method", "restrict", "unknown"),
)
class Analogies(Evaluator):
    """Share of analogies whose fourth word is found, in all and by section.

    ``add``: the word nearest to b - a + c (3CosAdd, Mikolov et al. 2013c). ``multiply``: the word d
    with the greatest cos(d, b) · cos(d, c) / (cos(d, a) + ε), cosines moved into 0 … 1 (3CosMul,
    Levy and Goldberg 2014). The words of a question are no answers to it.
    """

    @dataclass(frozen=True)
    class Config:
        questions: str | None = option(
            None,
            "file in the form of questions-words.txt; null: word forms of Python's documentation",
            path="data",
        )
        method: str = option("add", "how the answer is found", choices=("add", "multiply"))
        restrict: int | None = option(
            30_000, "answers are among so many of the most frequent words; null: all", min=4
        )
        unknown: str = option(
            "skip", "questions with an unknown word: skip them, or count them as wrong",
            choices=("skip", "wrong"),
        )  # fmt: skip

    config: Config

    def check(self, dataset: Dataset) -> None:
        self._sections(dataset)

    def _sections(self, dataset: Dataset) -> list[Section]:
        path = self.config.questions
        return embedded_analogies() if path is None else read_analogies(find_set(dataset, path))

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        vectors = vectors_of(context)
        path, sections = self.config.questions, self._sections(context.dataset)
        rows: list[tuple[str, float | str, int, int, int]] = []
        right = asked = known_in_all = total = 0
        said: dict[int, str | None] = {}
        for section in sections:
            places, known = self._known(vectors, section.questions)
            answers = self.answers(vectors, known[:, :3])
            hits = int(np.sum(answers == known[:, 3]))
            counted = len(section.questions) if self.config.unknown == "wrong" else len(known)
            if self.config.unknown == "wrong":
                said |= dict.fromkeys(range(total, total + len(section.questions)))
            said |= {total + i: vectors.words[a] for i, a in zip(places, answers.tolist())}
            left_out = len(section.questions) - len(known)
            rows.append((section.name, hits / counted if counted else "", hits, counted, left_out))
            right, asked = right + hits, asked + counted
            known_in_all, total = known_in_all + len(known), total + len(section.questions)
        name = path or "the embedded questions"
        if not known_in_all:
            raise UserError(
                f"analogies: none of the {total:,} questions of {name} has vectors for all four "
                "words",
                "Give questions about words of the training text, or set "
                "evaluator.analogies.restrict=null.",
            )
        if not context.quick:
            columns = ["section", "share right", "right", "questions", "left out"]
            context.sink.table("analogies", columns, rows)
        low, high = wilson(right, asked)
        questions = [q for section in sections for q in section.questions]
        kept = context.keep(
            "analogies",
            ids=list(said),
            given=[" ".join(questions[i][:3]) for i in said],
            expected=[form_in(vectors, questions[i][3]) for i in said],
            said=list(said.values()),
        )
        settings = {
            "questions": name,
            "in_vocabulary": known_in_all,
            "left_out": total - known_in_all,
            "unknown": self.config.unknown,
            "method": self.config.method,
            "restrict": self.config.restrict,
        }
        return [
            Measurement(
                "analogies",
                right / asked,
                n=asked,
                low=low,
                high=high,
                settings=settings,
                examples=kept.by("share"),
            )
        ]

    def _known(
        self, vectors: WordVectors, questions: list[tuple[str, str, str, str]]
    ) -> tuple[list[int], NDArray[np.int64]]:
        """Which questions can be asked and answered, and the numbers [questions, 4] of their
        words."""
        limit = min(len(vectors), self.config.restrict or len(vectors))
        numbers = [
            [vectors.numbers.get(form_in(vectors, word), limit) for word in question]
            for question in questions
        ]
        found = np.array(numbers, dtype=np.int64).reshape(-1, 4)
        known = (found < limit).all(axis=1)
        return np.flatnonzero(known).tolist(), found[known]

    def answers(self, vectors: WordVectors, asked: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the word found for each a, b, c [questions, 3]; of equals the first."""
        directions = vectors.directions[: self.config.restrict]
        found = np.zeros(len(asked), dtype=np.int64)
        for first in range(0, len(asked), AT_ONCE):
            part = asked[first : first + AT_ONCE]
            a, b, c = (directions[part[:, k]] for k in range(3))
            if self.config.method == "add":
                scores = (b - a + c) @ directions.T
            else:
                cos_a, cos_b, cos_c = ((x @ directions.T + 1) / 2 for x in (a, b, c))
                scores = cos_b * cos_c / (cos_a + EPSILON)
            np.put_along_axis(scores, part, -np.inf, axis=1)
            found[first : first + AT_ONCE] = scores.argmax(axis=1)
        return found
