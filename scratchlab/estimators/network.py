"""A feed-forward network with hand-written back-propagation, in NumPy.

Forward. With A_0 = X [rows, features], layer l = 1 … L computes

    Z_l = A_{l-1} W_l + b_l            [rows, n_l]
    A_l = f(Z_l)   for l < L,          the outputs are Z_L.

Backward (Rumelhart, Hinton & Williams 1986). Let J be the mean loss over the rows plus
½ · l2 · Σ ‖W_l‖², and D_l = ∂J/∂Z_l [rows, n_l]. The loss gives D_L (see ``losses.py``; for softmax
with cross entropy it is (P - Y)/rows). Since Z_l is linear in W_l, b_l and A_{l-1}, the chain rule
gives, element by element and collected into matrices,

    ∂J/∂W_l     = A_{l-1}ᵀ D_l + l2 · W_l        (each row's input times its error, summed)
    ∂J/∂b_l     = Σ_rows D_l
    ∂J/∂A_{l-1} = D_l W_lᵀ
    D_{l-1}     = (D_l W_lᵀ) ⊙ f'(Z_{l-1})

and f' needs only the activation itself, so no Z has to be kept:

    sigmoid  f' = A (1 - A)      tanh  f' = 1 - A²      relu  f' = 1 where A > 0, else 0.

With no hidden layer (L = 1) this is linear or logistic regression. Nothing is computed for D_0: the
rows need no gradient, which saves a third of the work of a network with one hidden layer.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy.sparse import issparse

from scratchlab.estimators.losses import Loss, sigmoid

Rows = Any
"""X [rows, features]: an array, or a ``csr_array`` where most of it is zero."""

ACTIVATIONS = ("relu", "tanh", "sigmoid")
_CHUNK = 4096


class Network:
    """Parameters, their gradient, and the buffers of one batch.

    sizes       [features, hidden …, outputs]
    theta       all parameters in one vector: every W first, then every b, so that the L2 penalty
                and the update rule each need one pass; ``weights[l]``, ``biases[l]`` are its views
    gradient    the same layout, written by :meth:`loss_and_gradient`
    """

    def __init__(
        self, sizes: list[int], activation: str, loss: Loss, l2: float, dtype: np.dtype | type
    ) -> None:
        self.sizes, self.activation, self.loss, self.l2 = list(sizes), activation, loss, l2
        pairs = list(itertools.pairwise(self.sizes))
        self.n_weights = sum(a * b for a, b in pairs)
        size = self.n_weights + sum(b for _, b in pairs)
        self.theta = np.zeros(size, dtype)
        self.gradient = np.zeros(size, dtype)
        self._scratch = np.empty(self.n_weights, dtype)
        self._make_views()

    def _make_views(self) -> None:
        self.weights, self.biases = self._views(self.theta)
        self._weight_gradients, self._bias_gradients = self._views(self.gradient)
        self._outputs: list[np.ndarray] = []
        self._errors: list[np.ndarray] = []
        self._capacity = 0

    def _views(self, flat: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        weights, biases, at, bias_at = [], [], 0, self.n_weights
        for rows, columns in itertools.pairwise(self.sizes):
            weights.append(flat[at : at + rows * columns].reshape(rows, columns))
            biases.append(flat[bias_at : bias_at + columns])
            at, bias_at = at + rows * columns, bias_at + columns
        return weights, biases

    def __getstate__(self) -> dict[str, Any]:
        # Copies of views would no longer be views: leave them out and make them anew.
        kept = ("sizes", "activation", "loss", "l2", "n_weights", "theta", "gradient", "_scratch")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_views()

    def initialise(self, rng: np.random.Generator) -> None:
        """Uniform weights: He et al. 2015 for relu, Glorot & Bengio 2010 else; biases zero.

        Without hidden layers the problem is convex and starts at zero.
        """
        self.theta[:] = 0
        if len(self.sizes) == 2:
            return
        for number, W in enumerate(self.weights):
            rows, columns = W.shape
            hidden = number < len(self.weights) - 1
            if self.activation == "relu" and hidden:
                bound = np.sqrt(6 / rows)
            else:
                bound = np.sqrt(6 / (rows + columns))
            W[:] = rng.uniform(-bound, bound, W.shape)

    def reserve(self, rows: int) -> None:
        """Allocate the buffers for batches of up to ``rows`` rows."""
        if rows > self._capacity:
            dtype = self.theta.dtype
            self._outputs = [np.empty((rows, n), dtype) for n in self.sizes[1:]]
            self._errors = [np.empty((rows, n), dtype) for n in self.sizes[1:-1]]
            self._capacity = rows

    def loss_and_gradient(self, X: Rows, T: np.ndarray) -> tuple[float, int]:
        """Mean loss without the penalty and hits; ``gradient`` gets that of loss plus penalty.

        X  [rows, features] of ``theta``'s dtype, C-contiguous or sparse.
        """
        rows = X.shape[0]
        self.reserve(rows)
        D = self._forward(X)
        loss, hits = self.loss(D, T)
        for layer in range(len(self.weights) - 1, -1, -1):
            A = X if layer == 0 else self._outputs[layer - 1][:rows]
            _product(A.T, D, self._weight_gradients[layer])
            np.sum(D, axis=0, out=self._bias_gradients[layer])
            if layer > 0:
                below = self._errors[layer - 1][:rows]
                np.matmul(D, self.weights[layer].T, out=below)
                self._times_slope(below, A)
                D = below
        if self.l2:
            np.multiply(self.theta[: self.n_weights], self.l2, out=self._scratch)
            self.gradient[: self.n_weights] += self._scratch
        return loss, hits

    def mean_loss(self, X: Rows, T: np.ndarray) -> tuple[float, int]:
        """Mean loss without the penalty and hits over any number of rows, in chunks."""
        total, hits = 0.0, 0
        rows = X.shape[0]
        self.reserve(min(rows, _CHUNK))
        for start in range(0, rows, self._capacity):
            part = slice(start, start + self._capacity)
            loss, hit = self.loss(self._forward(X[part]), T[part])
            total, hits = total + loss * len(T[part]), hits + hit
        return total / rows, hits

    def penalty(self) -> float:
        """½ · l2 · Σ ‖W_l‖²."""
        flat = self.theta[: self.n_weights].astype(np.float64)
        return 0.5 * self.l2 * float(flat @ flat)

    def outputs(self, X: Rows) -> np.ndarray:
        """Outputs [rows, n_L] in float64, so that predictions do not depend on the batch's size."""
        weights = [W.astype(np.float64) for W in self.weights]
        found = np.empty((X.shape[0], self.sizes[-1]))
        for start in range(0, X.shape[0], _CHUNK):
            A = X[start : start + _CHUNK].astype(np.float64, copy=False)
            for layer, W in enumerate(weights):
                A = A @ W
                A += self.biases[layer]
                if layer < len(weights) - 1:
                    self._activate(A)
            found[start : start + _CHUNK] = A
        return found

    def flops(self, rows: int) -> int:
        """Floating-point operations of the matrix products in one epoch of ``rows`` rows."""
        products = [a * b for a, b in itertools.pairwise(self.sizes)]
        return 2 * rows * (3 * sum(products) - products[0])

    def _forward(self, X: Rows) -> np.ndarray:
        A, last = X, len(self.weights) - 1
        for layer, W in enumerate(self.weights):
            Z = self._outputs[layer][: X.shape[0]]
            _product(A, W, Z)
            Z += self.biases[layer]
            if layer < last:
                self._activate(Z)
            A = Z
        return A

    def _activate(self, Z: np.ndarray) -> None:
        if self.activation == "relu":
            np.maximum(Z, 0, out=Z)
        elif self.activation == "tanh":
            np.tanh(Z, out=Z)
        else:
            sigmoid(Z)

    def _times_slope(self, D: np.ndarray, A: np.ndarray) -> None:
        """D ← D ⊙ f', from the activations A, which are not needed any more and are overwritten."""
        if self.activation == "relu":
            np.sign(A, out=A)
            D *= A
        elif self.activation == "tanh":
            A *= A
            np.subtract(1, A, out=A)
            D *= A
        else:
            D *= A
            np.subtract(1, A, out=A)
            D *= A


def _product(A: Rows, B: np.ndarray, out: np.ndarray) -> None:
    """A B, written into ``out``."""
    if issparse(A):
        out[:] = A @ B
    else:
        np.matmul(A, B, out=out)
