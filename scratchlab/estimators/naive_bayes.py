"""Multinomial naive Bayes: the counts of a class's rows as the odds of drawing each feature.

With N(c, j) the sum of feature j over the rows of class c,

    log P(j given c) = ln(N(c, j) + α) - ln(Σ_j N(c, j) + α · features),
    log P(c given x) = ln P(c) + Σ_j x_j · log P(j given c) + a constant of the row,

P(c) being the class's share of the rows (McCallum & Nigam 1998; α = 1 is Laplace's rule).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from scratchlab.estimators.configured import Configured
from scratchlab.estimators.protocol import InputError, State, learn_classes
from scratchlab.estimators.state import (
    LabelledState,
    features_from_state,
    features_to_state,
)
from scratchlab.registry import option, register


class _Counted(BaseEstimator, Configured):
    """The state without the labels."""

    log_shares_: np.ndarray  # [classes]: ln P(c)
    log_odds_: np.ndarray  # [classes, features]: ln P(j given c)

    def get_state(self) -> State:
        check_is_fitted(self, "log_odds_")
        return {
            "log_shares": self.log_shares_,
            "log_odds": self.log_odds_,
            **features_to_state(self),
        }

    def set_state(self, state: State) -> Self:
        features_from_state(self, state)
        self.log_shares_ = np.asarray(state["log_shares"])
        self.log_odds_ = np.asarray(state["log_odds"])
        if self.log_odds_.shape != (len(self.log_shares_), self.n_features_in_):
            raise InputError(f"log_odds is {self.log_odds_.shape}")
        return self


@register("estimator", "naive_bayes", tasks=("classification",), sparse=True)
class NaiveBayes(LabelledState, ClassifierMixin, _Counted):
    """Multinomial naive Bayes, from scratch: for counts, or whatever else is never negative."""

    @dataclass(frozen=True)
    class Config:
        alpha: float = option(1.0, "what is added to the count of each feature", above=0)
        fit_prior: bool = option(
            True, "classes are as likely as in training; false: all are alike likely"
        )

    alpha: float
    fit_prior: bool

    def fit(self, X: Any, y: Any) -> Self:
        """Count; X [rows, features], nothing of it negative, may be sparse."""
        if not self.alpha > 0:
            raise InputError(f"alpha={self.alpha} must be above 0")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        try:
            check_non_negative(X, type(self).__name__)
        except ValueError as error:
            hint = "Give counts: dataset.scale=none (or minmax), representation=bag_of_words."
            raise InputError(str(error), hint) from error
        numbers = learn_classes(self, y)
        rows = np.bincount(numbers)
        of_class = (np.arange(len(rows))[:, None] == numbers).astype(np.float64)
        counts = of_class @ X + self.alpha  # [classes, features]
        shares = rows / len(y) if self.fit_prior else np.full(len(rows), 1 / len(rows))
        self.log_shares_ = np.log(shares)
        self.log_odds_ = np.log(counts) - np.log(counts.sum(axis=1, keepdims=True))
        return self

    def _joint(self, X: Any) -> np.ndarray:
        """ln P(c, x) [rows, classes], but for a constant of each row."""
        check_is_fitted(self, "log_odds_")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return X @ self.log_odds_.T + self.log_shares_

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [rows, classes], in the order of ``classes_``."""
        joint = self._joint(X)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        joint = self._joint(X)
        return self.classes_[joint.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.classifier_tags.poor_score = True  # on what are no counts
        return tags
