"""Training by gradient descent, shared by linear and logistic regression, Adaline and the MLPs.

:class:`GradientEstimator` is the loop: shuffle, cut into batches, gradient of the network, update
rule, learning-rate schedule, held-out rows and early stopping. ``targets.py`` turns the user's
``y`` into what the losses read.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted, validate_data

from scratchlab.estimators.network import ACTIVATIONS, Network, Rows
from scratchlab.estimators.protocol import (
    InputError,
    IterativeEstimator,
    State,
    check_choice,
)
from scratchlab.estimators.state import (
    below_prefix,
    features_from_state,
    features_to_state,
    generator_from_array,
    generator_to_array,
    with_prefix,
)
from scratchlab.estimators.update_rules import UPDATES, UpdateRule, make_rule
from scratchlab.registry import option

SCHEDULES = ("constant", "linear", "cosine")
_LOWEST_RATE = 0.01  # a schedule ends at this part of the learning rate


@dataclass(frozen=True)
class DescentOptions:
    """Of every training by gradient descent; a subclass may have other defaults."""

    update: str = option("momentum", "update rule", choices=("sgd", "momentum", "adam"))
    learning_rate: float | None = option(
        None, "step size; null: the inverse of the greatest curvature (0.01 for Adam)", above=0
    )
    momentum: float = option(0.9, "momentum; beta1 of Adam", min=0, below=1)
    beta2: float = option(0.999, "decay of Adam's mean square", min=0, below=1)
    schedule: str = option(
        "constant", "learning rate over the epochs", choices=("constant", "linear", "cosine")
    )
    batch_size: int = option(0, "rows a step; 1 is stochastic, 0 is all rows", min=0)
    epochs: int = option(300, "passes over the rows", min=1)
    l2: float = option(0.0001, "strength of the L2 penalty on the weights", min=0)
    shuffle: bool = option(True, "new order of the rows in every epoch")
    random_state: int | None = option(0, "seed of weights, order and held-out rows", min=0)


@dataclass(frozen=True)
class StoppingOptions(DescentOptions):
    """Of a training that can hold rows out, and in either precision."""

    early_stopping: bool = option(False, "hold rows out, stop without gain, keep the best weights")
    validation_fraction: float = option(
        0.1, "part held out for early stopping", above=0, below=1, when={"early_stopping": True}
    )
    patience: int = option(
        10, "epochs without gain before stopping", min=1, when={"early_stopping": True}
    )
    dtype: str = option("float64", "precision of learning", choices=("float32", "float64"))


class GradientEstimator(IterativeEstimator):
    """A network trained by gradient descent; subclasses say which network and which targets.

    The options below have these values where a subclass does not offer them. One that
    ``takes_sparse`` rows is registered with the fact ``sparse``.
    """

    takes_sparse: ClassVar[bool] = False

    update: str
    learning_rate: float | None
    momentum: float = 0.9
    beta2: float = 0.999
    schedule: str = "constant"
    batch_size: int = 0
    l2: float = 0.0
    tol: float = 0.0
    shuffle: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    patience: int = 10
    activation: str = "relu"
    dtype: str = "float64"

    network_: Network
    _rule: UpdateRule
    _rng: np.random.Generator
    _rate: float
    _held_out: np.ndarray
    _best: np.ndarray
    _best_score: float
    _stale: int

    # --- what a subclass provides -----------------------------------------------------------

    @abstractmethod
    def _make_network(self, n_features: int) -> Network:
        """The network for the targets that ``_learn_targets`` has seen."""

    @abstractmethod
    def _learn_targets(self, y: np.ndarray) -> None:
        """Set what depends on all targets: the classes, or centre and scale."""

    @abstractmethod
    def _encode(self, y: np.ndarray) -> np.ndarray:
        """The targets as the loss reads them."""

    @abstractmethod
    def _check_y(self, X: Any, y: Any, reset: bool) -> tuple[Rows, np.ndarray]:
        """X in the working dtype, y as given, both checked."""

    @abstractmethod
    def _named(self, loss: float, hits: int, rows: int) -> dict[str, float]:
        """Metrics of a mean loss."""

    @abstractmethod
    def _targets_state(self) -> State:
        """What ``_learn_targets`` set."""

    @abstractmethod
    def _set_targets_state(self, state: State) -> None:
        """The inverse of ``_targets_state``."""

    def _default_rate(self, X: Rows) -> float:
        """The learning rate where the option is None: 1/L, the inverse of the greatest curvature.

        L bounds the second derivative of the mean loss: the greatest eigenvalue of XᵀX/rows (with a
        column of ones for the bias) times the loss's own curvature. Gradient descent with this rate
        never overshoots, whatever the scale of the features.
        """
        if self.update == "adam":
            return 0.01  # Adam's steps do not depend on the gradient's scale
        greatest = _greatest_eigenvalue(X) / X.shape[0]
        return 1 / (self._curvature() * greatest + self.l2)

    def _curvature(self) -> float:
        """The greatest second derivative of the loss with respect to the outputs."""
        return 1.0

    # --- the protocol -----------------------------------------------------------------------

    def start(self, X: Any, y: Any, seed: int | None = None) -> Self:
        self._check_options()
        X, y = self._check_y(X, y, reset=True)
        self._learn_targets(y)
        self._rng = np.random.default_rng(self._seed(seed))
        self._held_out = self._hold_out(y)
        self._build()
        self.network_.initialise(self._rng)
        self._rate = self._default_rate(X) if self.learning_rate is None else self.learning_rate
        self.n_epochs_, self.finished_, self.history_ = 0, self.epochs <= 0, []
        self._best, self._best_score, self._stale = self.network_.theta.copy(), -math.inf, 0
        return self

    def epoch(self, X: Any, y: Any) -> dict[str, float]:
        return self._epoch_on(X, y)()

    def _epoch_on(self, X: Any, y: Any) -> Callable[[], dict[str, float]]:
        check_is_fitted(self, "network_")
        X, y = self._check_y(X, y, reset=False)
        return functools.partial(self._run_epoch, X, self._encode(y))

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        check_is_fitted(self, "network_")
        X, y = self._check_y(X, y, reset=False)
        loss, hits = self.network_.mean_loss(X, self._encode(y))
        return self._named(loss, hits, X.shape[0])

    def finish(self) -> Self:
        if self.early_stopping and math.isfinite(self._best_score):
            self.network_.theta[:] = self._best
        return self

    def get_state(self) -> State:
        check_is_fitted(self, "network_")
        return {
            "theta": self.network_.theta.copy(),
            "n_epochs": np.array(self.n_epochs_),
            "finished": np.array(int(self.finished_)),
            "generator": generator_to_array(self._rng),
            "learning_rate": np.array(self._rate),
            "held_out": self._held_out.copy(),
            "best": self._best.copy(),
            "best_score": np.array(self._best_score),
            "stale": np.array(self._stale),
            **with_prefix("rule", self._rule.get_state()),
            **self._targets_state(),
            **features_to_state(self),
        }

    def set_state(self, state: State) -> Self:
        self._check_options()
        features_from_state(self, state)
        self._set_targets_state(state)
        self._build()
        if state["theta"].shape != self.network_.theta.shape:
            raise InputError(
                f"the saved state holds {state['theta'].size} parameters, this "
                f"{type(self).__name__} has {self.network_.theta.size}",
                "build it with the options that the state was saved with",
            )
        self.network_.theta[:] = state["theta"]
        self._rule.set_state(below_prefix("rule", state))
        self._rng = generator_from_array(state["generator"])
        self._rate = state["learning_rate"].item()
        self._held_out = np.array(state["held_out"])
        self._best = np.array(state["best"])
        self._best_score, self._stale = state["best_score"].item(), state["stale"].item()
        self.n_epochs_, self.finished_ = state["n_epochs"].item(), bool(state["finished"].item())
        self.history_ = []
        return self

    # --- the loop ---------------------------------------------------------------------------

    def _build(self) -> None:
        self.network_ = self._make_network(self.n_features_in_)
        theta = self.network_.theta
        self._rule = make_rule(self.update, theta.size, theta.dtype, self.momentum, self.beta2)

    def _run_epoch(self, X: Rows, T: np.ndarray) -> dict[str, float]:
        network, rows = self.network_, self._training_rows(X.shape[0])
        batch = min(self.batch_size or len(rows), len(rows))
        whole = batch == X.shape[0]
        if not whole:
            if self.shuffle:
                self._rng.shuffle(rows)
            gathered = None if issparse(X) else np.empty((batch, X.shape[1]), X.dtype)
        steps = math.ceil(len(rows) / batch)
        total, hits, loss_now = 0.0, 0, 0.0
        for step in range(steps):
            if whole:
                x, t = X, T
            else:
                index = rows[step * batch : (step + 1) * batch]
                if gathered is None:
                    x = X[index]
                else:
                    x = gathered[: len(index)]
                    # mode="clip": NumPy writes into the buffer; no index is out of range
                    np.take(X, index, axis=0, out=x, mode="clip")
                t = T[index]
            loss_now, hit = network.loss_and_gradient(x, t)
            if self.tol and batch == len(rows) and np.abs(network.gradient).max() <= self.tol:
                self.finished_ = True
            else:
                self._rule.step(network.theta, network.gradient, self._rate_at(step, steps))
            total, hits = total + loss_now * len(t), hits + hit
        self._check_loss(total)
        self.n_epochs_ += 1
        self.finished_ = self.finished_ or self.n_epochs_ >= self.epochs
        metrics = self._named(total / len(rows), hits, len(rows))
        if self.early_stopping:
            metrics |= self._judge(X, T)
        return metrics

    def _rate_at(self, step: int, steps: int) -> float:
        if self.schedule == "constant":
            return self._rate
        done = min(1.0, (self.n_epochs_ + step / steps) / max(self.epochs, 1))
        left = 1 - done if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return self._rate * (_LOWEST_RATE + (1 - _LOWEST_RATE) * left)

    def _training_rows(self, rows: int) -> np.ndarray:
        kept = np.ones(rows, dtype=bool)
        kept[self._held_out] = False
        return np.flatnonzero(kept)

    def _hold_out(self, y: np.ndarray) -> np.ndarray:
        """The rows kept back for early stopping, stratified by class where the classes allow it."""
        if not self.early_stopping:
            return np.zeros(0, dtype=np.int64)
        kept_back = math.ceil(self.validation_fraction * len(y))
        if kept_back < 1 or kept_back >= len(y):
            raise InputError(
                f"validation_fraction={self.validation_fraction} of {len(y)} rows leaves "
                "nothing to train or to validate on"
            )
        seed = int(self._rng.integers(2**31))
        _, held_out = train_test_split(
            np.arange(len(y)),
            test_size=kept_back,
            stratify=self._strata(y, kept_back),
            random_state=seed,
        )
        return np.sort(held_out)

    def _strata(self, y: np.ndarray, kept_back: int) -> np.ndarray | None:
        """What the rows held out are to have equal shares of; None: nothing."""
        return None

    def _judge(self, X: Rows, T: np.ndarray) -> dict[str, float]:
        """Score the held-out rows, keep the best parameters, count the epochs without gain."""
        loss, hits = self.network_.mean_loss(X[self._held_out], T[self._held_out])
        metrics = self._named(loss, hits, len(self._held_out))
        score = metrics.get("accuracy", -loss)
        if score > self._best_score:
            self._best[:] = self.network_.theta
            self._best_score, self._stale = score, 0
        else:
            self._stale += 1
            self.finished_ = self.finished_ or self._stale >= self.patience
        return {f"held_out_{name}": value for name, value in metrics.items()}

    def _check_options(self) -> None:
        check_choice("update", self.update, UPDATES)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("dtype", self.dtype, ("float32", "float64"))
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise InputError(f"learning_rate={self.learning_rate} must be above 0")
        if self.batch_size < 0 or self.l2 < 0:
            raise InputError(
                f"batch_size={self.batch_size} and l2={self.l2} must not be negative",
                "batch_size=0 means all rows at once",
            )

    def _check_X(self, X: Any) -> Rows:
        """Rows to predict for, checked; in the dtype they come in if it is a float."""
        check_is_fitted(self, "network_")
        return validate_data(
            self,
            X,
            accept_sparse="csr" if self.takes_sparse else False,
            dtype=(np.float64, np.float32),
            reset=False,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.takes_sparse
        return tags

    @property
    def coef_(self) -> np.ndarray:
        """Weights [outputs, features] of a model without hidden layers."""
        check_is_fitted(self, "network_")
        return self.network_.weights[0].T

    @property
    def intercept_(self) -> np.ndarray:
        """Biases [outputs] of a model without hidden layers."""
        check_is_fitted(self, "network_")
        return self.network_.biases[0]


def _greatest_eigenvalue(X: Rows) -> float:
    """That of XᵀX, where X [rows, features] has a further column of ones.

    Of sparse X by Lanczos' method, from a start that is always the same.
    """
    rows, features = X.shape
    if not issparse(X):
        extended = np.hstack([X, np.ones((rows, 1), X.dtype)]).astype(np.float64)
        return float(np.linalg.eigvalsh(extended.T @ extended)[-1])

    def times(v: np.ndarray) -> np.ndarray:
        v = v.ravel()
        Xv = X @ v[:-1] + v[-1]
        return np.append(X.T @ Xv, Xv.sum())

    size = features + 1
    if size < 3:  # too small for Lanczos' method
        return float(np.linalg.eigvalsh(np.stack([times(row) for row in np.eye(size)]))[-1])
    gram = LinearOperator((size, size), times, dtype=np.float64)
    return float(eigsh(gram, k=1, v0=np.ones(size), return_eigenvectors=False)[0])
