"""Decision tree, random forest and boosted trees: grown by scikit-learn, kept as arrays.

scikit-learn does the growing; what it has grown is taken over into
:class:`~.tree_arrays.TreeArrays`, which predict and are saved without pickle.
``feature_importances_`` is the impurity decrease (tree, forest: scikit-learn's) or the summed gain
of the splits (boosting), shares of 1. Missing values (NaN) are allowed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import ensemble, tree
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from scratchlab.estimators.configured import Configured
from scratchlab.estimators.ensembles.tree_arrays import TreeArrays, from_boosting, from_forest
from scratchlab.estimators.losses import sigmoid, softmax
from scratchlab.estimators.protocol import State, learn_classes, seed_of
from scratchlab.estimators.state import (
    LabelledState,
    below_prefix,
    features_from_state,
    features_to_state,
    with_prefix,
)
from scratchlab.registry import option, register


class _Trees(BaseEstimator, Configured, ABC):
    """Fit through scikit-learn, predict and save through arrays."""

    _grower: ClassVar[Any]  # scikit-learn's class
    random_state: Any
    trees_: TreeArrays
    baseline_: np.ndarray  # [outputs], what the values of the trees are added to
    feature_importances_: np.ndarray  # [features], sums to 1
    _dtype: type = np.float32  # that of the rows as scikit-learn compares them with thresholds

    @abstractmethod
    def _grow(self, X: np.ndarray, y: np.ndarray, seed: int) -> None:
        """Set ``trees_``, ``baseline_`` and ``feature_importances_``."""

    def _check_fit(self, X: Any, y: Any, **checks: Any) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype=self._dtype, ensure_all_finite="allow-nan", **checks)
        return X, y

    def _grow_seeded(self, X: np.ndarray, y: np.ndarray) -> None:
        self._grow(X, y, seed_of(self.random_state))

    def _totals(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "trees_")
        X = validate_data(self, X, dtype=self._dtype, ensure_all_finite="allow-nan", reset=False)
        return self.trees_.total(X, self.baseline_)

    def get_state(self) -> State:
        """Nodes, classes, importances: all that predictions need."""
        check_is_fitted(self, "trees_")
        state = {
            "baseline": self.baseline_,
            "importances": self.feature_importances_,
            **with_prefix("trees", self.trees_.get_state()),
            **features_to_state(self),
        }
        return state

    def set_state(self, state: State) -> Self:
        """Take back what ``get_state`` gave."""
        features_from_state(self, state)
        self.trees_ = TreeArrays.from_state(below_prefix("trees", state))
        self.baseline_ = np.asarray(state["baseline"])
        self.feature_importances_ = np.asarray(state["importances"])
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class _TreesClassifier(ClassifierMixin, LabelledState, _Trees):
    def fit(self, X: Any, y: Any) -> Self:
        """Grow on X [rows, features] and class labels y [rows]."""
        X, y = self._check_fit(X, y)
        numbers = learn_classes(self, y)
        self._grow_seeded(X, numbers)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Mean over the trees of the class shares in the leaf, [rows, classes]."""
        return self._totals(X) / len(self.trees_.root)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(axis=1)]


class _TreesRegressor(RegressorMixin, _Trees):
    def fit(self, X: Any, y: Any) -> Self:
        """Grow on X [rows, features] and numbers y [rows]."""
        X, y = self._check_fit(X, y, y_numeric=True)
        self._grow_seeded(X, y.astype(np.float64))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Mean over the trees of the leaf's mean target, [rows]."""
        return self._totals(X)[:, 0] / len(self.trees_.root)


@dataclass(frozen=True)
class TreeConfig:
    """Options of a single tree."""

    max_depth: int | None = option(None, "levels of splits; null: until the leaves are pure", min=1)
    min_samples_leaf: int = option(1, "fewest rows in a leaf", min=1)
    max_features: float | None = option(
        None, "part of the features tried at each split; null: all", above=0, max=1
    )
    random_state: int | None = option(0, "seed of ties and features", min=0)


class _Tree(_Trees):
    def _grow(self, X: np.ndarray, y: np.ndarray, seed: int) -> None:
        model = self._grower(**self.get_params() | {"random_state": seed}).fit(X, y)
        self.trees_ = from_forest([model])
        self.baseline_ = np.zeros(self.trees_.value.shape[1])
        self.feature_importances_ = model.feature_importances_


@register("estimator", "decision_tree", tasks=("classification",))
class DecisionTreeClassifier(_TreesClassifier, _Tree):
    """A decision tree for classification (Gini impurity), grown by scikit-learn."""

    @dataclass(frozen=True)
    class Config(TreeConfig):
        """The options of a single tree."""

    _grower = tree.DecisionTreeClassifier


@register("estimator", "decision_tree_regressor", tasks=("regression",))
class DecisionTreeRegressor(_TreesRegressor, _Tree):
    """A decision tree for regression (squared error), grown by scikit-learn."""

    @dataclass(frozen=True)
    class Config(TreeConfig):
        """The options of a single tree."""

    _grower = tree.DecisionTreeRegressor


