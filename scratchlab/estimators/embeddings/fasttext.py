"""FastText: the vector of a word is the mean of its own row and those of its n-grams.

(Bojanowski et al. 2017.) Words that share a part share rows, and a word that was never seen has a
vector too: the mean of those of its n-grams that some word of the vocabulary has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.estimators.embeddings.ngrams import NGramRows, rows_of_words
from scratchlab.estimators.embeddings.sampled import SampledEstimator, SampledOptions
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.registry import option, register


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
        lengths = np.diff(self._places.starts)[:, None]
        matrix = (self._sums() / lengths).astype(np.float32)
        return WordVectors(self.words_.words, matrix, self._ngrams(self.inputs_[len(matrix) :]))

    def _ngrams(self, rows: NDArray[np.float32]) -> NGramRows:
        return NGramRows(self._used, rows, self.min_n, self.max_n, self.buckets)

    def _shared_rows(self) -> NDArray[np.float32]:
        """Those of the n-grams that another FastText of the same n-grams has learned."""
        found = super()._shared_rows()
        given = self._given.compose if self._given is not None else None
        if isinstance(given, NGramRows) and given.sizes == self._ngrams(found).sizes:
            _, here, there = np.intersect1d(self._used, given.used, return_indices=True)
            found[here] = given.rows[there]
        return found
