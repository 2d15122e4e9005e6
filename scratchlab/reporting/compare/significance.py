"""Whether a difference could be chance: tests over examples, and over seeds.

Every test is two-sided and always draws the same numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from scratchlab.evaluation.rescoring.contract import Sums
from scratchlab.evaluation.rescoring.scales import Floats

SEED = 12345  # sacrebleu's, so that its p comes out
TRIALS = 10_000  # of approximate randomisation
RESAMPLINGS = 1_000  # of sacrebleu's paired bootstrap
DRAWS = 200_000_000  # weights that are drawn at most
FEWEST = 1_000
SPLITS = 20_000  # ways to share out seeds that are all looked at
AT_ONCE = 1 << 22


def mcnemar(ours: Floats, theirs: Floats) -> float:
    """Exact test of two lists of right (1) and wrong (0) answers to the same questions [n].

    Where only one is right, it is either as often if they are equally good (McNemar 1947).
    """
    from scipy.stats import binomtest

    only_ours = int(((ours > 0) & (theirs == 0)).sum())
    only_theirs = int(((theirs > 0) & (ours == 0)).sum())
    both = only_ours + only_theirs
    return 1.0 if both == 0 else float(binomtest(only_ours, both, 0.5).pvalue)


def randomisation(ours: Sums, theirs: Sums, trials: int = TRIALS) -> float:
    """Approximate randomisation (Noreen 1989; Riezler and Maxwell 2005), as sacrebleu does it: how
    often systems between which the outputs of each example are exchanged by chance differ more."""
    if np.array_equal(ours.rows, theirs.rows):
        return 1.0
    rng = np.random.default_rng(SEED)
    a, b = theirs.rows, ours.rows
    chosen = rng.integers(2, size=(trials, len(a)), dtype=bool)
    differences = []
    for part in np.array_split(chosen, max(1, chosen.size // AT_ONCE)):
        taken = part.astype(np.float64)
        first = taken @ (a - b) + b.sum(axis=0)
        second = taken @ (b - a) + a.sum(axis=0)
        differences.append(np.abs(ours.score(first) - ours.score(second)))
    return _exceeding(np.concatenate(differences), abs(theirs.value() - ours.value()))


def paired_bootstrap(ours: Sums, theirs: Sums, resamplings: int = RESAMPLINGS) -> float:
    """The paired bootstrap (Koehn 2004), as sacrebleu does it: how often the difference of
    resampled examples is farther from its mean than the difference is from nought."""
    if np.array_equal(ours.rows, theirs.rows):
        return 1.0
    rng = np.random.default_rng(SEED)
    n = ours.n
    drawn = rng.choice(n, size=(resamplings, n), replace=True)
    differences = []
    for part in np.array_split(drawn, max(1, drawn.size // AT_ONCE)):
        weights = np.stack([np.bincount(row, minlength=n) for row in part]).astype(np.float64)
        differences.append(np.abs(ours.of(weights) - theirs.of(weights)))
    found = np.concatenate(differences)
    return _exceeding(found - found.mean(), abs(theirs.value() - ours.value()))


def _exceeding(found: Floats, difference: float) -> float:
    """The share of differences that are greater; sums of the same numbers are the same."""
    least = difference + 1e-12 * max(1.0, difference)
    return (int((found > least).sum()) + 1) / (len(found) + 1)


def studentised_bootstrap(effects: Sequence[Floats], difference: float) -> float:
    """How often resampled examples give a larger t than the difference has (Efron and Tibshirani
    1993, chapter 16).

    ``effects`` holds what each example adds to the difference around its mean (n times the
    jackknife's), one array for each independent set of examples, whose sets count alike.
    """
    rng = np.random.default_rng(SEED)
    total = sum(len(part) for part in effects)
    draws = min(TRIALS, max(FEWEST, DRAWS // max(1, total)))
    error = math.sqrt(sum(float(part.var(ddof=1)) / len(part) for part in effects))
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    means, variances = np.zeros(draws), np.zeros(draws)
    for part in effects:
        n = len(part)
        both = np.stack([part, part**2], axis=1)
        for first in range(0, draws, max(1, AT_ONCE // n)):
            rows = slice(first, min(first + max(1, AT_ONCE // n), draws))
            weights = rng.multinomial(n, np.full(n, 1 / n), size=rows.stop - rows.start)
            mean, square = (weights @ both / n).T
            means[rows] += mean
            variances[rows] += np.maximum(square - mean**2, 0.0) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.abs(means) / np.sqrt(variances)  # all alike: an infinite t counts
    return (int((drawn >= abs(difference) / error).sum()) + 1) / (draws + 1)


def permutation(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many of all ways to share out the figures of runs over two rows make their means differ
    as much (Fisher 1935); of very many ways, of some that are drawn."""
    values = np.array([*ours, *theirs])
    k, n = len(ours), len(values)
    observed = abs(np.mean(ours) - np.mean(theirs)) * (1 - 1e-12)
    if math.comb(n, k) <= SPLITS:
        chosen = np.zeros((math.comb(n, k), n))
        for row, places in enumerate(itertools.combinations(range(n), k)):
            chosen[row, list(places)] = 1
        return float((_apart(chosen, values, k) >= observed).mean())
    rng = np.random.default_rng(SEED)
    orders = rng.permuted(np.tile(np.arange(n), (SPLITS, 1)), axis=1)
    found = _apart((orders < k).astype(np.float64), values, k)
    return (int((found >= observed).sum()) + 1) / (SPLITS + 1)


def _apart(chosen: Floats, values: Floats, k: int) -> Floats:
    return np.abs(chosen @ values / k - (1 - chosen) @ values / (len(values) - k))


def sign_flips(differences: Sequence[float]) -> float:
    """The same for runs in pairs (on the same fold of the data): each pair may be exchanged."""
    values = np.array(differences)
    n, observed = len(values), abs(float(np.mean(values))) * (1 - 1e-12)
    if 2**n <= SPLITS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=n)))
        return float((np.abs(signs @ values) / n >= observed).mean())
    signs = np.random.default_rng(SEED).choice((-1.0, 1.0), size=(SPLITS, n))
    return (int((np.abs(signs @ values) / n >= observed).sum()) + 1) / (SPLITS + 1)


def holm(chances: Sequence[float | None]) -> list[float | None]:
    """Each p corrected for the number of tests (Holm 1979); None where there was no test."""
    tested = sorted((p, i) for i, p in enumerate(chances) if p is not None)
    found: list[float | None] = [None] * len(chances)
    least = 0.0
    for rank, (p, i) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p))
        found[i] = least
    return found
