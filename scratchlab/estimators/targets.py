"""What the losses read of ``y``: class numbers, or numbers that may be standardised inside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from scratchlab.estimators.gradient_descent import GradientEstimator
from scratchlab.estimators.network import Rows
from scratchlab.estimators.protocol import InputError, State, check_two_classes
from scratchlab.estimators.state import labels_from_state, labels_to_state


class ClassifierTargets(GradientEstimator):
    """Targets that are class labels: ``classes_`` sorted, encoded as their numbers."""

    takes_sparse = True
    classes_: np.ndarray

    def _check_y(self, X: Any, y: Any, reset: bool) -> tuple[Rows, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=np.dtype(self.dtype), order="C", reset=reset
        )
        check_classification_targets(y)
        return X, y

    def _learn_targets(self, y: np.ndarray) -> None:
        self.classes_ = np.unique(y)
        check_two_classes(self.classes_, self)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        numbers = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = self.classes_[numbers] != y
        if unknown.any():
            new = y[unknown].tolist()[0]
            raise InputError(
                f"{type(self).__name__}: the class {new!r} was not there at the start",
                f"classes: {', '.join(str(c) for c in self.classes_[:20])}",
            )
        return numbers

    def _strata(self, y: np.ndarray, kept_back: int) -> np.ndarray | None:
        counts = np.unique(y, return_counts=True)[1]
        if counts.min() < 2 or min(kept_back, len(y) - kept_back) < len(counts):
            return None
        return self._encode(y).reshape(len(y), -1)[:, 0]

    def _named(self, loss: float, hits: int, rows: int) -> dict[str, float]:
        return {"loss": loss, "accuracy": hits / rows}

    def _targets_state(self) -> State:
        return labels_to_state(self.classes_)

    def _set_targets_state(self, state: State) -> None:
        self.classes_ = labels_from_state(state)


class RegressionTargets(GradientEstimator):
    """Targets that are numbers [rows] or [rows, outputs], standardised inside if asked for."""

    scale_target: bool = False
    _centre: np.ndarray
    _spread: np.ndarray
    _flat: bool

    def _check_y(self, X: Any, y: Any, reset: bool) -> tuple[Rows, np.ndarray]:
        X, y = validate_data(
            self,
            X,
            y,
            dtype=np.dtype(self.dtype),
            order="C",
            multi_output=True,
            y_numeric=True,
            reset=reset,
        )
        return X, y

    def _learn_targets(self, y: np.ndarray) -> None:
        self._flat = y.ndim == 1
        T = y.reshape(len(y), -1).astype(np.float64)
        self._centre, self._spread = np.zeros(T.shape[1]), np.ones(T.shape[1])
        if self.scale_target:
            self._centre, spread = T.mean(axis=0), T.std(axis=0)
            self._spread = np.where(spread > 0, spread, 1.0)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        T = (y.reshape(len(y), -1) - self._centre) / self._spread
        return T.astype(self.dtype)

    def _decode(self, Z: np.ndarray) -> np.ndarray:
        found = Z * self._spread + self._centre
        return found[:, 0] if self._flat else found

    def _named(self, loss: float, hits: int, rows: int) -> dict[str, float]:
        """``loss`` as minimised; ``rmse`` in the target's unit where there is one target."""
        named = {"loss": loss}
        if len(self._spread) == 1:
            named["rmse"] = math.sqrt(2 * loss) * float(self._spread[0])
        return named

    def _targets_state(self) -> State:
        return {
            "target_centre": self._centre.copy(),
            "target_spread": self._spread.copy(),
            "target_flat": np.array(int(self._flat)),
        }

    def _set_targets_state(self, state: State) -> None:
        self._centre = np.array(state["target_centre"])
        self._spread = np.array(state["target_spread"])
        self._flat = bool(state["target_flat"].item())

    def predict(self, X: Any) -> np.ndarray:
        """Targets [rows] or [rows, outputs], in the unit of ``y``."""
        X = self._check_X(X)
        return self._decode(self.network_.outputs(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
