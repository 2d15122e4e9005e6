"""A text as the mean of its words' vectors: of a file, of a run, or learnt from the texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from scratchlab.data.tokenizers.words import plain_words
from scratchlab.estimators.embeddings.ngrams import NGramRows
from scratchlab.estimators.embeddings.vectors import WordVectors, unit_length
from scratchlab.estimators.protocol import InputError, State
from scratchlab.estimators.state import text_from_array, text_to_array
from scratchlab.registry import find, option, register, require_packages
from scratchlab.representations.contract import Representation


@register("representation", "word_vectors", begins_with=("vectors",))
class AveragedWordVectors(Representation):
    """The mean of the vectors of a text's words, at length 1, so that products are cosines.

    ``init_from`` names vectors: a file or a run. Without it skip-gram learns them from the texts of
    ``fit``. Words without a vector are left out (a run of FastText makes one for unseen words, of
    queries too); a text of such words only is a row of 0.
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
    unseen_weight_: float  # of a word that is in no text of fit

    def begin_with(self, vectors: WordVectors) -> None:
        """Vectors that are there already."""
        self._given = vectors

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn the vectors, unless they are given, and in how many texts each word is."""
        words = [plain_words(text) for text in texts]
        given = self._given
        self.vectors_ = (
            self._learned(words)
            if given is None
            else given.with_words(word for text in words for word in text)
        )
        held = Counter(word for text in words for word in set(text))
        n = np.array([*(held.get(word, 0) for word in self.vectors_.words), 0])
        idf = np.log((len(words) + 1) / (n + 1)) + 1
        weights = (idf if self.idf else np.ones_like(idf)).astype(np.float32)
        self.weights_, self.unseen_weight_ = weights[:-1], float(weights[-1])
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
        vectors, words = self.vectors_, [plain_words(text) for text in texts]
        found = _sums(words, vectors.numbers, self.weights_, vectors.matrix)
        unseen = dict.fromkeys(w for text in words for w in text if w not in vectors.numbers)
        made = {word: v for word in unseen if (v := vectors.compose(word)) is not None}
        if made:
            numbers = {word: number for number, word in enumerate(made)}
            weights = np.full(len(made), self.unseen_weight_, dtype=np.float32)
            found += _sums(words, numbers, weights, np.stack(list(made.values())))
        return unit_length(found)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        width = self.vectors_.matrix.shape[1]
        return np.array([f"dimension {i}" for i in range(width)], dtype=object)

    def get_state(self) -> State:
        if not hasattr(self, "vectors_"):
            raise InputError("the representation is not fitted", "call fit first")
        state = {
            "words": text_to_array(self.vectors_.words),
            "vectors": self.vectors_.matrix,
            "weights": self.weights_,
        }
        ngrams = self.vectors_.compose
        if isinstance(ngrams, NGramRows):
            state |= {
                "ngram_buckets": ngrams.used,
                "ngram_rows": ngrams.rows,
                "ngram_sizes": np.array(ngrams.sizes),
                "unseen_weight": np.array(self.unseen_weight_),
            }
        return state

    def set_state(self, state: State) -> Self:
        words = text_from_array(state["words"])
        matrix = np.array(state["vectors"], dtype=np.float32)
        self.weights_ = np.array(state["weights"], dtype=np.float32)
        if matrix.ndim != 2 or len(matrix) != len(words) or self.weights_.shape != (len(words),):
            raise InputError(f"{len(words)} words have vectors of shape {matrix.shape}")
        self.vectors_ = WordVectors(words, matrix)
        if "ngram_rows" in state:
            self.vectors_.compose = _ngrams(state, matrix.shape[1])
            self.unseen_weight_ = float(state["unseen_weight"].item())
        return self


def _sums(
    words: Sequence[Sequence[str]],
    numbers: Mapping[str, int],
    weights: NDArray[np.float32],
    matrix: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Of each text the weighed sum of its words' rows [texts, dimensions]; words that have no
    number add nothing."""
    columns: list[int] = []
    bounds = [0]
    for text in words:
        columns += [numbers[word] for word in text if word in numbers]
        bounds.append(len(columns))
    places = np.array(columns, dtype=np.int64)
    shape = (len(words), len(matrix))
    return csr_array((weights[places], places, np.array(bounds)), shape=shape) @ matrix


def _ngrams(state: State, width: int) -> NGramRows:
    """FastText's n-grams of a state; InputError if they do not hold together."""
    used, rows = np.array(state["ngram_buckets"]), np.array(state["ngram_rows"])
    sizes = [int(size) for size in state["ngram_sizes"]]
    fits = len(sizes) == 3 and 0 < sizes[0] <= sizes[1] and (sizes[2] > 0 or not len(used))
    if not fits or used.ndim != 1 or rows.shape != (len(used), width):
        raise InputError(f"{used.shape} n-grams have rows of shape {rows.shape}, sizes {sizes}")
    return NGramRows(used.astype(np.int64), rows.astype(np.float32), *sizes)
