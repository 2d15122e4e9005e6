"""Terms weighed by how much they speak for a class: naive Bayes' log-count ratios as features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array, hstack

from scratchlab.estimators.protocol import InputError, State, check_two_classes
from scratchlab.registry import option, register
from scratchlab.representations.terms import TermOptions, Terms


@register("representation", "nb_ratio")
class NaiveBayesRatio(Terms):
    """r(t) = ln((p / ‖p‖₁) / (q / ‖q‖₁)) for each term of the text (Wang & Manning 2012).

    p = α + how often t is in texts of the class, q = α + how often in the others. A linear model on
    these is the paper's NB-SVM (with ``model=logistic``, its logistic sister). For more than two
    classes each has columns of its own, that class against the rest.
    """

    @dataclass(frozen=True)
    class Config(TermOptions):
        alpha: float = option(1.0, "what is added to each term's counts", above=0)
        binary: bool = option(True, "a term counts once in a text, however often it is there")

    alpha: float
    binary: bool
    ratios_: np.ndarray  # [classes, or 1 of two, terms]

    def learn(self, counts: csr_array, y: Any) -> None:
        if y is None:
            raise InputError("nb_ratio learns from texts with classes, and none are given")
        classes, numbers = np.unique(np.asarray(y), return_inverse=True)
        check_two_classes(classes, self)
        counts = self._seen(counts.copy())
        of_class = np.stack([
            np.asarray(counts[numbers == number].sum(axis=0)) for number in range(len(classes))
        ]).astype(np.float64)  # fmt: skip
        if len(classes) == 2:
            p, q = of_class[1:], of_class[:1]
        else:
            p, q = of_class, of_class.sum(axis=0) - of_class
        p, q = p + self.alpha, q + self.alpha
        self.ratios_ = np.log(p / p.sum(1, keepdims=True)) - np.log(q / q.sum(1, keepdims=True))

    def _seen(self, counts: csr_array) -> csr_array:
        if self.binary:
            counts.data = np.ones_like(counts.data)
        return counts

    def weighted(self, counts: csr_array) -> csr_array:
        seen = self._seen(counts)
        blocks = [
            csr_array((seen.data * r[seen.indices], seen.indices, seen.indptr), shape=seen.shape)
            for r in self.ratios_
        ]
        return blocks[0] if len(blocks) == 1 else hstack(blocks, format="csr")

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The terms; with more than two classes, those of each class with its number."""
        terms = super().get_feature_names_out()
        if len(self.ratios_) == 1:
            return terms
        named = [f"{term} (class {k})" for k in range(len(self.ratios_)) for term in terms]
        return np.array(named, dtype=object)

    def get_state(self) -> State:
        return {**super().get_state(), "ratios": self.ratios_}

    def set_state(self, state: State) -> Self:
        super().set_state(state)
        self.ratios_ = self.per_term(state, "ratios")
        if self.ratios_.ndim != 2 or not len(self.ratios_):
            raise InputError("ratios is no matrix")
        return self
