"""Linear regression: least squares in closed form, or by gradient descent.

The objective is ½ · mean ‖X W + b - Y‖² + ½ · l2 · ‖W‖². Its minimum solves the normal equations
(XᵀX + rows · l2 · I) W = XᵀY on centred data. ``solver="normal"`` finds it by the singular value
decomposition of X itself (``lstsq``), since forming XᵀX would square the condition number; where
the minimum is not unique it gives the solution of least norm. ``solver="gradient"`` walks there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import RegressorMixin

from scratchlab.estimators.gradient_descent import DescentOptions
from scratchlab.estimators.losses import squared_error
from scratchlab.estimators.network import Network
from scratchlab.estimators.protocol import check_choice
from scratchlab.estimators.targets import RegressionTargets
from scratchlab.registry import option, register


@register("estimator", "linear", tasks=("regression",), loss="half the squared error")
class LinearRegression(RegressorMixin, RegressionTargets):
    """Linear regression, from scratch: closed form or gradient descent, with an L2 penalty."""

    @dataclass(frozen=True)
    class Config(DescentOptions):
        """Options of linear regression; those of descent are for the solver gradient."""

        solver: str = option("normal", "closed form or descent", choices=("normal", "gradient"))
        epochs: int = option(500, "passes over the rows", min=1, when={"solver": "gradient"})
        l2: float = option(0.0, "strength of the L2 penalty on the weights (ridge)", min=0)
        tol: float = option(
            0.00000001,
            "all rows at once: done when no gradient component is larger",
            min=0,
            when={"solver": "gradient", "batch_size": 0},
        )

    solver: str

    def _check_options(self) -> None:
        check_choice("solver", self.solver, ("normal", "gradient"))
        super()._check_options()

    def _make_network(self, n_features: int) -> Network:
        sizes = [n_features, len(self._centre)]
        return Network(sizes, "relu", squared_error, self.l2, np.float64)

    @property
    def planned_epochs(self) -> int:
        return self.epochs if self.solver == "gradient" else 1

    def _run_epoch(self, X: np.ndarray, T: np.ndarray) -> dict[str, float]:
        if self.solver == "gradient":
            return super()._run_epoch(X, T)
        W, b = self.network_.weights[0], self.network_.biases[0]
        W[:], b[:] = least_squares(X, T, self.l2)
        self.n_epochs_, self.finished_ = self.n_epochs_ + 1, True
        loss, hits = self.network_.mean_loss(X, T)
        return self._named(loss, hits, len(X))


def least_squares(X: np.ndarray, T: np.ndarray, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights [features, outputs] and biases [outputs] at the minimum of the objective above.

    The penalty enters as extra rows √(rows · l2) · I with target 0, which keeps the problem one of
    least squares. The biases are not penalised: the data is centred first.
    """
    x_mean, t_mean = X.mean(axis=0), T.mean(axis=0)
    A, B = X - x_mean, T - t_mean
    if l2:
        A = np.vstack([A, np.sqrt(len(X) * l2) * np.eye(X.shape[1])])
        B = np.vstack([B, np.zeros((X.shape[1], T.shape[1]))])
    W = np.linalg.lstsq(A, B, rcond=None)[0]
    return W, t_mean - x_mean @ W
