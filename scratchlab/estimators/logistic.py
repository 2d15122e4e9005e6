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

from scratchlab.estimators.gradient_descent import StoppingOptions
from scratchlab.estimators.losses import logistic_loss, sigmoid, softmax, softmax_cross_entropy
from scratchlab.estimators.network import Network
from scratchlab.estimators.targets import ClassifierTargets
from scratchlab.registry import option, register


@register("estimator", "logistic", tasks=("classification",), sparse=True)
class LogisticRegression(ClassifierMixin, ClassifierTargets):
    """Multinomial logistic regression, from scratch, by gradient descent, momentum or Adam."""

    @dataclass(frozen=True)
    class Config(StoppingOptions):
        """Options of logistic regression."""

        tol: float = option(
            0.00001,
            "all rows at once: done when no gradient component is larger",
            min=0,
            when={"batch_size": 0},
        )

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
