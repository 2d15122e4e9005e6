"""From counts to probabilities: modified Kneser-Ney, add-k and stupid back-off.

Each smoothing turns the levels of :mod:`ngram_counts` into tables of one form: for every n-gram its
log10 probability, and for every context the log10 weight that applies where the context was seen
but the word was not seen after it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.counts import BOS, UNK, IntArray, Level, Stream, find

FloatArray = NDArray[np.float64]

# log10 of a probability of nothing, as ARPA files write it.
NEVER = -99.0
# KenLM's `--discount_fallback`: what is taken off counts of 1, 2, and 3 or more.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


@dataclass
class NGramTable:
    """``keys`` [size] (sorted), ``log_probs`` [size]; ``weights`` [size] of the n-gram as context.

    ``weights`` are empty where nothing reads them: in the highest order, and for stupid back-off.
    All logs are base 10.
    """

    keys: NDArray[np.int64]
    log_probs: FloatArray
    weights: FloatArray


@dataclass
class Tables:
    """The estimated model: ``levels[n - 1]`` is the table of order n.

    ``vocabulary`` counts every number of the model, ``<unk>``, ``<s>`` and ``</s>`` included.
    """

    levels: list[NGramTable]
    vocabulary: int
    smoothing: str
    alpha: float

    def unseen(self, n: int, contexts: IntArray) -> tuple[FloatArray, bool]:
        """log10 score [batch] of a word not seen after ``contexts`` [batch] of n - 1 words.

        A context that was never seen is -1. The flag says whether the score of the order below is
        to be added (back-off) or not (the score is complete).
        """
        if self.smoothing == "stupid_backoff":
            return np.full(len(contexts), np.log10(self.alpha)), True
        interpolated = self.smoothing == "kneser_ney"
        nothing_known = 0.0 if interpolated else -np.log10(self.vocabulary - 1)
        scores = np.full(len(contexts), nothing_known)
        known = contexts >= 0
        scores[known] = self.levels[n - 2].weights[contexts[known]]
        return scores, interpolated

    def extend(self, n: int, contexts: IntArray, words: IntArray) -> IntArray:
        """Numbers [batch] of the n-grams ``context, word``; -1 for one that was not seen."""
        numbers = np.full(len(contexts), -1, dtype=np.int64)
        known = np.flatnonzero(contexts >= 0)
        keys = contexts[known].astype(np.int64) * self.vocabulary + words[known]
        numbers[known] = find(self.levels[n - 1].keys, keys)
        return numbers

    def score(self, stream: Stream) -> FloatArray:
        """log10 probability of each word of ``stream`` that is predicted (all but ``<s>``)."""
        scores = self.levels[0].log_probs[stream.words]
        numbers: IntArray = stream.words
        predicted = stream.depth > 0
        positions = np.flatnonzero(predicted)
        for n in range(2, len(self.levels) + 1):
            positions = positions[stream.depth[positions] >= n - 1]
            contexts = numbers[positions - 1]
            found = self.extend(n, contexts, stream.words[positions])
            fallback, adds = self.unseen(n, contexts)
            if adds:
                fallback += scores[positions]
            seen = found >= 0
            fallback[seen] = self.levels[n - 1].log_probs[found[seen]]
            scores[positions] = fallback
            numbers = np.full(len(stream.words), -1, dtype=np.int64)
            numbers[positions] = found
        return scores[predicted]


def kneser_ney(
    levels: list[Level], vocabulary: int, fallback: bool
) -> tuple[list[NGramTable], NDArray[np.float64], list[int]]:
    """Interpolated modified Kneser-Ney as KenLM's ``lmplz`` estimates it.

    ``levels`` hold adjusted counts. Returns the tables, the discounts [orders, 3] and the orders
    that had to use :data:`FALLBACK_DISCOUNTS`.

    Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1999), eq.
    23 to 26; Heafield et al., "Scalable modified Kneser-Ney language model estimation" (2013). The
    unigrams are interpolated with the uniform distribution over the vocabulary without ``<s>`` but
    with ``<unk>``, which is where the probability of ``<unk>`` comes from.
    """
    tables: list[NGramTable] = []
    rows: list[NDArray[np.float64]] = []
    degenerate: list[int] = []
    below: FloatArray = np.empty(0)
    for n, level in enumerate(levels, 1):
        discounts = _discounts(level.counts, n, fallback) if len(level) else np.zeros(4)
        if discounts is None:
            degenerate.append(n)
            discounts = np.array((0.0, *FALLBACK_DISCOUNTS))
        rows.append(discounts[1:])
        if n == 1:
            taken = discounts[np.minimum(level.counts, 3)]
            kept, everything = level.counts - taken, float(level.counts.sum())
            probs = (kept + taken.sum() / (vocabulary - 1)) / everything
            probs[BOS] = 0.0
        else:
            contexts, size = level.keys // vocabulary, len(levels[n - 2])
            of_suffix = below[level.suffix]
            probs, weight = interpolate(level.counts, contexts, of_suffix, discounts[1:], size)
            tables[-1].weights = _log10(weight)
        tables.append(NGramTable(level.keys, _log10(probs), np.empty(0)))
        below = probs
        level.release()
    if degenerate:
        warnings.warn(
            f"the counts of order {', '.join(map(str, degenerate))} allow no Kneser-Ney discounts "
            f"(a very small or an artificial text); {FALLBACK_DISCOUNTS} are used there",
            stacklevel=3,
        )
    return tables, np.stack(rows), degenerate


def interpolate(
    counts: IntArray, contexts: IntArray, below: FloatArray, discounts: FloatArray, size: int
) -> tuple[FloatArray, FloatArray]:
    """Probabilities [n] of n-grams, and the weight [size] of each context's order below.

    ``counts``, ``contexts`` [n]: how often each was seen, and the number of its context; ``below``
    [n]: the probability of its word in the order below; ``discounts``: those of 1, 2, 3 and more.
    """
    taken = discounts[np.minimum(counts, 3) - 1]
    total = np.bincount(contexts, weights=counts, minlength=size)
    freed = np.bincount(contexts, weights=taken, minlength=size)
    weight = np.divide(freed, total, out=np.ones(size), where=total > 0)
    return (counts - taken) / total[contexts] + weight[contexts] * below, weight


def estimated(counts: IntArray) -> FloatArray:
    """(D1, D2, D3+) from how many n-grams have the counts 1, 2, 3 and 4; none of the first three
    may be missing."""
    of = np.bincount(counts[counts < 5], minlength=5).astype(np.float64)
    share = of[1] / (of[1] + 2 * of[2])
    steps = np.arange(1, 4)
    return steps - (steps + 1) * share * of[2:5] / of[1:4]


def _discounts(counts: IntArray, n: int, fallback: bool) -> FloatArray | None:
    """(0, D1, D2, D3+) of one order; None, or UserError without ``fallback``, if there are none."""
    missing = [j for j in (1, 2, 3) if not (counts == j).any()]
    if missing:
        problem = f"no {n}-gram has the adjusted count {missing[0]}"
    else:
        found = estimated(counts)
        bad = np.flatnonzero((found < 0) | (found > np.arange(1, 4)))
        if len(bad) == 0:
            return np.concatenate(([0.0], found))
        problem = f"the discount of {n}-grams with count {bad[0] + 1} would be {found[bad[0]]:.3g}"
    if fallback:
        return None
    raise UserError(
        f"Kneser-Ney discounts cannot be estimated for order {n}: {problem}",
        "the text is very small or artificial; take discount_fallback=true, a lower order, "
        "or smoothing=add_k",
    )


def add_k(levels: list[Level], vocabulary: int, k: float) -> list[NGramTable]:
    """Lidstone's ``(c(context, word) + k) / (c(context) + k V)`` with plain counts.

    V is the number of words that can be predicted (all but ``<s>``). ``weights`` hold the log
    probability of a word not seen after the context.
    """
    tables: list[NGramTable] = []
    outcomes = vocabulary - 1
    for n, level in enumerate(levels, 1):
        if n == 1:
            probs = (level.counts + k) / (level.counts.sum() + k * outcomes)
            probs[BOS] = 0.0
        else:
            context = level.keys // vocabulary
            total = np.bincount(context, weights=level.counts, minlength=len(levels[n - 2]))
            tables[-1].weights = _log10(k / (total + k * outcomes))
            probs = (level.counts + k) / (total[context] + k * outcomes)
        tables.append(NGramTable(level.keys, _log10(probs), np.empty(0)))
        level.release()
    return tables


def stupid_backoff(levels: list[Level], vocabulary: int) -> list[NGramTable]:
    """Relative frequencies with plain counts (Brants et al., "Large language models in machine
    translation", 2007); the factor ``alpha`` is applied when a score is read.

    The scores are no probabilities. So that an unknown word has a score at all, it counts as seen
    once if the text has no ``<unk>``.
    """
    tables: list[NGramTable] = []
    for n, level in enumerate(levels, 1):
        if n == 1:
            counts = level.counts.astype(np.float64)
            counts[UNK] = max(counts[UNK], 1.0)
            probs = counts / level.counts.sum()
            probs[BOS] = 0.0
        else:
            context = level.keys // vocabulary
            total = np.bincount(context, weights=level.counts, minlength=len(levels[n - 2]))
            probs = level.counts / total[context]
        tables.append(NGramTable(level.keys, _log10(probs), np.empty(0)))
        level.release()
    return tables


def _log10(values: NDArray[np.floating]) -> FloatArray:
    """log10 with nothing as :data:`NEVER`."""
    return np.log10(np.maximum(values, 10.0**NEVER))
