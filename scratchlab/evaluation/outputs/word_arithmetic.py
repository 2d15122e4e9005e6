"""What word vectors answer to a word, or to sums and differences of words: the nearest words."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from scratchlab.errors import UnansweredRows, UserError, shortened, suggest
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import Outputs
from scratchlab.registry import register

LOGGER = logging.getLogger("scratchlab")

SHOWN = 10
SIGNS = {"+": 1, "-": -1}


@register("outputs", "word_arithmetic")
class WordArithmetic(Outputs):
    """The vectors of a model, whatever text it learned them from; to a line, the nearest words."""

    def make(self, context: EvaluationContext, **how: Any) -> WordVectors:
        return context.model.vectors()

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """The nearest words of each line's word, or sum of words.

        Raises:
            UnansweredRows: at the end, if lines could not be read; each was told of in its place.
        """
        vectors, total, refused = self.of_split(context), 0, 0
        for line in lines:
            total += 1
            try:
                yield [nearest_words(vectors, line)]
            except UserError as error:
                refused += 1
                LOGGER.error("%s", error)
                yield [""]
        if refused:
            raise UnansweredRows(f"{refused:,} of {total:,} lines were not answered")


def nearest_words(vectors: WordVectors, line: str, count: int = SHOWN) -> str:
    """The words nearest to ``king - man + woman``, with their cosines; the words given are left
    out; of one that had to be made it is said. Each word counts by its direction alone. An empty
    line stays empty.

    Raises:
        UserError: a word has no vector, or the line is no sum of words.
    """
    terms = read_sum(line)
    if not terms:
        return ""
    total, given = np.zeros(vectors.matrix.shape[1]), []
    for sign, word in terms:
        own = word if word in vectors.numbers else word.lower()
        vector = vectors.vector(own)
        if vector is None:
            raise UserError(
                f"the word {shortened(word)} has no vector", suggest(word, vectors.words)
            )
        if own not in vectors.numbers:
            LOGGER.warning("%s was never seen: its vector is made of n-grams", shortened(word))
        total += sign * vector / max(float(np.linalg.norm(vector)), 1e-12)
        given.append(own)
    found = vectors.nearest(total, count, without=given)
    return "  ".join(f"{word} {cosine:.3f}" for word, cosine in found)


def read_sum(line: str) -> list[tuple[int, str]]:
    """Words with their signs; + and - stand between spaces, since words may hold hyphens."""
    terms: list[tuple[int, str]] = []
    sign: int | None = 1
    for word in line.split():
        if word in SIGNS:
            if sign is not None and terms:
                raise UserError(f"two signs follow each other in {shortened(line)}")
            sign = SIGNS[word]
        elif sign is None:
            raise UserError(
                f"a + or - is missing before {shortened(word)}",
                "Write for example king - man + woman.",
            )
        else:
            terms.append((sign, word))
            sign = None
    if terms and sign is not None:
        raise UserError(
            f"{shortened(line)} ends in a sign", "Write for example king - man + woman."
        )
    return terms
