"""Counting n-grams in sorted integer arrays: no Python loop over n-grams or over tokens.

A *stream* is the whole text as one array: every sentence as ``<s> w1 … wm </s>``, one after the
other. The n-grams of one order are numbered 0, 1, 2 … in the order of their keys, and the key of an
n-gram is ``number of its first n-1 words × vocabulary size + its last word``. A key therefore needs
only 64 bits whatever the order is, all words that follow one context lie side by side, and one
binary search a level finds an n-gram.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchlab.errors import UserError

IntArray = NDArray[np.integer]

# Numbers that the model itself uses; the words seen in training follow from FIRST_WORD on.
UNK, BOS, EOS, FIRST_WORD = 0, 1, 2, 3
MARKERS = ("<unk>", "<s>", "</s>")


@dataclass
class Stream:
    """Text as the model reads it: ``words`` [length] with ``<s>`` and ``</s>`` in their places.

    ``depth`` [length] is each position's distance from the ``<s>`` of its sentence, so an n-gram
    that ends at a position lies within the sentence exactly if ``depth >= n - 1``.
    """

    words: NDArray[np.int32]
    depth: NDArray[np.int32]


@dataclass
class Level:
    """The distinct n-grams of one order, sorted by key.

    ``keys`` [size] int64; ``suffix`` [size]: number of the n-gram without its first word, one level
    below; ``counts`` [size]. At the first level the key is the word, ``suffix`` is empty.
    """

    keys: NDArray[np.int64]
    suffix: IntArray
    counts: IntArray

    def __len__(self) -> int:
        return len(self.keys)

    def release(self) -> None:
        """Drop everything but the keys, once it has been turned into probabilities."""
        self.suffix = self.counts = np.empty(0, dtype=np.int32)


def check_text(
    tokens: ArrayLike, offsets: ArrayLike, where: str
) -> tuple[IntArray, NDArray[np.int64]]:
    """``tokens`` [n] and sentence bounds ``offsets`` [sentences + 1] as arrays; UserError if wrong.

    Sentence ``i`` is ``tokens[offsets[i] : offsets[i + 1]]``; it may be empty.
    """
    ids, bounds = np.asarray(tokens), np.asarray(offsets)
    ids = ids.astype(np.int64) if ids.size == 0 else ids
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise UserError(
            f"{where}: tokens must be a one-dimensional array of integers, "
            f"not {ids.dtype} of shape {ids.shape}"
        )
    if bounds.ndim != 1 or not np.issubdtype(bounds.dtype, np.integer) or len(bounds) < 2:
        raise UserError(
            f"{where}: there is no sentence",
            "offsets must hold the start of each sentence and the end of the last, as integers",
        )
    bounds = bounds.astype(np.int64)
    if bounds[0] != 0 or bounds[-1] != len(ids) or np.any(np.diff(bounds) < 0):
        raise UserError(
            f"{where}: offsets must begin with 0, never fall, and end with the number of tokens "
            f"({len(ids)}); these begin with {bounds[0]} and end with {bounds[-1]}"
        )
    if len(ids) and int(ids.min()) < 0:
        raise UserError(f"{where}: token ids must not be negative; the smallest is {ids.min()}")
    return ids, bounds


def flatten(sentences: Sequence[Sequence[str]]) -> tuple[list[str], NDArray[np.int64]]:
    """Sentences as one flat list of tokens and the offsets of the sentences in it."""
    for number, sentence in enumerate(sentences):
        if isinstance(sentence, str):
            raise UserError(
                f"sentence {number} is a string, not a list of tokens: {sentence[:40]!r}",
                "split it into tokens first, for example with .split()",
            )
    lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
    return list(chain.from_iterable(sentences)), np.concatenate(([0], np.cumsum(lengths)))


def build_stream(words: IntArray, offsets: NDArray[np.int64]) -> Stream:
    """Put ``<s>`` and ``</s>`` around every sentence of ``words`` (the model's own numbers)."""
    sentences = len(offsets) - 1
    pairs = 2 * np.arange(sentences, dtype=np.int64)
    begins, ends = offsets[:-1] + pairs, offsets[1:] + pairs + 1
    stream = np.full(len(words) + 2 * sentences, -1, dtype=np.int32)
    stream[begins] = BOS
    stream[ends] = EOS
    stream[stream < 0] = words
    depth = np.arange(len(stream), dtype=np.int64)
    depth -= np.repeat(begins, ends - begins + 1)
    return Stream(stream, depth.astype(np.int32))


def _smallest(limit: int) -> np.dtype[np.signedinteger]:
    """The integer type for positions and counts below ``limit``."""
    return np.dtype(np.int32) if limit < 2**31 else np.dtype(np.int64)


def rank(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], IntArray, IntArray]:
    """Distinct ``keys`` in order, the rank of every key [n], and where each first occurs.

    What ``np.unique`` gives, but sorted as key and position packed into one integer where both fit
    in 63 bits: several times faster than sorting the positions by key.
    """
    n = len(keys)
    index_type = _smallest(n)
    position_bits = max(n - 1, 1).bit_length()
    largest = int(keys.max(initial=0))
    if largest.bit_length() + position_bits <= 63:
        packed = (keys << position_bits) | np.arange(n, dtype=np.int64)
        packed.sort()
        positions = (packed & ((1 << position_bits) - 1)).astype(index_type)
        packed >>= position_bits
        ordered = packed
    else:
        positions = np.argsort(keys, kind="stable").astype(index_type)
        ordered = keys[positions]
    new = np.empty(n, dtype=bool)
    new[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    ranks: IntArray = np.empty(n, dtype=index_type)
    ranks[positions] = np.cumsum(new, dtype=index_type) - 1
    return ordered[new], ranks, positions[new]


def count_ngrams(stream: Stream, order: int, vocabulary: int, adjusted: bool) -> list[Level]:
    """All n-grams of orders 1 … ``order`` within sentences: one level an order, perhaps empty.

    With ``adjusted``, the counts below the highest order are Kneser and Ney's: the number of
    distinct words (``<s>`` among them) seen before the n-gram. An n-gram that begins with ``<s>``
    has nothing before it and keeps its plain count; so does, for that reason, the highest order.
    ``<s>`` itself is never predicted, so its own count is 0.
    """
    predicted = stream.words[stream.depth > 0]
    # A count is at most the number of positions, so it fits where a position does.
    small = _smallest(len(stream.words))
    counts = np.bincount(predicted, minlength=vocabulary).astype(small)
    empty = np.empty(0, dtype=np.int32)
    levels = [Level(np.arange(vocabulary, dtype=np.int64), empty, counts)]
    ids: IntArray = stream.words
    positions = np.flatnonzero(stream.depth > 0)
    for n in range(2, order + 1):
        positions = positions[stream.depth[positions] >= n - 1]
        keys = ids[positions - 1].astype(np.int64)
        keys *= vocabulary
        keys += stream.words[positions]
        unique, ranks, first = rank(keys)
        del keys
        suffix = ids[positions[first]]
        level = Level(unique, suffix, np.bincount(ranks).astype(small))
        if adjusted:
            below = levels[-1]
            left = np.bincount(suffix, minlength=len(below)).astype(small)
            below.counts = np.where(left > 0, left, below.counts)
        levels.append(level)
        if n < order:
            following = np.full(len(ids), -1, dtype=ranks.dtype)
            following[positions] = ranks
            ids = following
    return levels


def find(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> IntArray:
    """The number of each ``wanted`` key among the sorted ``keys``, -1 where it is not there.

    The wanted keys are looked up in rising order, which keeps the binary search in the cache.
    """
    found = np.full(len(wanted), -1, dtype=np.int64)
    if len(keys) == 0 or len(wanted) == 0:
        return found
    order = np.argsort(wanted)
    rising = wanted[order]
    places = np.searchsorted(keys, rising)
    places[places == len(keys)] = 0
    found[order] = np.where(keys[places] == rising, places, -1)
    return found
