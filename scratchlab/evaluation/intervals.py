"""95 % confidence intervals: what other examples of the same kind would leave open.

They stay within what a score can be, and cover what they say of few examples too: a test draws
thousands of samples from known populations. A share has Wilson's interval. Any other figure has
that of the jackknife (Quenouille 1956, Tukey 1958): it is made again without each example in turn,
and how far those figures scatter tells its standard error, with Student's t for how well that is
known. The scale is one on which errors are about as large on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scratchlab.evaluation.contract import Measurement
from scratchlab.evaluation.rescoring.classes import RankCorrelation
from scratchlab.evaluation.rescoring.contract import Statistic
from scratchlab.evaluation.rescoring.scales import Floats, Scale

Z = 1.959964
FEW = 10  # examples: of fewer the jackknife says little

WILSON = "95 % interval (Wilson)"
BOUNDED = "95 % interval (Wilson's bound, since few scores vary)"
JACKKNIFE = "95 % interval (jackknife, Student's t)"
FISHER = "95 % interval (Fisher's z)"


class Interval(NamedTuple):
    """Two ends, and how they were found."""

    low: float
    high: float
    how: str


def bootstrap(resamplings: int) -> str:
    """What an interval is called that was found by so many resamplings."""
    return f"95 % interval (bootstrap, {resamplings:,} samples)"


def give(measured: Measurement, statistic: Statistic) -> None:
    """Give a measurement the interval of its statistic, if there is one."""
    if (found := interval(statistic)) is not None:
        measured.low, measured.high, measured.interval = found


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


def fisher(correlation: float, n: int) -> Interval | None:
    """Of Spearman's correlation of ``n`` pairs: Fisher's z with Bonett and Wright's variance
    (2000)."""
    if n < 4:
        return None
    z = math.atanh(max(-0.999999, min(0.999999, correlation)))
    half = Z * math.sqrt((1 + correlation**2 / 2) / (n - 3))
    return Interval(math.tanh(z - half), math.tanh(z + half), FISHER)


def difference_of_shares(ours: Floats, theirs: Floats) -> tuple[float, float]:
    """Ends for the difference of two shares of right answers (1) to the same questions [n]: the
    large-sample interval after half a question is added to each of the four outcomes (Agresti and
    Min 2005)."""
    n = len(ours) + 2
    only_ours = float(((ours > 0) & (theirs == 0)).sum()) + 0.5
    only_theirs = float(((theirs > 0) & (ours == 0)).sum()) + 0.5
    apart = (only_ours - only_theirs) / n
    half = Z * math.sqrt(only_ours + only_theirs - (only_ours - only_theirs) ** 2 / n) / n
    return max(-1.0, apart - half), min(1.0, apart + half)


def interval(statistic: Statistic) -> Interval | None:
    """The interval of a figure; None where too few examples, or all alike, say nothing.

    No mean of numbers within bounds varies more than a share does: where the scores of a mean are
    few or hardly vary (a ROUGE-2 of 0 for all texts), Wilson's interval holds.
    """
    if statistic.shares is not None:
        if not len(statistic.shares):
            return None
        low, high = wilson(float(statistic.shares.sum()), len(statistic.shares))
        return Interval(low * statistic.factor, high * statistic.factor, WILSON)
    if isinstance(statistic, RankCorrelation):
        return fisher(statistic.value(), statistic.n)
    found = jackknife(statistic) if statistic.n >= FEW and statistic.enough else None
    if found is None and statistic.bounded_mean:
        share = min(1.0, max(0.0, statistic.value() / statistic.scale.highest))
        low, high = wilson(share * statistic.n, statistic.n)
        return Interval(low * statistic.scale.highest, high * statistic.scale.highest, BOUNDED)
    return found


def jackknife(statistic: Statistic) -> Interval | None:
    """Student's t around a figure on its scale; None where it does not vary there."""
    scale = statistic.scale
    ends = student(*effects(statistic, scale), skewed=scale.skewed)
    if ends is None:
        return None
    low, high = scale.back(np.array(ends))
    return Interval(float(low), float(high), JACKKNIFE)


def effects(statistic: Statistic, scale: Scale) -> tuple[float, list[Floats]]:
    """A figure on a scale, and what each of its examples does to it there (in a list, since
    figures of several sets of examples may be joined)."""
    value, others = scale.to(np.array(statistic.value())), scale.to(statistic.without_each())
    with np.errstate(invalid="ignore"):  # a figure at an end of its scale: student() finds it
        return float(value), [others.mean() - others]


def student(
    value: float, off: Sequence[Floats], *, skewed: bool = False
) -> tuple[float, float] | None:
    """Ends of the interval of a figure that independent sets of examples add to: ``off`` [n] of
    each is what its examples do to it. None where that is nothing, or no number."""
    if not math.isfinite(value) or not all(np.isfinite(part).all() for part in off):
        return None
    error = standard_error(off)
    if error <= 1e-12 * max(1.0, abs(value)):
        return None
    from scipy.stats import t

    below = above = float(t.ppf(0.975, sum(len(part) - 1 for part in off)))
    if skewed:
        below, above = hall(below, off[0]), -hall(-above, off[0])
    return value - below * error, value + above * error


def standard_error(off: Sequence[Floats]) -> float:
    """Of a figure, from what leaving out each example does to it."""
    return math.sqrt(sum((len(p) - 1) / len(p) * float((p**2).sum()) for p in off))


def hall(t: float, off: Floats) -> float:
    """``t`` corrected for the skewness of what single examples do (Hall 1992, "On the removal of
    skewness by transformation"), the inverse of t + γ t² / 3 + γ² t³ / 27 + γ / 6 with γ = the
    skewness / √n."""
    squares = float((off**2).mean())
    skewness = float((off**3).mean()) / squares**1.5 / math.sqrt(len(off))
    if abs(skewness) < 1e-8:
        return t
    return float(np.cbrt(1 + skewness * (t - skewness / 6)) - 1) * 3 / skewness
