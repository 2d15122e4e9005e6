"""The words that lie nearest to some words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scratchlab.errors import UserError, suggest
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.words.word_sets import form_in, vectors_of
from scratchlab.registry import option, register

FREQUENT = 2000  # words among which examples are chosen


@register("evaluator", "neighbours", tasks=("word_vectors",), measures={})
class Neighbours(Evaluator):
    """A table of words with their nearest neighbours by cosine."""

    @dataclass(frozen=True)
    class Config:
        words: list[str] = option([], "words to look up; none: 12 of the most frequent ones")
        count: int = option(8, "neighbours of each", min=1, max=1000)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        vectors = vectors_of(context)
        rows = []
        for word in self.config.words or examples(vectors):
            own = form_in(vectors, word)
            vector = vectors.vector(own)
            if vector is None:
                raise UserError(f"neighbours: {word!r} has no vector", suggest(word, vectors.words))
            near = vectors.nearest(vector, self.config.count, without=[own])
            rows.append((word, ", ".join(f"{w} {c:.2f}" for w, c in near)))
        context.sink.table("neighbours", ["word", "nearest words and cosines"], rows)
        return []


def examples(vectors: WordVectors, count: int = 12) -> list[str]:
    """Words of four letters and more, evenly spread over the frequent ones."""
    long = [w for w in vectors.words[:FREQUENT] if len(w) >= 4] or vectors.words
    places = np.linspace(0, len(long) - 1, min(count, len(long))).astype(int)
    return [long[i] for i in places.tolist()]
