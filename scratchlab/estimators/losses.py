"""Losses at the output of a network, with their gradients, computed in place.

Each function takes the outputs ``Z`` [rows, outputs] and the targets, **overwrites Z with the
gradient of the mean loss with respect to Z**, and returns the mean loss over the rows and the
number of rows whose class was hit (0 for regression).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Loss = Callable[[np.ndarray, np.ndarray], tuple[float, int]]


def softmax_cross_entropy(Z: np.ndarray, t: np.ndarray) -> tuple[float, int]:
    """-log softmax(Z)[t], t [rows] class numbers; the gradient is (softmax(Z) - onehot(t)) / rows.

    The largest output of each row is subtracted first, so that no exponential overflows.
    """
    rows = np.arange(len(t))
    hits = int((Z.argmax(axis=1) == t).sum())
    Z -= Z.max(axis=1, keepdims=True)
    chosen = Z[rows, t]
    np.exp(Z, out=Z)
    totals = Z.sum(axis=1)
    loss = float((np.log(totals) - chosen).mean(dtype=np.float64))
    Z /= totals[:, None]
    Z[rows, t] -= 1
    Z /= len(t)
    return loss, hits


def logistic_loss(Z: np.ndarray, t: np.ndarray) -> tuple[float, int]:
    """log(1 + e^z) - t·z, t in {0, 1} [rows], Z [rows, 1]; gradient (sigmoid(Z) - t) / rows."""
    z = Z[:, 0]
    hits = int(((z > 0) == (t > 0)).sum())
    loss = float((np.logaddexp(0, z) - t * z).mean(dtype=np.float64))
    sigmoid(Z)
    z -= t
    z /= len(t)
    return loss, hits


def squared_error(Z: np.ndarray, T: np.ndarray) -> tuple[float, int]:
    """½ ‖z - t‖² for T [rows, outputs], mean over the rows; the gradient is (Z - T) / rows."""
    Z -= T
    loss = 0.5 * float(np.einsum("ij,ij->", Z, Z, dtype=np.float64)) / len(Z)
    Z /= len(Z)
    return loss, 0


def sigmoid(Z: np.ndarray) -> None:
    """1 / (1 + e^-z) in place, as ½ (1 + tanh(z/2)), which overflows nowhere."""
    Z *= 0.5
    np.tanh(Z, out=Z)
    Z += 1
    Z *= 0.5


def softmax(Z: np.ndarray) -> np.ndarray:
    """Probabilities [rows, classes] of the outputs Z; Z is overwritten."""
    Z -= Z.max(axis=1, keepdims=True)
    np.exp(Z, out=Z)
    Z /= Z.sum(axis=1, keepdims=True)
    return Z
