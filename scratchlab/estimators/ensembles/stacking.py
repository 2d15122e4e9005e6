"""Stacking (Wolpert 1992) from scratch: a level-1 estimator learns from the level-0 ones' guesses.

The rows are dealt into folds, stratified by class. Each level-0 estimator is trained on all folds
but one and predicts that one, so that every row has a prediction by a model that has not seen it;
from these out-of-fold predictions level 1 learns. Then level 0 is trained anew on all rows, and at
prediction level 1 sees what those say. With ``passthrough`` it also sees the features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
from scratchlab.estimators.protocol import InputError, State, learn_classes, seed_of
from scratchlab.estimators.scoring import Probabilistic
from scratchlab.estimators.state import (
    LabelledState,
    features_from_state,
    features_to_state,
)
from scratchlab.registry import option, register


def deal_folds(strata: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of each row: the rows of each stratum dealt out in turn, in random order.

    The dealing goes on where the last stratum ended, so that folds differ by one row at most.
    """
    if len(strata) < folds:
        raise InputError(
            f"n_samples={len(strata)} rows cannot be dealt into folds={folds}",
            f"lower folds to at most {len(strata)}, or use more rows",
        )
    order = rng.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    fold = np.empty(len(strata), dtype=np.int64)
    fold[order] = np.arange(len(strata)) % folds
    return fold


@dataclass(frozen=True)
class StackingConfig:
    """Options of stacking."""

    level0: dict[str, Any] | None = option(
        None,
        "estimators by label: {a: {name: NAME, OPTION: VALUE}, …}; "
        "null: linear model, MLP and forest",
        describes="estimator",
    )
    level1: dict[str, Any] | None = option(
        None, "the estimator that combines them; null: a linear model", describes="estimator"
    )
    folds: int = option(5, "folds of the out-of-fold predictions", min=2, max=1000)
    passthrough: bool = option(False, "level 1 also sees the features")
    random_state: int | None = option(0, "seed of the folds and the estimators", min=0)


class _Stacking(BaseEstimator, Configured, ABC):
    _task: ClassVar[str]
    _usual0: ClassVar[dict[str, Any]]
    _usual1: ClassVar[dict[str, Any]]
    level0: Any
    level1: Any
    folds: int
    passthrough: bool
    random_state: Any
    level0_: dict[str, Any]
    level1_: Any
    fold_of_row_: np.ndarray

    @abstractmethod
    def _columns(self, member: Any, X: np.ndarray) -> np.ndarray:
        """What a member says of each row, [rows, columns]."""

    def _stack(self, X: np.ndarray, y: np.ndarray, strata: np.ndarray) -> None:
        if self.folds < 2:
            raise InputError(f"folds={self.folds} must be at least 2")
        rng = np.random.default_rng(seed_of(self.random_state))
        self.fold_of_row_ = deal_folds(strata, self.folds, rng)
        seeds = {label: int(rng.integers(2**31)) for label in self._described()}
        columns = []
        for label in seeds:
            parts: list[tuple[np.ndarray, np.ndarray]] = []
            for fold in range(self.folds):
                out = self.fold_of_row_ == fold
                member = self._new_member(label, seeds[label]).fit(X[~out], y[~out])
                parts.append((out, self._columns(member, X[out])))
            said = np.empty((len(X), parts[0][1].shape[1]))
            for out, values in parts:
                said[out] = values
            columns.append(said)
        self.level0_ = {label: self._new_member(label, seeds[label]).fit(X, y) for label in seeds}
        features = np.hstack([*columns, X]) if self.passthrough else np.hstack(columns)
        self.level1_ = self._new_level1(int(rng.integers(2**31))).fit(features, y)

    def _described(self) -> Mapping[str, Any]:
        level0 = self._usual0 if self.level0 is None else self.level0
        if not isinstance(level0, Mapping) or not level0:
            raise InputError(
                f"level0={level0!r} must name at least one estimator",
                "write {LABEL: {name: NAME, OPTION: VALUE}, …}",
            )
        return level0

    def _new_member(self, label: str, seed: int) -> Any:
        return build_member(self._described()[label], f"level0.{label}", self._task, seed)

    def _new_level1(self, seed: int) -> Any:
        return build_member(self.level1 or self._usual1, "level1", self._task, seed)

    def meta_features(self, X: Any) -> np.ndarray:
        """What level 1 sees of the rows: the level-0 estimators' columns, then X if passed on."""
        check_is_fitted(self, "level1_")
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        columns = [self._columns(member, X) for member in self.level0_.values()]
        return np.hstack([*columns, X] if self.passthrough else columns)

    def predict(self, X: Any) -> np.ndarray:
        """What level 1 makes of the level-0 estimators' predictions, [rows]."""
        features = self.meta_features(X)
        return self.level1_.predict(features)

    def get_state(self) -> State:
        """The states of all estimators, which must be registered ones."""
        check_is_fitted(self, "level1_")
        labelled = {f"0.{label}": member for label, member in self.level0_.items()}
        return {
            **members_to_state({**labelled, "1": self.level1_}),
            "fold_of_row": self.fold_of_row_.copy(),
            **features_to_state(self),
        }

    def set_state(self, state: State) -> Self:
        """Take back what ``get_state`` gave; the levels must be described in the same way."""
        features_from_state(self, state)
        self.level0_ = {
            label: member_from_state(self._new_member(label, 0), f"0.{label}", state)
            for label in self._described()
        }
        self.level1_ = member_from_state(self._new_level1(0), "1", state)
        self.fold_of_row_ = np.array(state["fold_of_row"])
        return self


