"""The character n-grams of a word and their buckets, as fastText and gensim number them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

START, END = "<", ">"
OFFSET_BASIS, PRIME, MASK = 2166136261, 16777619, 0xFFFFFFFF


def ngram_hashes(word: str, shortest: int, longest: int) -> list[int]:
    """FNV-1a (32 bits) of each n-gram of ``<word>``, in the order of their places.

    An n-gram is ``shortest`` to ``longest`` characters of UTF-8, never half of one; ``<`` or ``>``
    alone is none. Bytes are read as signed, as the reference implementation does: from 128 on a
    byte fills the upper 24 bits with ones.
    """
    characters = [c.encode() for c in f"{START}{word}{END}"]
    found = []
    for first in range(len(characters)):
        value = OFFSET_BASIS
        for n, character in enumerate(characters[first : first + longest], 1):
            for byte in character:
                value ^= byte if byte < 128 else byte | 0xFFFFFF00
                value = value * PRIME & MASK
            alone = n == 1 and first in (0, len(characters) - 1)
            if n >= shortest and not alone:
                found.append(value)
    return found


def rows_of_words(
    words: Sequence[str], shortest: int, longest: int, buckets: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The rows of each word: its own, then those of its n-grams.

    Only buckets that a word uses have a row; rows are numbered words first, then used buckets in
    rising order. Returns where each word's rows begin [words + 1], the rows, the used buckets.
    """
    each = [
        [h % buckets for h in ngram_hashes(word, shortest, longest)] if buckets else []
        for word in words
    ]
    flat = np.fromiter((b for bs in each for b in bs), dtype=np.int64)
    used, places = np.unique(flat, return_inverse=True)
    lengths = np.array([1 + len(bs) for bs in each], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.empty(int(starts[-1]), dtype=np.int32)
    own = np.zeros(len(rows), dtype=bool)
    own[starts[:-1]] = True
    rows[own] = np.arange(len(words))
    rows[~own] = len(words) + places
    return starts, rows, used


@dataclass(frozen=True)
class NGramRows:
    """Makes a vector of a word that was never seen: the mean of the rows of its n-grams.

    ``used`` [n] are the buckets that have a row, rising, ``rows`` [n, dimensions] the rows.
    """

    used: NDArray[np.int64]
    rows: NDArray[np.float32]
    shortest: int
    longest: int
    buckets: int

    def __call__(self, word: str) -> NDArray[np.float32] | None:
        """None if none of the word's n-grams has a row."""
        if not len(self.used):
            return None
        hashes = ngram_hashes(word, self.shortest, self.longest)
        wanted = np.array([h % self.buckets for h in hashes], dtype=np.int64)
        places = np.searchsorted(self.used, wanted)
        places[places == len(self.used)] = 0
        places = places[self.used[places] == wanted]
        return self.rows[places].mean(axis=0) if len(places) else None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """What decides the bucket of an n-gram."""
        return self.shortest, self.longest, self.buckets
