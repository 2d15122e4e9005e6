"""Multi-layer perceptrons in NumPy: a classifier (softmax) and a regressor (squared error).

The network, its forward pass and the hand-written back-propagation with its derivation are in
``network.py``; batches, update rules and early stopping in ``gradient_descent.py``. Minimised is

    mean loss over the rows + ½ · l2 · Σ ‖W‖²      (biases are not penalised)

so ``l2`` equals scikit-learn's ``alpha`` divided by its batch size. In float32 (the default)
learning runs in buffers allocated once; predictions are computed in float64 from the same weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

from scratchlab.estimators.gradient_descent import GradientEstimator, StoppingOptions
from scratchlab.estimators.losses import Loss, softmax, softmax_cross_entropy, squared_error
from scratchlab.estimators.network import Network
from scratchlab.estimators.protocol import InputError
from scratchlab.estimators.targets import ClassifierTargets, RegressionTargets
from scratchlab.estimators.update_rules import VECTORS
from scratchlab.registry import option, register
from scratchlab.regular_files import machine_memory


@dataclass(frozen=True)
class NetworkConfig(StoppingOptions):
    """Options of both networks."""

    hidden: list[int] = option([128], "sizes of the hidden layers; [] for none", min=1)
    activation: str = option("relu", "hidden units", choices=("relu", "tanh", "sigmoid"))
    update: str = option("adam", "update rule", choices=("sgd", "momentum", "adam"))
    learning_rate: float = option(0.001, "step size", above=0)
    batch_size: int = option(64, "rows a step; 1 is stochastic, 0 is all rows", min=0)
    epochs: int = option(100, "passes over the rows", min=1)
    dtype: str = option("float32", "precision of learning", choices=("float32", "float64"))


class _MLP(GradientEstimator):
    """What both networks share: the network that their options describe."""

    hidden: Sequence[int]

    def _network(self, n_features: int, n_outputs: int, loss: Loss) -> Network:
        hidden = list(self.hidden)
        if any(n < 1 for n in hidden):
            raise InputError(f"hidden={hidden}: a layer needs at least 1 unit")
        sizes = [n_features, *hidden, n_outputs]
        self._require_room(sizes)
        return Network(sizes, self.activation, loss, self.l2, np.dtype(self.dtype))

    def _require_room(self, sizes: Sequence[int]) -> None:
        """InputError, before memory is asked for, if the machine has less than training takes: the
        parameters, their gradient and penalty, and the vectors of the update rule."""
        parameters = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
        vectors = 3 + VECTORS[self.update]
        needed, there = parameters * vectors * np.dtype(self.dtype).itemsize, machine_memory()
        if needed > there:
            raise InputError(
                f"hidden={list(self.hidden)}: {parameters:,} parameters take "
                f"{needed / 1e9:,.1f} GB to train; this machine has {there / 1e9:,.1f} GB",
                "Make the hidden layers smaller (model.hidden).",
            )


@register("estimator", "mlp", tasks=("classification",), sparse=True)
class MLPClassifier(ClassifierMixin, ClassifierTargets, _MLP):
    """Multi-layer perceptron for classification, from scratch: softmax and cross entropy."""

    @dataclass(frozen=True)
    class Config(NetworkConfig):
        """The options of both networks, nothing more."""

    def _make_network(self, n_features: int) -> Network:
        return self._network(n_features, len(self.classes_), softmax_cross_entropy)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [rows, classes], in the order of ``classes_``."""
        X = self._check_X(X)
        return softmax(self.network_.outputs(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        X = self._check_X(X)
        return self.classes_[self.network_.outputs(X).argmax(axis=1)]


@register(
    "estimator",
    "mlp_regressor",
    tasks=("regression",),
    loss="half the squared error",
    loss_options=("scale_target",),
)
class MLPRegressor(RegressorMixin, RegressionTargets, _MLP):
    """Multi-layer perceptron for regression, from scratch: linear outputs, squared error."""

    @dataclass(frozen=True)
    class Config(NetworkConfig):
        """The options of both networks and the treatment of the target."""

        scale_target: bool = option(True, "learn the standardised target; predictions are in units")

    def _make_network(self, n_features: int) -> Network:
        return self._network(n_features, len(self._centre), squared_error)
