"""What all word vectors share: options, vocabulary, epochs and parts of them, a state of arrays."""

from __future__ import annotations

import dataclasses
import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.schema import limit_problem
from scratchlab.data.contract import Dataset, Examples
from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.text import Text
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.estimators.embeddings.vocabulary import Words
from scratchlab.estimators.protocol import InputError, IterativeEstimator, State
from scratchlab.estimators.state import text_from_array, text_to_array
from scratchlab.registry import Option, option


@dataclass(frozen=True)
class WordOptions:
    """Of every kind of word vectors."""

    vector_size: int = option(100, "dimensions of a vector", min=1, max=100_000)
    window: int = option(5, "words to either side that count as context", min=1, max=1000)
    min_count: int = option(5, "rarer words are left out of the text", min=1)
    punctuation: bool = option(False, "tokens without a letter or digit are words too")
    epochs: int = option(5, "passes over the text", min=0)
    threads: int | None = option(
        None,
        "threads that learn side by side without locks, which gives other bits each time; null: 1 "
        "if the run is deterministic, else all cores",
        min=1,
        max=1024,
    )
    random_state: int | None = option(None, "seed; null: the run's", min=0)


class WordEstimator(IterativeEstimator):
    """An estimator whose rows are words: it learns from a :class:`~.text.Text` and has vectors.

    After ``start``: ``words_`` (a :class:`~.vocabulary.Words`). Words of the vectors that a
    training begins with (:meth:`begin_with`) and that its text lacks keep the vectors they have.
    """

    remedy = "Lower model.learning_rate."
    vector_size: int
    window: int
    min_count: int
    punctuation: bool
    threads: int | None
    words_: Words
    _given: WordVectors | None = None

    # --- what a subclass provides -----------------------------------------------------------

    @abstractmethod
    def _initialise(self, rng: np.random.Generator) -> None:
        """Set the parameters for ``words_``, those of ``_given`` among them."""

    @abstractmethod
    def vectors(self) -> WordVectors:
        """The vectors that were learned."""

    # --- the protocol -----------------------------------------------------------------------

    def examples(self, dataset: Dataset, split: str) -> Examples:
        return Examples((Text.of(dataset, split), None))

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from a :class:`~.text.Text`, or from lists of words (``y`` is not used)."""
        return super().fit(_text(X), None)

    def begin_with(self, vectors: WordVectors) -> None:
        """Vectors that words begin with instead of with random ones."""
        if vectors.matrix.shape[1] != self.vector_size:
            raise UserError(
                f"the vectors have {vectors.matrix.shape[1]} dimensions, the model "
                f"{self.vector_size}",
                f"Set model.vector_size={vectors.matrix.shape[1]}.",
            )
        self._given = vectors

    def start(self, X: Any, y: Any = None, seed: int | None = None) -> Self:
        self._check_options()
        text = _text(X)
        found = Words.of(text, self.min_count, self.punctuation)
        if self._given is not None:
            self._given = self._given.with_words(found.words)
            known = set(found.words)
            more = [word for word in self._given.words if word not in known]
            counts = np.concatenate([found.counts, np.zeros(len(more), dtype=np.int64)])
            found = Words([*found.words, *more], counts)
        self.words_ = found
        self.n_epochs_, self.finished_, self.history_ = 0, self.planned_epochs <= 0, []
        self._initialise(np.random.default_rng(self._seed(seed)))
        self._given = None
        return self

    def get_state(self) -> State:
        if not hasattr(self, "words_"):
            raise InputError(f"the {type(self).__name__} is not trained", "call fit first")
        return {
            "words": text_to_array(self.words_.words),
            "counts": self.words_.counts,
            "n_epochs": np.array(self.n_epochs_),
            "finished": np.array(int(self.finished_)),
        }

    def set_state(self, state: State) -> Self:
        self._check_options()
        self.words_ = Words(text_from_array(state["words"]), np.array(state["counts"]))
        self.n_epochs_, self.finished_ = state["n_epochs"].item(), bool(state["finished"].item())
        self.history_ = []
        if len(self.words_.counts) != len(self.words_):
            raise InputError(f"{len(self.words_)} words have {len(self.words_.counts)} counts")
        return self

    def _check_options(self) -> None:
        for field in dataclasses.fields(type(self).Config):
            limits = {k: v for k, v in field.metadata.items() if k != "meaning"}
            declared = Option(field.name, str(field.type), field.default, "", limits)
            problem = limit_problem(getattr(self, field.name), declared)
            if problem:
                raise InputError(f"{field.name}: {problem}")

    def _rows_of(self, words: Sequence[str]) -> list[int]:
        """The numbers of words of the vocabulary."""
        numbers = {word: number for number, word in enumerate(self.words_.words)}
        return [numbers[word] for word in words]

    @property
    def _threads(self) -> int:
        return self.threads or os.cpu_count() or 1


def with_width(matrix: NDArray[Any], rows: int, width: int, name: str) -> NDArray[np.float32]:
    """A saved matrix [rows, width]; InputError if it has another shape."""
    if matrix.shape != (rows, width):
        raise InputError(f"{name} is {matrix.shape}, not {(rows, width)}")
    return np.array(matrix, dtype=np.float32)


def _text(X: Any) -> Text:
    return X if isinstance(X, Text) else Text.from_sentences(X)
