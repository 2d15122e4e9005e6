"""Scaling of features, learnt on the training rows alone and kept with a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SCALES = ("standard", "minmax", "none")


@dataclass(frozen=True)
class Scaling:
    """(x - centre) / spread by column, missing x filled first; columns without spread become 0."""

    centre: Array  # [features]
    spread: Array  # [features], never 0
    fill: Array  # [features], in place of NaN

    def apply(self, X: Array) -> Array:
        """X [rows, features] filled and scaled, in its own dtype."""
        if np.isnan(X).any():
            X = np.where(np.isnan(X), self.fill.astype(X.dtype), X)
        found = X - self.centre.astype(X.dtype)
        found /= self.spread.astype(X.dtype)  # in place: there may be millions of rows
        return found

    def invert(self, X: Array) -> Array:
        return X * self.spread.astype(X.dtype) + self.centre.astype(X.dtype)

    def to_json(self) -> dict[str, list[float]]:
        return {name: values.tolist() for name, values in vars(self).items()}

    @staticmethod
    def from_json(content: dict[str, Any]) -> Scaling:
        centre, spread, fill = (np.array(content[n]) for n in ("centre", "spread", "fill"))
        return Scaling(centre, spread, fill)


def learn_scaling(X: Array, kind: str) -> Scaling:
    """``standard``: mean 0, deviation 1; ``minmax``: 0 to 1; ``none``: as it is.

    Missing values (NaN) are filled with the column's median first (0 if all are missing).
    """
    fill = np.zeros(X.shape[1])
    missing = np.isnan(X)
    if missing.any():
        known = ~missing.all(axis=0)
        fill[known] = np.nanmedian(X[:, known], axis=0)
        X = np.where(missing, fill, X)
    if kind == "standard":
        centre, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    elif kind == "minmax":
        centre = X.min(axis=0).astype(np.float64)
        spread = X.max(axis=0).astype(np.float64) - centre
    else:
        centre, spread = np.zeros(X.shape[1]), np.ones(X.shape[1])
    return Scaling(centre, np.where(spread > 0, spread, 1.0), fill)
