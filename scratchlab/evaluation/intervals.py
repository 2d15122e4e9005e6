"""95 % confidence intervals that stay within what a score can be.

A half width around the mean says that a share of 0 may be below 0, and that a score which is the
same for every text is certain. These intervals have ends of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.96
RESAMPLINGS = 1000
FEW = 10  # texts or rows: of fewer, resamplings say nothing

WILSON = "95 % interval (Wilson)"
BOUNDED = "95 % interval (Wilson's bound, since few scores vary)"


def bootstrap(resamplings: int) -> str:
    """What an interval is called that was found by so many resamplings."""
    return f"95 % interval (bootstrap, {resamplings:,} samples)"


BOOTSTRAP = bootstrap(RESAMPLINGS)


def wilson(hits: float, n: int, z: float = Z) -> tuple[float, float]:
    """Ends of the score interval of ``hits`` / ``n``: all shares that the observation does not
    contradict at ``z`` standard errors (Wilson 1927, "Probable inference")."""
    p = hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the two halves cancel exactly, on paper.
    return (0.0 if hits == 0 else max(0.0, centre - half)), (
        1.0 if hits == n else min(1.0, centre + half)
    )


def mean_interval(scores: NDArray[Any], highest: float) -> tuple[float, float, str]:
    """Low and high end for the mean of ``scores`` [n] between 0 and ``highest``, and how it came.

    Percentiles of resampled means (Efron 1979), always the same ones for the same scores. Where
    scores are few or hardly vary (a ROUGE-2 of 0 for all texts), resampling finds nothing: no
    mean of numbers within bounds varies more than a share does, so Wilson's interval holds.
    """
    n = len(scores)
    if n < FEW or np.ptp(scores) < 1e-9 * highest:
        low, high = wilson(float(np.clip(scores.mean() / highest, 0, 1)) * n, n)
        return low * highest, high * highest, BOUNDED
    # The draws depend on n alone: what is measured on the same texts is resampled alike.
    means = resampled(n, lambda rows: scores[rows].mean())
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high), BOOTSTRAP


def resampled(n: int, measure: Callable[[NDArray[np.int64]], Any]) -> NDArray[Any]:
    """``measure`` of the row numbers of each resampling [RESAMPLINGS, …]."""
    rng = np.random.default_rng(n)
    return np.array([measure(rng.integers(0, n, n)) for _ in range(RESAMPLINGS)])
