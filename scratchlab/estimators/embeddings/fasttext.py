"""FastText: the vector of a word is the mean of its own row and those of its n-grams.

(Bojanowski et al. 2017.) Words that share a part share rows, and a word that was never seen has a
vector too: the mean of those of its n-grams that some word of the vocabulary has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.estimators.embeddings.ngrams import ngram_hashes, rows_of_words
from scratchlab.estimators.embeddings.sampled import SampledEstimator, SampledOptions
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.registry import option, register

AT_ONCE = 10_000  # words


@register(
    "estimator",
    "fasttext",
    tasks=("word_vectors",),
    needs=("numba",),
    extra="embeddings",
    loss="nats per place",
    exports=("word2vec", "word2vec_binary"),
    begins_with=("vectors",),
    outputs="word_arithmetic",
)
class FastText(SampledEstimator):
    """Skip-gram or CBOW over character n-grams, with vectors for words that were never seen."""

    @dataclass(frozen=True)
    class Config(SampledOptions):
        """Options of FastText."""

        learning_rate: float = option(0.2, "at the start; it falls evenly to nothing", above=0)
        architecture: str = option("skipgram", "what predicts what", choices=("skipgram", "cbow"))
        min_n: int = option(3, "characters of the shortest n-gram", min=1, max=100)
        max_n: int = option(6, "characters of the longest n-gram", min=1, max=100)
        buckets: int = option(2_000_000, "what n-grams are hashed into; 0: words only", min=0)
        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("min_n <= max_n", "min_n must not be more than max_n"),
        )

    architecture: str
    min_n: int
    max_n: int
    buckets: int

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        self.from_word = self.architecture == "skipgram"
        words = self.words_.words
        starts, rows, self._used = rows_of_words(words, self.min_n, self.max_n, self.buckets)
        return starts, rows

    def vectors(self) -> WordVectors:
        starts, rows = self._places.starts, self._places.rows
        matrix = np.empty((len(self.words_), self.vector_size), dtype=np.float32)
        for a in range(0, len(matrix), AT_ONCE):
            b = min(a + AT_ONCE, len(matrix))
            first = starts[a]
            sums = np.add.reduceat(self.inputs_[rows[first : starts[b]]], starts[a:b] - first)
            matrix[a:b] = sums / np.diff(starts[a : b + 1])[:, None]
        return WordVectors(self.words_.words, matrix, self.compose)

    def compose(self, word: str) -> NDArray[np.float32] | None:
        """The vector of a word from its n-grams alone; None if none of them was ever seen."""
        hashes = ngram_hashes(word, self.min_n, self.max_n) if self.buckets else []
        buckets = np.array([h % self.buckets for h in hashes], dtype=np.int64)
        places = np.searchsorted(self._used, buckets)
        places[places == len(self._used)] = 0
        places = places[self._used[places] == buckets] if len(self._used) else places[:0]
        if not len(places):
            return None
        return self.inputs_[len(self.words_) + places].mean(axis=0)
