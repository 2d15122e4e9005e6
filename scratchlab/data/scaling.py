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
    """(x - centre) / spread by column; a column without spread becomes 0."""

    centre: Array  # [features]
    spread: Array  # [features], never 0

    def apply(self, X: Array) -> Array:
        """X [rows, features] scaled, in its own dtype."""
        return (X - self.centre.astype(X.dtype)) / self.spread.astype(X.dtype)

    def invert(self, X: Array) -> Array:
        return X * self.spread.astype(X.dtype) + self.centre.astype(X.dtype)

    def to_json(self) -> dict[str, list[float]]:
        return {"centre": self.centre.tolist(), "spread": self.spread.tolist()}

    @staticmethod
    def from_json(content: dict[str, Any]) -> Scaling:
        return Scaling(np.array(content["centre"]), np.array(content["spread"]))


def learn_scaling(X: Array, kind: str) -> Scaling:
    """``standard``: mean 0, deviation 1; ``minmax``: 0 to 1; ``none``: as it is."""
    if kind == "standard":
        centre, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    elif kind == "minmax":
        centre = X.min(axis=0).astype(np.float64)
        spread = X.max(axis=0).astype(np.float64) - centre
    else:
        centre, spread = np.zeros(X.shape[1]), np.ones(X.shape[1])
    return Scaling(centre, np.where(spread > 0, spread, 1.0))
