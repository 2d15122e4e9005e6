"""Which examples go together: batches of a bounded number of tokens with little padding.

All of it is a pure function of (lengths, seed, epoch), so that any position of an epoch can be
reached again without building the batches before it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.cache import offsets_of
from scratchlab.random_streams import ORDER_STREAM, generator

Lengths = NDArray[np.int64]
Shuffle = tuple[int, int] | None  # seed and epoch; None: always the same order
T = TypeVar("T")

# Keeps the random streams of different uses apart that start from the same (seed, epoch).


@dataclass(frozen=True)
class Plan:
    """The batches of an epoch: positions of examples [n] and the bounds of each batch in them."""

    order: NDArray[np.int64]
    bounds: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, position: int) -> NDArray[np.int64]:
        first, last = self.bounds[position]
        return self.order[first:last]


class Plans:
    """What was planned for the latest epoch of each split, so that it is planned only once."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Shuffle, Any]] = {}

    def of(self, split: str, seed: int, epoch: int, make: Callable[[Shuffle], T]) -> T:
        """What ``make`` gives for (seed, epoch); for None, if this is no split that is shuffled."""
        shuffle = (seed, epoch) if split == "train" else None
        if split not in self._kept or self._kept[split][0] != shuffle:
            self._kept[split] = (shuffle, make(shuffle))
        found: T = self._kept[split][1]
        return found


def plan_batches(
    source: Lengths,
    target: Lengths,
    *,
    batch_tokens: int,
    shuffle: Shuffle = None,
    pool_size: int = 1,
) -> Plan:
    """Batches in which ``examples * (longest source + longest target) <= batch_tokens``.

    ``source`` and ``target`` [n] are the lengths of the examples as the model sees them. An example
    that is longer than ``batch_tokens`` alone is a batch of its own.

    With ``shuffle`` = (seed, epoch) the examples are shuffled and cut into pools of ``pool_size``;
    each pool is sorted by length, batches are cut, and the batches are shuffled: a small pool makes
    batches that are more random, a large one batches with less padding. Without
    ``shuffle`` all examples are sorted once by length, the shortest first, and stay so.
    """
    if shuffle is None:
        order = np.lexsort((source + target, np.maximum(source, target)))
        return Plan(order, _cut(source[order], target[order], batch_tokens))
    random = generator(ORDER_STREAM, *shuffle)
    shuffled = random.permutation(len(source))
    pools = []
    for number, first in enumerate(range(0, len(shuffled), pool_size)):
        pool = shuffled[first : first + pool_size]
        # Sorted by target length; the source length rises and falls in turn from one target length
        # to the next, so that neighbours are alike on both sides. Equal pairs stay in random order.
        wave = np.where(target[pool] % 2 == 0, source[pool], -source[pool])
        pool = pool[np.lexsort((wave, target[pool]))]
        # Every other pool runs backwards, so that a batch across the border of two pools is alike.
        pools.append(pool[::-1] if number % 2 else pool)
    order = np.concatenate(pools)
    bounds = _cut(source[order], target[order], batch_tokens)
    return Plan(order, [bounds[i] for i in random.permutation(len(bounds)).tolist()])


def _cut(source: Lengths, target: Lengths, batch_tokens: int) -> list[tuple[int, int]]:
    """Bounds of consecutive batches, each as large as ``batch_tokens`` allows."""
    bounds: list[tuple[int, int]] = []
    first = longest_source = longest_target = 0
    for i, (s, t) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        wider_source, wider_target = max(longest_source, s), max(longest_target, t)
        if i > first and (i - first + 1) * (wider_source + wider_target) > batch_tokens:
            bounds.append((first, i))
            first, wider_source, wider_target = i, s, t
        longest_source, longest_target = wider_source, wider_target
    if len(source):
        bounds.append((first, len(source)))
    return bounds


def padding_share(plan: Plan, source: Lengths, target: Lengths) -> float:
    """The share of padding among all positions of the batches, both sides together, 0 to 1."""
    positions = tokens = 0
    for i in range(len(plan)):
        rows = plan[i]
        positions += len(rows) * int(source[rows].max() + target[rows].max())
        tokens += int(source[rows].sum() + target[rows].sum())
    return 1 - tokens / positions if positions else 0.0


@dataclass(frozen=True)
class Ragged:
    """Sequences of ids of many lengths in one array: ``values`` [total], ``offsets`` [n + 1]."""

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int]]) -> Ragged:
        values, lengths = array("i"), array("q")
        for sequence in sequences:
            values.extend(sequence)
            lengths.append(len(sequence))
        return cls(np.array(values, np.int32), offsets_of(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> list[int]:
        first, last = self.offsets[position : position + 2]
        return list(map(int, self.values[first:last]))

    @property
    def lengths(self) -> Lengths:
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """The sequences at ``rows``, in that order (a sequence may be taken more than once)."""
        lengths = self.lengths[rows]
        offsets = offsets_of(lengths)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Ragged(self.values[np.repeat(self.offsets[:-1][rows], lengths) + within], offsets)

    def joined(self, other: Ragged) -> Ragged:
        """The sequences of both, those of ``other`` behind."""
        offsets = np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]])
        return Ragged(np.concatenate([self.values, other.values]), offsets)

    def where(self, kept: NDArray[np.bool_]) -> Ragged:
        """Those of the sequences for which ``kept`` [n] says so."""
        lengths = self.lengths
        return Ragged(self.values[np.repeat(kept, lengths)], offsets_of(lengths[kept]))

    def shortened(self, longest: int) -> Ragged:
        """The same sequences without what lies beyond ``longest`` ids."""
        lengths = self.lengths
        if not len(lengths) or lengths.max() <= longest:
            return self
        within = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], lengths)
        return Ragged(self.values[within < longest], offsets_of(np.minimum(lengths, longest)))

    def padded(
        self, pad_id: int, *, first: int | None = None, last: int | None = None
    ) -> NDArray[np.int64]:
        """[n, longest] with ``first`` before and ``last`` behind each sequence, then ``pad_id``."""
        lengths = self.lengths
        lead, tail = int(first is not None), int(last is not None)
        result = np.full((len(lengths), int(lengths.max()) + lead + tail), pad_id, dtype=np.int64)
        columns = np.arange(result.shape[1])
        if first is not None:
            result[:, 0] = first
        filled: Any = (columns >= lead) & (columns < (lengths + lead)[:, None])
        result[filled] = self.values
        if last is not None:
            result[np.arange(len(lengths)), lengths + lead] = last
        return result
