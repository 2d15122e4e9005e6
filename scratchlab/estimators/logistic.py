"""Multinomial logistic regression by gradient descent.

With P = softmax(X W + b) and one-hot targets Y, the mean cross entropy plus ½ · l2 · ‖W‖² has

    ∂J/∂W = Xᵀ (P - Y) / rows + l2 · W,      ∂J/∂b = mean over rows of (P - Y),

which is what a :class:`~scratchlab.estimators.network.Network` without hidden layers computes. Two
classes need one column: P = sigmoid(X w + b). The objective is scikit-learn's with
``C = 1 / (rows · l2)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from scratchlab.estimators.losses import logistic_loss, sigmoid, softmax, softmax_cross_entropy
from scratchlab.estimators.network import Network
from scratchlab.estimators.targets import ClassifierTargets
from scratchlab.registry import option, register


@register("estimator", "logistic", tasks=("classification",))
class LogisticRegression(ClassifierMixin, ClassifierTargets):
    """Multinomial logistic regression, from scratch, by gradient descent, momentum or Adam."""

    @dataclass(frozen=True)
    class Config:
        """Options of logistic regression."""

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
        tol: float = option(
            0.00001, "all rows at once: done when no gradient component is larger", min=0
        )
        shuffle: bool = option(True, "new order of the rows in every epoch")
        early_stopping: bool = option(
            False, "hold rows out, stop without gain, keep the best weights"
        )
        validation_fraction: float = option(
            0.1, "part held out for early stopping", above=0, below=1
        )
        patience: int = option(10, "epochs without gain before stopping", min=1)
        dtype: str = option("float64", "precision of learning", choices=("float32", "float64"))
        random_state: int | None = option(0, "seed of the order and the held-out rows", min=0)

    def __init__(
        self,
        update: str = "momentum",
        learning_rate: float | None = None,
        momentum: float = 0.9,
        beta2: float = 0.999,
        schedule: str = "constant",
        batch_size: int = 0,
        epochs: int = 300,
        l2: float = 0.0001,
        tol: float = 0.00001,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        dtype: str = "float64",
        random_state: int | None = 0,
    ) -> None:
        self.update = update
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.beta2 = beta2
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.l2 = l2
        self.tol = tol
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state

    def _make_network(self, n_features: int) -> Network:
        classes = len(self.classes_)
        outputs, loss = (1, logistic_loss) if classes == 2 else (classes, softmax_cross_entropy)
        return Network([n_features, outputs], "relu", loss, self.l2, np.dtype(self.dtype))

    def _curvature(self) -> float:
        """¼ for the sigmoid, ½ for the softmax (Böhning 1992)."""
        return 0.25 if len(self.classes_) == 2 else 0.5

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits [rows, classes]; [rows] for two classes."""
        X = self._check_X(X)
        Z = self.network_.outputs(X)
        return Z[:, 0] if Z.shape[1] == 1 else Z

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [rows, classes], in the order of ``classes_``."""
        X = self._check_X(X)
        Z = self.network_.outputs(X)
        if Z.shape[1] > 1:
            return softmax(Z)
        sigmoid(Z)
        return np.hstack([1 - Z, Z])

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        Z = self.decision_function(X)
        return self.classes_[(Z > 0).astype(int) if Z.ndim == 1 else Z.argmax(axis=1)]