@dataclass(frozen=True)
class ForestConfig:
    """Options of a forest."""

    n_estimators: int = option(100, "number of trees", min=1, max=100_000)
    max_depth: int | None = option(None, "levels of splits; null: until the leaves are pure", min=1)
    min_samples_leaf: int = option(1, "fewest rows in a leaf", min=1)
    max_features: float | None = option(
        None,
        "part of the features tried at each split; null: √n for classes, all for numbers",
        above=0,
        max=1,
    )
    bootstrap: bool = option(True, "each tree sees rows drawn with replacement")
    n_jobs: int = option(1, "threads that grow trees; -1: one a core", min=-1, max=1024)
    random_state: int | None = option(0, "seed of rows and features", min=0)


class _Forest(_Trees):
    _usual_features: ClassVar[Any]

    def _grow(self, X: np.ndarray, y: np.ndarray, seed: int) -> None:
        options = self.get_params() | {"random_state": seed}
        if options["max_features"] is None:
            options["max_features"] = self._usual_features
        model = self._grower(**options).fit(X, y)
        self.trees_ = from_forest(model.estimators_)
        self.baseline_ = np.zeros(self.trees_.value.shape[1])
        self.feature_importances_ = model.feature_importances_


@register("estimator", "random_forest", tasks=("classification",))
class RandomForestClassifier(_TreesClassifier, _Forest):
    """A random forest for classification (Breiman 2001), grown by scikit-learn."""

    @dataclass(frozen=True)
    class Config(ForestConfig):
        """The options of a forest."""

    _grower = ensemble.RandomForestClassifier
    _usual_features = "sqrt"


@register("estimator", "random_forest_regressor", tasks=("regression",))
class RandomForestRegressor(_TreesRegressor, _Forest):
    """A random forest for regression (Breiman 2001), grown by scikit-learn."""

    @dataclass(frozen=True)
    class Config(ForestConfig):
        """The options of a forest."""

    _grower = ensemble.RandomForestRegressor
    _usual_features = 1.0


@dataclass(frozen=True)
class BoostingConfig:
    """Options of boosted trees."""

    learning_rate: float = option(0.1, "part of each tree that is added", above=0)
    n_rounds: int = option(100, "rounds of boosting (trees for each output)", min=1, max=100_000)
    max_leaves: int = option(31, "most leaves in a tree", min=2)
    max_depth: int | None = option(None, "levels of splits; null: no limit", min=1)
    min_samples_leaf: int = option(20, "fewest rows in a leaf", min=1)
    l2: float = option(0.0, "penalty on the leaves' values", min=0)
    early_stopping: bool = option(False, "hold rows out and stop without gain")
    validation_fraction: float = option(
        0.1, "part held out for early stopping", above=0, below=1, when={"early_stopping": True}
    )
    patience: int = option(
        10, "rounds without gain before stopping", min=1, when={"early_stopping": True}
    )
    random_state: int | None = option(0, "seed of the bins and the held-out rows", min=0)


class _Boosting(_Trees):
    _dtype = np.float64

    def _grow(self, X: np.ndarray, y: np.ndarray, seed: int) -> None:
        theirs = {
            "n_rounds": "max_iter",
            "max_leaves": "max_leaf_nodes",
            "l2": "l2_regularization",
            "patience": "n_iter_no_change",
        }
        options = {theirs.get(name, name): value for name, value in self.get_params().items()}
        model = self._grower(**options | {"random_state": seed}).fit(X, y)
        # scikit-learn offers the nodes of these trees under no public name; a test compares what
        # they predict here with the model's own predictions, so that a change would not go unseen.
        self.trees_, gains = from_boosting(model._predictors)
        self.baseline_ = np.asarray(model._baseline_prediction, dtype=np.float64).ravel()
        summed = np.bincount(gains[:, 0].astype(int), gains[:, 1], minlength=X.shape[1])
        self.feature_importances_ = summed / (summed.sum() or 1.0)


@register("estimator", "boosted_trees", tasks=("classification",))
class BoostedTreesClassifier(_TreesClassifier, _Boosting):
    """Histogram gradient boosting for classification, grown by scikit-learn."""

    @dataclass(frozen=True)
    class Config(BoostingConfig):
        """The options of boosted trees."""

    _grower = ensemble.HistGradientBoostingClassifier

    def predict_proba(self, X: Any) -> np.ndarray:
        """Softmax of the summed trees (sigmoid for two classes), [rows, classes]."""
        Z = self._totals(X)
        if Z.shape[1] > 1:
            return softmax(Z)
        sigmoid(Z)
        return np.hstack([1 - Z, Z])


@register("estimator", "boosted_trees_regressor", tasks=("regression",))
class BoostedTreesRegressor(_TreesRegressor, _Boosting):
    """Histogram gradient boosting for regression (squared error), grown by scikit-learn."""

    @dataclass(frozen=True)
    class Config(BoostingConfig):
        """The options of boosted trees."""

    _grower = ensemble.HistGradientBoostingRegressor

    def predict(self, X: Any) -> np.ndarray:
        """The summed trees, [rows]."""
        return self._totals(X)[:, 0]
