"""A figure as a function of what was kept of each example.

Intervals and tests ask one thing only: what would the figure be if each example counted so often?
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from scratchlab.errors import UserError
from scratchlab.evaluation.records import Column
from scratchlab.evaluation.rescoring.scales import PLAIN, Floats, Scale

Columns = Mapping[str, Column]
AT_ONCE = 1 << 22  # weights that are held together


class Statistic(ABC):
    """A figure of ``n`` examples.

    ``scale`` is that of its interval, ``difference`` the one on which two of its kind are
    subtracted. ``shares`` holds a 0 or 1 of each example where it is a mean of those, and
    ``factor`` what that mean is multiplied by; ``bounded_mean``: a mean of numbers between nought
    and the scale's highest.
    """

    n: int
    scale: Scale = PLAIN
    difference: Scale = PLAIN
    shares: Floats | None = None
    factor: float = 1.0
    bounded_mean: bool = False
    enough: bool = True  # examples of each kind that there are, for an interval

    @abstractmethod
    def of(self, weights: Floats) -> Floats:
        """The figure [...] if the examples count as ``weights`` [..., n] says."""

    def value(self) -> float:
        return float(self.of(np.ones(self.n)))

    def without_each(self) -> Floats:
        """The figure without example i, [n]."""
        found, step = np.zeros(self.n), max(1, AT_ONCE // self.n)
        for first in range(0, self.n, step):
            places = np.arange(first, min(first + step, self.n))
            weights = np.ones((len(places), self.n))
            weights[np.arange(len(places)), places] = 0
            found[places] = self.of(weights)
        return found


@dataclass
class Sums(Statistic):
    """A figure of sums: each example adds a row of ``rows`` [n, k] to them, and ``score`` is the
    figure [...] of the sums [..., k]."""

    rows: Floats
    score: Callable[[Floats], Floats]
    scale: Scale = PLAIN
    difference: Scale = PLAIN
    shares: Floats | None = None
    factor: float = 1.0
    bounded_mean: bool = False
    enough: bool = True

    @property
    def n(self) -> int:  # type: ignore[override]
        return len(self.rows)

    def of(self, weights: Floats) -> Floats:
        return self.score(weights @ self.rows)

    def value(self) -> float:
        return float(self.score(self.rows.sum(axis=0)))

    def without_each(self) -> Floats:
        return self.score(self.rows.sum(axis=0) - self.rows)


def column(columns: Columns, name: str) -> Column:
    """A column of the file; UserError if it lacks that."""
    if name not in columns:
        raise UserError(f"has no {name!r} in its lines, which its figures are made of")
    return columns[name]


def numbers(columns: Columns, name: str) -> Floats:
    """The same as numbers; UserError if they are none."""
    try:
        return np.array([float(v) for v in column(columns, name)], dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"holds a {name!r} that is no number") from None
