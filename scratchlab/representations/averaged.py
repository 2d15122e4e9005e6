"""A text as the mean of its words' vectors: of a file, of a run, or learnt from the texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from scratchlab.data.tokenizers.words import plain_words
from scratchlab.estimators.embeddings.vectors import WordVectors, unit_length
from scratchlab.estimators.protocol import InputError, State
from scratchlab.estimators.state import text_from_array, text_to_array
from scratchlab.registry import find, option, register, require_packages
from scratchlab.representations.contract import Representation


@register("representation", "word_vectors", begins_with=("vectors",))
class AveragedWordVectors(Representation):
    """The mean of the vectors of a text's words, at length 1, so that products are cosines.

    ``init_from`` names vectors: a file or a run. Without it skip-gram learns them from the texts of
    ``fit``. Words without a vector are left out (of FastText, those of the texts have one made); a
    text of such words only is a row of 0.
    """

    @dataclass(frozen=True)
    class Config:
        idf: bool = option(True, "words that few texts hold weigh more: ln((N + 1) / (n + 1)) + 1")
        vector_size: int = option(100, "without init_from: dimensions", min=1, max=100_000)
        window: int = option(5, "without init_from: words to either side that count", min=1)
        min_count: int = option(2, "without init_from: rarer words have no vector", min=1)
        epochs: int = option(10, "without init_from: passes over the texts", min=1)
        random_state: int = option(0, "without init_from: seed", min=0)

    idf: bool
    vector_size: int
    window: int
    min_count: int
    epochs: int
    random_state: int
    _given: WordVectors | None = None
    vectors_: WordVectors
    weights_: NDArray[np.float32]  # [words]

    def begin_with(self, vectors: WordVectors) -> None:
        """Vectors that are there already."""
        self._given = vectors

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn the vectors, unless they are given, and in how many texts each word is."""
        words = [plain_words(text) for text in texts]
        self.vectors_ = self._learned(words) if self._given is None else _with(self._given, words)
        held = Counter(word for text in words for word in set(text))
        n = np.array([held.get(word, 0) for word in self.vectors_.words])
        idf = np.log((len(words) + 1) / (n + 1)) + 1
        self.weights_ = (idf if self.idf else np.ones_like(idf)).astype(np.float32)
        return self

    def _learned(self, words: list[list[str]]) -> WordVectors:
        require_packages(find("model", "skipgram"), "representation=word_vectors without init_from")
        from scratchlab.estimators.embeddings.word2vec import SkipGram

        if not any(map(len, words)):
            raise InputError("there is no word in the texts")
        model = SkipGram(
            vector_size=self.vector_size, window=self.window, min_count=self.min_count,
            epochs=self.epochs, random_state=self.random_state, threads=1,
        )  # fmt: skip
        found: WordVectors = model.fit(words).vectors()
        return found

    def transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        numbers, columns, bounds = self.vectors_.numbers, [], [0]
        for text in texts:
            columns += [numbers[word] for word in plain_words(text) if word in numbers]
            bounds.append(len(columns))
        shape = (len(bounds) - 1, len(self.vectors_))
        places = np.array(columns, dtype=np.int64)
        weights = csr_array((self.weights_[places], places, np.array(bounds)), shape=shape)
        return unit_length(weights @ self.vectors_.matrix)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        width = self.vectors_.matrix.shape[1]
        return np.array([f"dimension {i}" for i in range(width)], dtype=object)

    def get_state(self) -> State:
        if not hasattr(self, "vectors_"):
            raise InputError("the representation is not fitted", "call fit first")
        return {
            "words": text_to_array(self.vectors_.words),
            "vectors": self.vectors_.matrix,
            "weights": self.weights_,
        }

    def set_state(self, state: State) -> Self:
        words = text_from_array(state["words"])
        matrix = np.array(state["vectors"], dtype=np.float32)
        self.weights_ = np.array(state["weights"], dtype=np.float32)
        if matrix.ndim != 2 or len(matrix) != len(words) or self.weights_.shape != (len(words),):
            raise InputError(f"{len(words)} words have vectors of shape {matrix.shape}")
        self.vectors_ = WordVectors(words, matrix)
        return self


def _with(given: WordVectors, words: list[list[str]]) -> WordVectors:
    """The vectors, and those that can be made for other words of the texts."""
    unseen = dict.fromkeys(w for text in words for w in text if w not in given.numbers)
    made = {word: v for word in unseen if (v := given.vector(word)) is not None}
    if not made:
        return WordVectors(given.words, given.matrix)
    return WordVectors([*given.words, *made], np.vstack([given.matrix, *made.values()]))
