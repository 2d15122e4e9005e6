"""Okapi BM25 (Robertson & Walker 1994; Robertson & Zaragoza 2009): counts that saturate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array

from scratchlab.estimators.protocol import InputError, State
from scratchlab.registry import option, register
from scratchlab.representations.terms import TermOptions, Terms, in_texts


@register("representation", "bm25")
class BM25(Terms):
    """Weight of the term t in a document: idf(t) · f (k1 + 1) / (f + k1 (1 - b + b · l / m)).

    f is how often t is in the document, l the terms of the document, m their mean over the
    documents of ``fit``; idf(t) = ln(1 + (N - n + ½) / (n + ½)) with n of N documents holding t. A
    question is its counts, so the score of a document is the dot product of the two rows.
    """

    @dataclass(frozen=True)
    class Config(TermOptions):
        k1: float = option(
            1.2, "how slowly further occurrences of a term add less; 0: they add nothing", min=0
        )
        b: float = option(
            0.75, "how much long documents are held back; 0: not at all", min=0, max=1
        )

    k1: float
    b: float
    idf_: np.ndarray  # [terms]
    mean_length_: float

    def check_options(self) -> None:
        super().check_options()
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise InputError(f"k1={self.k1} must be at least 0, and b={self.b} between 0 and 1")

    def learn(self, counts: csr_array, y: Any) -> None:
        n = in_texts(counts)
        self.idf_ = np.log1p((counts.shape[0] - n + 0.5) / (n + 0.5))
        self.mean_length_ = float(counts.sum()) / counts.shape[0]

    def weighted(self, counts: csr_array) -> csr_array:
        lengths = np.asarray(counts.sum(axis=1))  # [texts]
        held_back = 1 - self.b + self.b * lengths / self.mean_length_
        f = counts.data.astype(np.float64)
        saturated = f * (self.k1 + 1) / (f + self.k1 * np.repeat(held_back, np.diff(counts.indptr)))
        weights = self.idf_[counts.indices] * saturated
        return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)

    def transform_queries(self, texts: Sequence[str]) -> csr_array:
        """How often each term is asked for [texts, terms]."""
        return self.counts(texts)

    def get_state(self) -> State:
        own = {"idf": self.idf_, "mean_length": np.array(self.mean_length_)}
        return {**super().get_state(), **own}

    def set_state(self, state: State) -> Self:
        super().set_state(state)
        self.idf_ = self.per_term(state, "idf")
        self.mean_length_ = float(state["mean_length"].item())
        if not 0 < self.mean_length_ < np.inf:
            raise InputError(f"mean_length is {self.mean_length_}")
        return self
