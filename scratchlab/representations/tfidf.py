"""TF-IDF: a term weighs the more, the fewer texts it is in (Spärck Jones 1972; Salton 1971)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array

from scratchlab.estimators.protocol import State, check_choice
from scratchlab.registry import option, register
from scratchlab.representations.terms import TermOptions, Terms, in_texts

NORMS = ("l1", "l2")


@register("representation", "tfidf")
class TfIdf(Terms):
    """Counts times idf(t) = ln((N + 1) / (n + 1)) + 1, each text of length 1.

    N texts, n of them with the term t; without ``smooth_idf`` it is ln(N / n) + 1: scikit-learn's
    ``TfidfVectorizer``.
    """

    @dataclass(frozen=True)
    class Config(TermOptions):
        binary: bool = option(False, "a term counts once, however often it is there")
        use_idf: bool = option(True, "whether rarer terms weigh more")
        smooth_idf: bool = option(
            True, "as if one more text held every term", when={"use_idf": True}
        )
        sublinear_tf: bool = option(False, "1 + ln(count) in place of the count")
        norm: str | None = option(
            "l2", "length of a text's row that is made 1; null: left as it is", choices=("l1", "l2")
        )

    binary: bool
    use_idf: bool
    smooth_idf: bool
    sublinear_tf: bool
    norm: str | None
    idf_: np.ndarray  # [terms]

    def check_options(self) -> None:
        super().check_options()
        if self.norm is not None:
            check_choice("norm", self.norm, NORMS)

    def learn(self, counts: csr_array, y: Any) -> None:
        more = int(self.smooth_idf)
        self.idf_ = np.log((counts.shape[0] + more) / (in_texts(counts) + more)) + 1

    def weighted(self, counts: csr_array) -> csr_array:
        weights = np.ones(counts.nnz) if self.binary else counts.data.astype(np.float64)
        if self.sublinear_tf:
            weights = np.log(weights) + 1
        if self.use_idf:
            weights *= self.idf_[counts.indices]
        found = csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)
        return found if self.norm is None else _of_length_one(found, self.norm)

    def get_state(self) -> State:
        return {**super().get_state(), "idf": self.idf_}

    def set_state(self, state: State) -> Self:
        super().set_state(state)
        self.idf_ = self.per_term(state, "idf")
        return self


def _of_length_one(X: csr_array, norm: str) -> csr_array:
    """Each row divided by its length; one without any term stays zero."""
    squares = X.data if norm == "l1" else X.data**2  # no weight is negative
    sums = np.add.reduceat(np.append(squares, 0.0), X.indptr[:-1]) if X.shape[0] else squares
    entries = np.diff(X.indptr)
    lengths = np.where(entries > 0, sums, 1.0)
    X.data /= np.repeat(lengths if norm == "l1" else np.sqrt(lengths), entries)
    return X
