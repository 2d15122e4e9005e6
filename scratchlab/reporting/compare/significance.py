"""Whether a difference could be chance: tests over examples, and over seeds.

Every test is two-sided and always draws the same numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scratchlab.evaluation.rescoring.contract import Sums
from scratchlab.evaluation.rescoring.scales import Floats

SEED = 12345  # sacrebleu's, so that its p comes out
TRIALS = 10_000  # of approximate randomisation
RESAMPLINGS = 1_000  # of sacrebleu's paired bootstrap
DRAWS = 200_000_000  # weights that are drawn at most
FEWEST = 1_000
SPLITS = 20_000  # ways to share out seeds that are all looked at
AT_ONCE = 1 << 22
DRAWN = 1 << 16  # examples at once: their numbers stay in the processor's cache

Pair = tuple[Sums, Sums]


def mcnemar(ours: Floats, theirs: Floats) -> float:
    """Exact test of two lists of right (1) and wrong (0) answers to the same questions [n].

    Where only one is right, it is either as often if they are equally good (McNemar 1947).
    """
    from scipy.stats import binomtest

    only_ours = int(((ours > 0) & (theirs == 0)).sum())
    only_theirs = int(((theirs > 0) & (ours == 0)).sum())
    both = only_ours + only_theirs
    return 1.0 if both == 0 else float(binomtest(only_ours, both, 0.5).pvalue)


def randomisation(pairs: Sequence[Pair], trials: int = TRIALS) -> list[float]:
    """Approximate randomisation (Noreen 1989; Riezler and Maxwell 2005), as sacrebleu does it: how
    often systems between which the outputs of each example are exchanged by chance differ more.

    ``pairs`` are figures of the same examples, between which the same ones are exchanged.
    """
    n = pairs[0][0].n
    trials = min(trials, max(FEWEST, DRAWS // max(1, n)))
    chosen = np.random.default_rng(SEED).integers(2, size=(trials, n), dtype=bool)
    apart = np.concatenate([theirs.rows - ours.rows for ours, theirs in pairs], axis=1)
    found: list[Floats] = []
    for part in np.array_split(chosen, max(1, chosen.size // AT_ONCE)):
        moved = part.astype(np.float64) @ apart
        differences, place = [], 0
        for ours, theirs in pairs:
            exchanged = moved[:, place : place + ours.rows.shape[1]]
            place += ours.rows.shape[1]
            first = ours.score(ours.rows.sum(axis=0) + exchanged)
            differences.append(np.abs(first - theirs.score(theirs.rows.sum(axis=0) - exchanged)))
        found.append(np.stack(differences))
    return _chances(np.concatenate(found, axis=1), pairs)


def paired_bootstrap(pairs: Sequence[Pair], resamplings: int = RESAMPLINGS) -> list[float]:
    """The paired bootstrap (Koehn 2004), as sacrebleu does it: how often the difference of
    resampled examples is farther from its mean than the difference is from nought."""
    n = pairs[0][0].n
    drawn = np.random.default_rng(SEED).choice(n, size=(resamplings, n), replace=True)
    found: list[Floats] = []
    for part in np.array_split(drawn, max(1, drawn.size // AT_ONCE)):
        weights = _counted(part)
        differences = [np.abs(ours.of(weights) - theirs.of(weights)) for ours, theirs in pairs]
        found.append(np.stack(differences))
    drawn_apart = np.concatenate(found, axis=1)
    return _chances(drawn_apart - drawn_apart.mean(axis=1, keepdims=True), pairs)


def _chances(found: Floats, pairs: Sequence[Pair]) -> list[float]:
    """The share of differences [pairs, trials] that are greater than that of the pair; sums of the
    same numbers are the same."""
    chances = []
    for drawn, (ours, theirs) in zip(found, pairs, strict=True):
        apart = abs(theirs.value() - ours.value())
        least = apart + 1e-12 * max(1.0, apart)
        same = np.array_equal(ours.rows, theirs.rows)
        chances.append(1.0 if same else (int((drawn > least).sum()) + 1) / (len(drawn) + 1))
    return chances


def _counted(drawn: NDArray[np.int64]) -> Floats:
    """How often each of n examples was drawn, [draws, n], of their numbers [draws, n]."""
    draws, n = drawn.shape
    places = drawn + np.arange(0, draws * n, n)[:, None]
    counts = np.bincount(places.ravel(), minlength=draws * n).reshape(draws, n)
    return counts.astype(np.float64)


def studentised_bootstrap(effects: Sequence[Floats], differences: Sequence[float]) -> list[float]:
    """How often resampled examples give a larger t than each difference has (Efron and Tibshirani
    1993, chapter 16).

    ``effects`` holds what each example adds to the differences around their means (n times the
    jackknife's), one array [differences, n] for each independent set of examples. The sets count
    alike, and all differences are asked about the same resamplings.
    """
    rng, apart = np.random.default_rng(SEED), np.array(differences)
    total = sum(part.shape[1] for part in effects)
    draws = min(TRIALS, max(FEWEST, DRAWS // max(1, total)))
    errors = np.sqrt(sum(part.var(axis=1, ddof=1) / part.shape[1] for part in effects))
    means, variances = np.zeros((2, draws, len(apart)))
    for part in effects:
        n, step = part.shape[1], max(1, DRAWN // part.shape[1])
        both = np.concatenate([part, part**2]).T / n
        for first in range(0, draws, step):
            rows = slice(first, min(first + step, draws))
            weights = _counted(rng.integers(n, size=(rows.stop - first, n)))
            mean, square = np.split(weights @ both, 2, axis=1)
            means[rows] += mean
            variances[rows] += np.maximum(square - mean**2, 0.0) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.abs(means) / np.sqrt(variances)  # all alike: an infinite t counts
        above = (drawn >= np.abs(apart) / errors).sum(axis=0)
    tested = (above + 1) / (draws + 1)
    return [float(p) for p in np.where(errors > 0, tested, (apart == 0).astype(np.float64))]


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


def holm(chances: Sequence[float | None]) -> list[float | None]:
    """Each p corrected for the number of tests (Holm 1979); None where there was no test."""
    tested = sorted((p, i) for i, p in enumerate(chances) if p is not None)
    found: list[float | None] = [None] * len(chances)
    least = 0.0
    for rank, (p, i) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p))
        found[i] = least
    return found
