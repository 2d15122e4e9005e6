"""Bagging (Breiman 1996) from scratch: the same estimator on many samples of the rows.

Each member learns from ``max_samples`` of the rows, drawn with replacement (``bootstrap``) or
without. Classes are decided by the mean probability (soft vote) or by the majority (hard vote),
numbers by the mean. The seeds of all draws and members come from ``random_state`` before any member
is trained, so that the result does not depend on ``n_jobs``.
"""

from __future__ import annotations

import os
from abc import ABC
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from scratchlab.estimators.configured import Configured
from scratchlab.estimators.ensembles.members import (
    build_member,
    class_shares,
    member_from_state,
    members_to_state,
)
from scratchlab.estimators.protocol import (
    InputError,
    State,
    check_choice,
    learn_classes,
    seed_of,
)
from scratchlab.estimators.scoring import Probabilistic
from scratchlab.estimators.state import (
    LabelledState,
    features_from_state,
    features_to_state,
)
from scratchlab.registry import option, register

_DRAWS = 50  # attempts to draw rows of more than one class


@dataclass(frozen=True)
class BaggingConfig:
    """Options of bagging for any task."""

    base: dict[str, Any] | None = option(
        None,
        "the estimator: {name: NAME, OPTION: VALUE, …}; null: a decision tree",
        describes="estimator",
    )
    n_estimators: int = option(10, "number of members", min=1, max=100_000)
    max_samples: float = option(1.0, "rows that each member sees, part of all", above=0, max=1)
    bootstrap: bool = option(True, "draw rows with replacement")
    n_jobs: int = option(1, "threads that train members; -1: one a core", min=-1, max=1024)
    random_state: int | None = option(0, "seed of the draws and the members", min=0)


class _Bagging(BaseEstimator, Configured, ABC):
    _task: ClassVar[str]
    _usual: ClassVar[dict[str, str]]
    base: Any
    n_estimators: int
    max_samples: float
    bootstrap: bool
    n_jobs: int
    random_state: Any
    members_: list[Any]

    def _fit_members(self, X: np.ndarray, y: np.ndarray) -> None:
        if self.n_estimators < 1 or not 0 < self.max_samples <= 1:
            raise InputError(
                f"n_estimators={self.n_estimators} must be at least 1 and "
                f"max_samples={self.max_samples} above 0 and at most 1"
            )
        rng = np.random.default_rng(seed_of(self.random_state))
        draws = [self._draw(rng, y) for _ in range(self.n_estimators)]
        members = [self._new_member(int(rng.integers(2**31))) for _ in draws]
        threads = self.n_jobs if self.n_jobs > 0 else os.cpu_count()
        with ThreadPoolExecutor(threads) as pool:
            fits = [
                pool.submit(member.fit, X[rows], y[rows])
                for member, rows in zip(members, draws, strict=True)
            ]
            self.members_ = [fit.result() for fit in fits]

    def _draw(self, rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
        """Row numbers for one member; drawn again where they hold one class only."""
        size = max(1, round(self.max_samples * len(y)))
        for _ in range(_DRAWS):
            rows = rng.choice(len(y), size, replace=self.bootstrap)
            if self._task != "classification" or (y[rows] != y[rows[0]]).any():
                return rows
        raise InputError(
            f"{_DRAWS} draws of {size} rows held one class only",
            "raise max_samples, or use more balanced data",
        )

    def _new_member(self, seed: int) -> Any:
        return build_member(self.base or self._usual, "base", self._task, seed)

    def _checked(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "members_")
        return validate_data(self, X, dtype=(np.float64, np.float32), reset=False)

    def get_state(self) -> State:
        """The states of all members, which must be registered estimators."""
        check_is_fitted(self, "members_")
        labelled = {str(number): member for number, member in enumerate(self.members_)}
        return {
            "n_members": np.array(len(self.members_)),
            **members_to_state(labelled),
            **features_to_state(self),
        }

    def set_state(self, state: State) -> Self:
        """Take back what ``get_state`` gave; ``base`` must be the same."""
        features_from_state(self, state)
        self.members_ = [
            member_from_state(self._new_member(0), str(number), state)
            for number in range(state["n_members"].item())
        ]
        return self


@register("estimator", "bagging", tasks=("classification",), offers=("members",))
class BaggingClassifier(ClassifierMixin, LabelledState, _Bagging):
    """Bagging for classification, from scratch, over any registered estimator."""

    @dataclass(frozen=True)
    class Config(BaggingConfig):
        """The options of bagging and the way of voting."""

        vote: str = option("soft", "mean probability or majority", choices=("soft", "hard"))

    _task = "classification"
    _usual: ClassVar[dict[str, str]] = {"name": "decision_tree"}
    vote: str

    def fit(self, X: Any, y: Any) -> Self:
        """Train all members on X [rows, features] and class labels y [rows]."""
        check_choice("vote", self.vote, ("soft", "hard"))
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        learn_classes(self, y)
        if self.vote == "soft" and not isinstance(self._new_member(0), Probabilistic):
            raise InputError(
                f"vote='soft' needs probabilities, and {self.base!r} gives none",
                "use vote='hard'",
            )
        self._fit_members(X, y)
        return self

    def votes(self, X: Any) -> np.ndarray:
        """Number of members for each class [rows, classes]."""
        X = self._checked(X)
        shares = [class_shares(m, X, self.classes_, soft=False) for m in self.members_]
        return np.sum(shares, axis=0).astype(np.int64)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Mean probabilities (soft) or shares of the votes (hard), [rows, classes]."""
        X = self._checked(X)
        total = np.zeros((len(X), len(self.classes_)))
        for member in self.members_:
            total += class_shares(member, X, self.classes_, soft=self.vote == "soft")
        return total / len(self.members_)

    def predict(self, X: Any) -> np.ndarray:
        """The class with the greatest share; of equal ones the first in ``classes_``."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(axis=1)]


@register("estimator", "bagging_regressor", tasks=("regression",), offers=("members",))
class BaggingRegressor(RegressorMixin, _Bagging):
    """Bagging for regression, from scratch, over any registered estimator."""

    @dataclass(frozen=True)
    class Config(BaggingConfig):
        """The options of bagging."""

    _task = "regression"
    _usual: ClassVar[dict[str, str]] = {"name": "decision_tree_regressor"}

    def fit(self, X: Any, y: Any) -> Self:
        """Train all members on X [rows, features] and numbers y [rows]."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), y_numeric=True)
        self._fit_members(X, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Mean of the members' predictions, [rows]."""
        X = self._checked(X)
        total = np.zeros(len(X))
        for member in self.members_:
            total += member.predict(X)
        return total / len(self.members_)
