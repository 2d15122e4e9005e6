"""Which tokens of a text are masked words, and what stands in their place (Devlin et al. 2019).

Of the tokens of a text a share is predicted (at least one). In most of these places stands the
mask, in some any token, and some are left as they are, so that a model must have an opinion on
every token (section 3.1 there: 15 %; of these 80, 10 and 10 %).

All of it is drawn anew for each epoch, as a function of a key and the number of an example alone:
whatever the batches are, and wherever training goes on, an example is masked in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.contract import IGNORE

Ints = NDArray[np.int64]
GOLDEN = np.array(0x9E3779B97F4A7C15, dtype=np.uint64)
STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Masking:
    """Shares: of the tokens that are predicted; of these, that the mask and that any token replace.

    ``whole_words``: the pieces of a word are masked together or not at all.
    """

    share: float = 0.15
    masked: float = 0.8
    replaced: float = 0.1
    whole_words: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs of a tokenizer: the mask, the ids that stand for any token, those that are
    never masked (ends, padding), and [V] whether a token begins a word (None: all do)."""

    mask_id: int
    ordinary: Ints
    fixed: Ints
    starts: NDArray[np.bool_] | None = None


def chances(key: tuple[int, ...], examples: Ints, width: int) -> NDArray[np.float64]:
    """[examples, width] numbers from 0 to 1: each a function of key, example and column.

    SplitMix64 (Steele, Lea and Flood 2014), which needs no state that goes from one to the next.
    """
    start = np.random.SeedSequence([abs(k) for k in key]).generate_state(1, np.uint64)
    rows = _mixed(start + examples.astype(np.uint64) * GOLDEN)
    state = _mixed(rows[:, None] + np.arange(1, width + 1, dtype=np.uint64) * GOLDEN)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, factor in STEPS:
        z = (z ^ (z >> np.uint64(shift))) * np.array(factor, dtype=np.uint64)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def mask_tokens(
    ids: Ints, examples: Ints, key: tuple[int, ...], masking: Masking, vocabulary: Vocabulary
) -> tuple[Ints, Ints]:
    """ids [n, T] of the texts ``examples`` [n] → what a model reads and what it predicts, [n, T]
    each; ``IGNORE`` where nothing is to be predicted."""
    free = ~np.isin(ids, vocabulary.fixed)
    order, what, which = np.moveaxis(
        chances(key, examples, 3 * ids.shape[1]).reshape(*ids.shape, 3), 2, 0
    )
    first: Any = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)  # of the word of each token
    if masking.whole_words and vocabulary.starts is not None:
        after_fixed = np.pad(~free, ((0, 0), (1, 0)), constant_values=True)[:, :-1]
        begins = vocabulary.starts[ids] | ~free | after_fixed
        first = np.maximum.accumulate(np.where(begins, first, 0), 1)
        order = np.take_along_axis(order, first, 1)
    order = np.where(free, order, np.inf)
    rank = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1, kind="stable")
    there = free.sum(1)
    wanted = np.minimum(there, np.maximum(1, np.rint(masking.share * there)))
    # a word that is begun is masked to its end
    chosen = free & (np.take_along_axis(rank, first, 1) < wanted[:, None])
    some = vocabulary.ordinary[(which * len(vocabulary.ordinary)).astype(np.int64)]
    put = np.where(what < masking.masked + masking.replaced, some, ids)
    put = np.where(what < masking.masked, vocabulary.mask_id, put)
    return np.where(chosen, put, ids), np.where(chosen, ids, IGNORE)
