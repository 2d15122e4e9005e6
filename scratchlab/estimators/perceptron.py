"""The first two learning machines: Rosenblatt's perceptron and Widrow and Hoff's Adaline.

Both have one linear unit a class (one in all for two classes) with targets ±1, and differ in when
they learn: the perceptron from mistakes only, Adaline from the distance of the linear output to the
target, even where the class is right.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from scratchlab.estimators.losses import squared_error
from scratchlab.estimators.network import Network, Rows
from scratchlab.estimators.protocol import (
    InputError,
    IterativeEstimator,
    State,
    check_two_classes,
)
from scratchlab.estimators.state import (
    features_from_state,
    features_to_state,
    generator_from_array,
    generator_to_array,
    labels_from_state,
    labels_to_state,
)
from scratchlab.estimators.targets import ClassifierTargets
from scratchlab.registry import option, register


def signs(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Targets ±1 [rows, units]: one unit for two classes (+1 is the second), else one a class."""
    units = classes[1:] if len(classes) == 2 else classes
    return np.where(y[:, None] == units, 1.0, -1.0)


def decide(Z: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The class of the greatest output; for one unit, by its sign."""
    return classes[(Z[:, 0] > 0).astype(int) if Z.shape[1] == 1 else Z.argmax(axis=1)]


def entries(X: Rows, row: int) -> tuple[Any, np.ndarray]:
    """The columns of a row, and what stands in them; of sparse rows those that are not zero."""
    if not issparse(X):
        return slice(None), X[row]
    part = slice(X.indptr[row], X.indptr[row + 1])
    return X.indices[part], X.data[part]


@register(
    "estimator",
    "perceptron",
    tasks=("classification",),
    sparse=True,
    loss="perceptron criterion",
)
class Perceptron(ClassifierMixin, IterativeEstimator):
    """Rosenblatt's perceptron (1958), from scratch, one unit against the rest for each class.

    For each row x with target t = ±1 and output z = w·x + b: where t·z ≤ 0, a mistake,
    w ← w + learning_rate · t · x and b ← b + learning_rate · t. On separable data it ends after
    finitely many mistakes (Novikoff 1962); training stops at the first epoch without one.
    """

    @dataclass(frozen=True)
    class Config:
        """Options of the perceptron."""

        learning_rate: float = option(1.0, "step size; scales the weights only", above=0)
        epochs: int = option(50, "passes over the rows", min=1)
        shuffle: bool = option(True, "new order of the rows in every epoch")
        random_state: int | None = option(0, "seed of the order of the rows", min=0)

    classes_: np.ndarray
    weights_: np.ndarray  # [features, units]
    intercept_: np.ndarray  # [units]
    _rng: np.random.Generator

    def start(self, X: Any, y: Any, seed: int | None = None) -> Self:
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate={self.learning_rate} must be above 0")
        X, y = self._check(X, y, reset=True)
        self.classes_ = np.unique(y)
        check_two_classes(self.classes_, self)
        units = 1 if len(self.classes_) == 2 else len(self.classes_)
        self.weights_, self.intercept_ = np.zeros((X.shape[1], units)), np.zeros(units)
        self._rng = np.random.default_rng(self._seed(seed))
        self.n_epochs_, self.finished_, self.history_ = 0, self.epochs <= 0, []
        return self

    def epoch(self, X: Any, y: Any) -> dict[str, float]:
        return self._epoch_on(X, y)()

    def _epoch_on(self, X: Any, y: Any) -> Callable[[], dict[str, float]]:
        check_is_fitted(self)
        X, y = self._check(X, y, reset=False)
        return functools.partial(self._run_epoch, X, signs(y, self.classes_))

    def _run_epoch(self, X: Rows, T: np.ndarray) -> dict[str, float]:
        """One row after the other; ``mistakes`` counts rows that moved any unit's weights."""
        W, b, rate = self.weights_, self.intercept_, self.learning_rate
        rows = len(T)
        order = self._rng.permutation(rows) if self.shuffle else np.arange(rows)
        mistakes, hits, loss = 0, 0, 0.0
        for row in order:
            (columns, x), t = entries(X, row), T[row]
            z = x @ W[columns] + b
            margins = t * z
            wrong = margins <= 0
            right = z.argmax() == t.argmax() if len(z) > 1 else margins[0] > 0
            hits += bool(right)
            if wrong.any():
                mistakes += 1
                loss -= float(margins[wrong].sum())
                step = np.where(wrong, rate * t, 0.0)
                W[columns] += x[:, None] * step
                b += step
        self.n_epochs_ += 1
        self.finished_ = mistakes == 0 or self.n_epochs_ >= self.epochs
        self._check_loss(loss)
        return {"loss": loss / rows, "accuracy": hits / rows, "mistakes": float(mistakes)}

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        check_is_fitted(self)
        X, y = self._check(X, y, reset=False)
        Z = X @ self.weights_ + self.intercept_
        loss = np.maximum(0, -signs(y, self.classes_) * Z).sum() / len(y)
        hits = decide(Z, self.classes_) == y
        return {"loss": float(loss), "accuracy": float(hits.mean())}

    def decision_function(self, X: Any) -> np.ndarray:
        """Outputs [rows, classes]; [rows] for two classes."""
        Z = self._outputs(X)
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def predict(self, X: Any) -> np.ndarray:
        """The class of the greatest output."""
        Z = self._outputs(X)
        return decide(Z, self.classes_)

    def get_state(self) -> State:
        check_is_fitted(self)
        return {
            "weights": self.weights_.copy(),
            "intercept": self.intercept_.copy(),
            "generator": generator_to_array(self._rng),
            "n_epochs": np.array(self.n_epochs_),
            "finished": np.array(int(self.finished_)),
            **labels_to_state(self.classes_),
            **features_to_state(self),
        }

    def set_state(self, state: State) -> Self:
        features_from_state(self, state)
        self.classes_ = labels_from_state(state)
        self.weights_ = np.array(state["weights"])
        self.intercept_ = np.array(state["intercept"])
        self._rng = generator_from_array(state["generator"])
        self.n_epochs_, self.finished_ = state["n_epochs"].item(), bool(state["finished"].item())
        self.history_ = []
        return self

    @property
    def coef_(self) -> np.ndarray:
        """Weights [units, features]."""
        check_is_fitted(self)
        return self.weights_.T

    def _check(self, X: Any, y: Any, reset: bool) -> tuple[Rows, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=np.float64, order="C", reset=reset
        )
        check_classification_targets(y)
        return X, y

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return X @ self.weights_ + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@register(
    "estimator",
    "adaline",
    tasks=("classification",),
    sparse=True,
    loss="half the squared error of ±1",
)
class Adaline(ClassifierMixin, ClassifierTargets):
    """Adaptive linear neuron (Widrow & Hoff 1960), from scratch: least squares on targets ±1.

    w ← w - learning_rate · mean over the batch of (w·x + b - t) x. A batch of one row is Widrow and
    Hoff's rule, all rows at once is gradient descent, which converges to the least-squares fit.
    """

    @dataclass(frozen=True)
    class Config:
        """Options of Adaline."""

        learning_rate: float | None = option(
            None, "step size; null: the inverse of the greatest curvature", above=0
        )
        batch_size: int = option(0, "rows a step; 1 is Widrow and Hoff's, 0 is all rows", min=0)
        epochs: int = option(200, "passes over the rows", min=1)
        shuffle: bool = option(True, "new order of the rows in every epoch")
        random_state: int | None = option(0, "seed of the order of the rows", min=0)

    update = "sgd"

    def _make_network(self, n_features: int) -> Network:
        units = 1 if len(self.classes_) == 2 else len(self.classes_)
        return Network([n_features, units], "relu", squared_error, 0.0, np.float64)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        super()._encode(y)  # an unknown class is an error here as well
        return signs(y, self.classes_)

    def _named(self, loss: float, hits: int, rows: int) -> dict[str, float]:
        return {"loss": loss}

    def _default_rate(self, X: Rows) -> float:
        if self.batch_size == 0:
            return super()._default_rate(X)
        # The curvature of a single row bounds that of any batch: ‖x‖² + 1 for the bias.
        squares = (X * X).sum(axis=1) if issparse(X) else np.einsum("ij,ij->i", X, X)
        return 1 / (float(squares.max()) + 1)

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        return super().evaluate(X, y) | {"accuracy": float(self.score(X, y))}

    def decision_function(self, X: Any) -> np.ndarray:
        """Linear outputs [rows, classes]; [rows] for two classes."""
        X = self._check_X(X)
        Z = self.network_.outputs(X)
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def predict(self, X: Any) -> np.ndarray:
        """The class of the greatest output."""
        X = self._check_X(X)
        return decide(self.network_.outputs(X), self.classes_)