@register("estimator", "stacking", tasks=("classification",))
class StackingClassifier(ClassifierMixin, LabelledState, _Stacking):
    """Stacking for classification, from scratch, over any registered estimators.

    A level-0 estimator says the probabilities of all classes (of the second one, where there are
    two), or its vote as zeros and a one where it gives no probabilities.
    """

    @dataclass(frozen=True)
    class Config(StackingConfig):
        """The options of stacking."""

    _task = "classification"
    _usual0: ClassVar[dict[str, Any]] = {
        "logistic": {"name": "logistic"},
        "mlp": {"name": "mlp", "hidden": [32], "epochs": 50},
        "forest": {"name": "random_forest", "n_estimators": 50},
    }
    _usual1: ClassVar[dict[str, Any]] = {
        "name": "logistic",
        "epochs": 1000,
        "l2": 0.001,
    }

    def fit(self, X: Any, y: Any) -> Self:
        """Train both levels on X [rows, features] and class labels y [rows]."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        numbers = learn_classes(self, y)
        self._stack(X, y, numbers)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of level 1, [rows, classes]."""
        features = self.meta_features(X)
        return class_shares(self.level1_, features, self.classes_, soft=True)

    def _columns(self, member: Any, X: np.ndarray) -> np.ndarray:
        shares = class_shares(member, X, self.classes_, soft=isinstance(member, Probabilistic))
        return shares[:, 1:] if len(self.classes_) == 2 else shares


@register("estimator", "stacking_regressor", tasks=("regression",))
class StackingRegressor(RegressorMixin, _Stacking):
    """Stacking for regression, from scratch, over any registered estimators."""

    @dataclass(frozen=True)
    class Config(StackingConfig):
        """The options of stacking."""

    _task = "regression"
    _usual0: ClassVar[dict[str, Any]] = {
        "linear": {"name": "linear", "l2": 0.001},
        "mlp": {"name": "mlp_regressor", "hidden": [32], "epochs": 50},
        "forest": {"name": "random_forest_regressor", "n_estimators": 50},
    }
    _usual1: ClassVar[dict[str, Any]] = {"name": "linear", "l2": 0.0001}

    def fit(self, X: Any, y: Any) -> Self:
        """Train both levels on X [rows, features] and numbers y [rows]."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), y_numeric=True)
        self._stack(X, y, np.zeros(len(y)))
        return self

    def _columns(self, member: Any, X: np.ndarray) -> np.ndarray:
        return np.asarray(member.predict(X)).reshape(len(X), 1)
