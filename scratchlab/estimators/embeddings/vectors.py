"""Words and their vectors, however they were learned: look-up, and what a word has none for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


class WordVectors:
    """``matrix`` [words, dimensions]; ``compose`` makes a vector for an unseen word, if it can."""

    def __init__(
        self,
        words: Sequence[str],
        matrix: NDArray[np.float32],
        compose: Callable[[str], NDArray[np.float32] | None] = lambda word: None,
    ) -> None:
        self.words, self.matrix, self.compose = list(words), matrix, compose

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The row of each word."""
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """The rows at length 1 (rows of zeros stay), so that products are cosines."""
        return unit_length(self.matrix)

    def vector(self, word: str) -> NDArray[np.float32] | None:
        """The vector of a word [dimensions]; None if there is none and none can be made."""
        number = self.numbers.get(word)
        return self.compose(word) if number is None else self.matrix[number]

    def with_words(self, words: Iterable[str]) -> WordVectors:
        """The same, with those of the words as well that a vector can be made for."""
        unseen = dict.fromkeys(word for word in words if word not in self.numbers)
        made = {word: v for word in unseen if (v := self.compose(word)) is not None}
        if not made:
            return self
        matrix = np.vstack([self.matrix, *made.values()])
        return WordVectors([*self.words, *made], matrix, self.compose)

    def nearest(
        self, vector: NDArray[Any], count: int, without: Sequence[str] = ()
    ) -> list[tuple[str, float]]:
        """The ``count`` words whose directions are nearest, with their cosines."""
        cosines = self.directions @ unit_length(np.asarray(vector)[None])[0]
        for word in without:
            if word in self.numbers:
                cosines[self.numbers[word]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[:count]
        return [(self.words[i], float(cosines[i])) for i in best.tolist() if cosines[i] > -np.inf]


def unit_length(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows [n, d] at length 1."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths == 0, 1, lengths)).astype(np.float32)
