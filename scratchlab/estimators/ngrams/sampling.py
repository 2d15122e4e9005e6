"""Text from an n-gram model: the distribution after a context, and sampling from it in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scratchlab.estimators.ngrams.counts import BOS, EOS, UNK, IntArray
from scratchlab.estimators.ngrams.smoothing import FloatArray, Tables

# Sequences sampled at once: bounds the [batch, vocabulary] array of probabilities.
BATCH = 64


class Walk:
    """A batch of texts in progress. ``contexts[n - 1]`` [batch] numbers each one's last n words."""

    def __init__(self, tables: Tables, batch: int) -> None:
        self.tables = tables
        self.depth = 0
        self.contexts: list[IntArray] = [
            np.full(batch, -1, dtype=np.int64) for _ in range(max(len(tables.levels) - 1, 1))
        ]
        self.contexts[0] = np.full(batch, BOS, dtype=np.int64)
        self._unigrams = 10.0 ** tables.levels[0].log_probs
        self._unigrams[BOS] = 0.0

    def advance(self, words: IntArray) -> None:
        """Append one of ``words`` [batch] to each text."""
        for n in range(len(self.contexts), 1, -1):
            self.contexts[n - 1] = self.tables.extend(n, self.contexts[n - 2], words)
        self.contexts[0] = words
        self.depth += 1

    def distribution(self) -> FloatArray:
        """Probability [batch, vocabulary] of every next word.

        Stupid back-off's scores are divided by their sum, the other two sum to one by themselves.
        """
        batch, vocabulary = len(self.contexts[0]), self.tables.vocabulary
        probs = np.tile(self._unigrams, (batch, 1))
        for n in range(2, min(len(self.tables.levels), self.depth + 2) + 1):
            contexts = self.contexts[n - 2]
            fallback, adds = self.tables.unseen(n, contexts)
            if not adds:
                probs.fill(1.0)
            probs *= 10.0 ** fallback[:, None]
            level = self.tables.levels[n - 1]
            known = np.flatnonzero(contexts >= 0)
            begins = np.searchsorted(level.keys, contexts[known] * vocabulary)
            ends = np.searchsorted(level.keys, (contexts[known] + 1) * vocabulary)
            lengths = ends - begins
            shift = np.repeat(begins - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
            children = shift + np.arange(len(shift))
            rows = np.repeat(known, lengths)
            probs[rows, level.keys[children] % vocabulary] = 10.0 ** level.log_probs[children]
        probs[:, BOS] = 0.0
        if self.tables.smoothing == "stupid_backoff":
            probs /= probs.sum(axis=1, keepdims=True)
        return probs


def sample(
    tables: Tables,
    prefix: IntArray,
    draws: NDArray[np.float64],
    temperature: float,
    unknown: bool,
) -> list[IntArray]:
    """Continue ``prefix`` (the model's numbers, after ``<s>``) once for every row of ``draws``.

    ``draws`` [texts, length] are uniform in [0, 1): one decides one word. A text ends before its
    ``</s>`` or after ``length`` words. Without ``unknown``, ``<unk>`` is never drawn.
    Temperature 0 takes the most probable word.
    """
    texts: list[IntArray] = []
    for part in (draws[begin : begin + BATCH] for begin in range(0, len(draws), BATCH)):
        walk = Walk(tables, len(part))
        for word in prefix:
            walk.advance(np.full(len(part), word, dtype=np.int64))
        written = np.full(part.shape, EOS, dtype=np.int64)
        running = np.arange(len(part))
        for step in range(part.shape[1]):
            probs = walk.distribution()
            if not unknown:
                probs[:, UNK] = 0.0
            words = _choose(probs, part[running, step], temperature)
            written[running, step] = words
            going = words != EOS
            running = running[going]
            if len(running) == 0:
                break
            walk.contexts = [contexts[going] for contexts in walk.contexts]
            walk.advance(words[going])
        lengths = np.cumprod(written != EOS, axis=1).sum(axis=1)
        texts += [row[:length] for row, length in zip(written, lengths, strict=True)]
    return texts


def _choose(probs: FloatArray, draws: NDArray[np.float64], temperature: float) -> IntArray:
    """One word [batch] per row of ``probs`` [batch, vocabulary]."""
    if temperature == 0.0:
        return np.argmax(probs, axis=1)
    if temperature != 1.0:
        # Divided by the largest first: a small temperature must not underflow every word.
        probs = (probs / probs.max(axis=1, keepdims=True)) ** (1.0 / temperature)
    totals = np.cumsum(probs, axis=1)
    # The first word whose running total exceeds the draw; a word of probability 0 never does. A
    # draw next to 1 must not round up to the whole total, which nothing exceeds.
    limits = np.minimum(draws * totals[:, -1], np.nextafter(totals[:, -1], 0.0))
    return np.argmax(totals > limits[:, None], axis=1)
