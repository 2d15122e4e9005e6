"""Training by negative sampling: blocks of text, learning rate, threads, validation."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scratchlab.estimators.embeddings.base import WordEstimator, WordOptions, with_width
from scratchlab.estimators.embeddings.negative_sampling import Places
from scratchlab.estimators.embeddings.text import Text
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.estimators.protocol import State
from scratchlab.registry import option

BLOCK = 1 << 18  # words that a thread learns from at once
AT_ONCE = 10_000  # words whose rows are added up
LOWEST = 1e-4  # part of the learning rate that is left at the end
EVALUATION_SEED = 20240229


@dataclass(frozen=True)
class SampledOptions(WordOptions):
    """Of training by negative sampling."""

    learning_rate: float = option(0.05, "at the start; it falls evenly to nothing", above=0)
    negatives: int = option(10, "noise words drawn for each place of the text", min=1, max=1000)
    sample: float = option(
        0.001, "words more frequent than this share of the text are thinned out; 0: none", min=0
    )
    parts: int = option(
        1, "parts of an epoch, each logged, validated and saved like an epoch", min=1
    )


class SampledEstimator(WordEstimator):
    """``inputs_`` [rows, vector_size] hold the vectors, ``outputs_`` [words, vector_size] predict.

    The same text, seed and options give the same bits with one thread. Speed is told in words of
    the text, those included that are left out or thinned out (raw words).
    """

    learning_rate: float
    negatives: int
    sample: float
    parts: int
    inputs_: NDArray[np.float32]
    outputs_: NDArray[np.float32]
    from_word: bool
    _random: NDArray[np.uint64]

    @property
    def planned_epochs(self) -> int:
        return self.epochs * self.parts

    @property
    def steps_per_epoch(self) -> int:
        return self.parts

    # --- rows -------------------------------------------------------------------------------

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The rows of each word, one after the other, and where each word's begin [words + 1]."""
        n = len(self.words_)
        return np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int32)

    def _initialise(self, rng: np.random.Generator) -> None:
        self._prepare()
        n_rows, d = int(self._places.rows.max()) + 1, self.vector_size
        self.inputs_ = ((rng.random((n_rows, d), dtype=np.float32) - 0.5) / d).astype(np.float32)
        self.outputs_ = np.zeros((len(self.words_), d), dtype=np.float32)
        self._random = _seeds(rng)
        if self._given is not None:  # the means of words' rows are what is given
            n = len(self.words_)
            self.inputs_[self._rows_of(self._given.words)] = self._given.matrix
            sums = self.inputs_[:n] * np.diff(self._places.starts)[:, None]
            self.inputs_[:n], self.inputs_[n:] = 0, self._shared_rows()
            self.inputs_[:n] = sums - self._sums()

    def _shared_rows(self) -> NDArray[np.float32]:
        """What rows that belong to several words begin with where vectors are given."""
        return np.zeros((len(self.inputs_) - len(self.words_), self.vector_size), dtype=np.float32)

    def _sums(self) -> NDArray[np.float32]:
        """The sum of each word's rows [words, vector_size]."""
        starts, rows = self._places.starts, self._places.rows
        found = np.empty((len(self.words_), self.vector_size), dtype=np.float32)
        for a in range(0, len(found), AT_ONCE):
            b = min(a + AT_ONCE, len(found))
            of_block = self.inputs_[rows[starts[a] : starts[b]]]
            found[a:b] = np.add.reduceat(of_block, starts[a:b] - starts[a])
        return found

    def _prepare(self) -> None:
        """What follows from the vocabulary and the options."""
        starts, rows = self._rows()
        share, other = self.words_.noise()
        self._places = Places(
            self.words_.keep(self.sample),
            share,
            other,
            starts,
            rows,
            self.window,
            self.negatives,
            self.from_word,
        )

    # --- training ---------------------------------------------------------------------------

    def epoch(self, X: Any, y: Any = None) -> dict[str, float]:
        text: Text = X
        total, part = len(text), self.n_epochs_ % self.parts
        done = self.n_epochs_ // self.parts * total  # ids of the epochs before
        first, last = total * part // self.parts, total * (part + 1) // self.parts
        loss, measured = self._pass(
            text, first, last, self._random, lambda at: self._rate((done + at) / total)
        )
        self.n_epochs_ += 1
        self.finished_ = self.n_epochs_ >= self.planned_epochs
        loss = loss / max(1, measured)
        self._check_loss(loss if np.isfinite(self.outputs_).all() else math.nan)
        return {"loss": loss}

    def _rate(self, epochs: float) -> float:
        return self.learning_rate * max(LOWEST, 1 - epochs / max(1, self.epochs))

    def evaluate(self, X: Any, y: Any = None) -> dict[str, float]:
        """Mean loss of a place, in nats; the same windows and noise at every call."""
        text: Text = X
        random = _seeds(np.random.default_rng(EVALUATION_SEED))
        loss, measured = self._pass(text, 0, len(text), random, None)
        return {"loss": loss / max(1, measured)}

    def _pass(
        self, text: Text, first: int, last: int, random: NDArray[np.uint64], rate: Any
    ) -> tuple[float, int]:
        """Ids ``first`` to ``last``: learned from, or (``rate`` None) only measured."""
        from scratchlab.estimators.embeddings.compiled import learn  # numba: seconds

        table = self.words_.table(text)
        threads = self._threads
        total, measured = 0.0, 0
        with ThreadPoolExecutor(threads) as pool:
            for begin, ids in text.blocks(first, last, BLOCK * threads):
                words = table[ids]
                ends = np.linspace(0, len(words), threads + 1).astype(int)
                first_rate, last_rate = 0.0, 0.0
                if rate is not None:
                    first_rate, last_rate = rate(begin), rate(begin + len(words))
                shares = [
                    pool.submit(
                        learn,
                        words[ends[i] : ends[i + 1]],
                        self.inputs_,
                        self.outputs_,
                        self._places,
                        first_rate,
                        last_rate,
                        random[i : i + 1],
                        rate is not None,
                    )
                    for i in range(threads)
                ]
                for share in shares:
                    loss, count = share.result()
                    total, measured = total + loss, measured + count
        return total, measured

    # --- state ------------------------------------------------------------------------------

    def vectors(self) -> WordVectors:
        n = len(self.words_)
        return WordVectors(self.words_.words, self.inputs_[:n])

    def get_state(self) -> State:
        return super().get_state() | {
            "inputs": self.inputs_,
            "outputs": self.outputs_,
            "random": self._random,
        }

    def set_state(self, state: State) -> Self:
        super().set_state(state)
        self._prepare()
        n_rows = int(self._places.rows.max()) + 1
        self.inputs_ = with_width(state["inputs"], n_rows, self.vector_size, "inputs")
        self.outputs_ = with_width(state["outputs"], len(self.words_), self.vector_size, "outputs")
        self._random = np.array(state["random"], dtype=np.uint64)
        return self


def _seeds(rng: np.random.Generator) -> NDArray[np.uint64]:
    """States of generators, one for each thread that there may be; none is 0."""
    return rng.integers(1, 2**63, size=1024, dtype=np.uint64)
