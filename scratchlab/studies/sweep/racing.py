"""Racing: a trial whose first runs tell that it will not come up with the best is left at that.

Trials are compared run by run (the same seed, the same fold), since what makes a seed or a fold
hard is hard for all. Over its n runs a trial is behind the best one by a mean difference d; after k
of them it is known as d_k, with a standard error of s·sqrt((n-k)/(n·k)) where s is how much the
differences of one trial vary. That of the finished trials, pooled, is taken for s. (The idea is
that of Maron and Moore's Hoeffding races, 1994, and of Birattari et al.'s F-race, 2002.)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

ERRORS_BEHIND = 3.0
"""Standard errors by which a trial must be behind the best to be given up."""


def is_hopeless(values: Sequence[float], finished: Sequence[Sequence[float]], better: str) -> bool:
    """Whether a trial with these values of its first runs falls behind the best finished trial.

    ``finished``: the values of all runs of other trials, in the same order. Says nothing before
    there are three of them: of fewer it is not known how much differences vary.
    """
    if len(finished) < 3 or not values:
        return False
    sign = 1.0 if better == "lower" else -1.0
    best = min(finished, key=lambda found: sign * statistics.fmean(found))
    behind = [sign * (a - b) for a, b in zip(values, best, strict=False)]
    whole, known = len(best), len(values)
    squares = [
        statistics.variance([a - b for a, b in zip(other, best, strict=True)])
        for other in finished
        if other is not best
    ]
    error = math.sqrt(statistics.fmean(squares) * (whole - known) / (whole * known))
    return known < whole and statistics.fmean(behind) > ERRORS_BEHIND * error
