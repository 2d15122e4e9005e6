"""BPE-dropout over a whole split: each epoch another segmentation of every sentence, seeded.

Drawing a segmentation for each of the 10^6 word occurrences of an epoch would take longer than
training on them. So each distinct word gets a pool of segmentations for the epoch, drawn by the
algorithm of the paper: as many as it occurs, at most ``POOL``; each occurrence takes one of its
word's pool by chance. A rare word (up to ``POOL`` occurrences, nearly all distinct words) is thus
treated as in the paper except that two of its occurrences may share a draw, and a frequent one sees
the paper's distribution over the epochs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.plans import Ragged
from scratchlab.data.tokenizers.learned import Pieces
from scratchlab.random_streams import DROPOUT_STREAM, generator

POOL = 32
DRAWN_AT_ONCE = 1 << 16


class DropoutEncoder:
    """Sentences of one side of a split, encoded anew for each (seed, epoch).

    The ids of a sentence are a pure function of (texts, seed, epoch, its position).
    """

    def __init__(self, tokenizer: Pieces, texts: list[str], probability: float) -> None:
        self._merges = tokenizer.merges
        self._probability = probability
        numbers: dict[str, int] = {}
        self._sentences = Ragged.of(
            [[numbers.setdefault(w, len(numbers)) for w in tokenizer.words(t)] for t in texts]
        )
        self._words = list(numbers)
        counts = np.bincount(self._sentences.values, minlength=len(numbers))
        self._pool_sizes = np.minimum(counts, POOL)

    def encode(self, seed: int, epoch: int, side: int) -> Ragged:
        """The ids of all sentences (``side`` keeps source and target apart)."""
        random = generator(DROPOUT_STREAM, seed, epoch, side)
        pools = self._draw_pools(random)
        # pool entry of every word occurrence, in the order of the text
        first = np.concatenate(([0], np.cumsum(self._pool_sizes)))[:-1]
        words = self._sentences.values
        picked = first[words] + (random.random(len(words)) * self._pool_sizes[words]).astype(
            np.int64
        )
        pieces = pools.take(picked)
        return Ragged(pieces.values, pieces.offsets[self._sentences.offsets])

    def _draw_pools(self, random: np.random.Generator) -> Ragged:
        chance = _numbers(random.spawn(1)[0])
        probability, apply = self._probability, self._merges.apply_dropout
        drawn: list[list[int]] = []
        for word, size in zip(self._words, self._pool_sizes.tolist(), strict=True):
            for _ in range(size):
                drawn.append(apply(word, probability, chance))
        return Ragged.of(drawn)


def _numbers(random: np.random.Generator) -> Iterator[float]:
    while True:
        block: NDArray[np.float64] = random.random(DRAWN_AT_ONCE)
        yield from block.tolist()
