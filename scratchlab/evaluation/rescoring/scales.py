"""Scales on which the errors of a figure are about as large on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _same(values: Floats) -> Floats:
    return values


@dataclass(frozen=True)
class Scale:
    """``to`` and ``back`` turn figures into it and out of it. ``skewed``: single examples may move
    a figure much further up than down. ``highest``: of figures between nought and that."""

    to: Callable[[Floats], Floats] = _same
    back: Callable[[Floats], Floats] = _same
    skewed: bool = False
    highest: float = 1.0


def logarithm(values: Floats) -> Floats:
    """-inf at nought and below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log(values), -np.inf)


PLAIN = Scale()
SKEWED = Scale(skewed=True)
LOG = Scale(logarithm, np.exp)
SKEWED_LOG = Scale(logarithm, np.exp, skewed=True)
# Of a perplexity, whose logarithm (nats by target) is itself a positive mean.
LOG_LOG = Scale(lambda v: logarithm(logarithm(v)), lambda v: np.exp(np.exp(v)))
# Of a determination R²: 1 - R² is a ratio of two sums of squares.
R2 = Scale(lambda v: -logarithm(1 - v), lambda v: 1 - np.exp(-v))
UNIT = Scale(back=lambda v: np.clip(v, 0.0, 1.0))  # as it is, between nought and one
FISHER = Scale(lambda v: np.arctanh(np.clip(v, -0.999999, 0.999999)), np.tanh)  # correlations


def logit(highest: float) -> Scale:
    """Of figures between nought and ``highest``; infinite at both."""

    def to(values: Floats) -> Floats:
        share = values / highest
        return logarithm(share) - logarithm(1 - share)

    return Scale(to, lambda v: highest / (1 + np.exp(-v)), highest=highest)
