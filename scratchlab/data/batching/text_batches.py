"""Which parts of a running text go into which batch, for training and for exact evaluation.

Training takes blocks at random places (as nanoGPT does), blocks that part the text and are
shuffled, or rows that run on from batch to batch (for recurrent models). All of it is a pure
function of (length, seed, epoch, position).

Evaluation predicts every token of a text exactly once. A text of ``n`` targets is read in windows
of ``context`` targets that start ``stride`` apart; a window counts only the targets that none
before it has counted, so a target has at least ``context - stride`` tokens before it (except at the
start of the text). ``stride = context`` is the cheapest, ``stride = 1`` the most favourable. How
windows share batches changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.cache import offsets_of
from scratchlab.data.batching.plans import Plan, Shuffle
from scratchlab.data.contract import TokenBatch
from scratchlab.random_streams import ORDER_STREAM, generator

Places = NDArray[np.int64]


@dataclass(frozen=True)
class RandomBlocks:
    """``steps`` batches of ``batch`` blocks, each at a place drawn anew; ``n`` targets in all."""

    n: int
    block: int
    batch: int
    steps: int

    def places(self, seed: int, epoch: int, position: int) -> Places:
        """Where the blocks of a batch start [batch]."""
        random = generator(ORDER_STREAM, seed, epoch, position)
        return random.integers(0, self.n - self.block + 1, size=self.batch)


@dataclass(frozen=True)
class ShuffledBlocks:
    """Blocks that part the text, in random order: each token once an epoch, but for the ends.

    Where the first block starts is drawn for each epoch, so that borders move.
    """

    n: int
    block: int
    batch: int

    @property
    def steps(self) -> int:
        return -(-self._blocks // self.batch)

    @property
    def _blocks(self) -> int:
        # One block less than would fit at offset 0, so that the number is the same for any offset.
        return max(1, self.n // self.block - 1)

    def order(self, seed: int, epoch: int) -> Places:
        """Where the blocks of an epoch start, in their order."""
        random = generator(ORDER_STREAM, seed, epoch)
        spare = self.n - self._blocks * self.block
        offset = int(random.integers(0, min(spare, self.block) + 1))
        return offset + self.block * random.permutation(self._blocks)


@dataclass(frozen=True)
class Streams:
    """``batch`` rows that run through equal parts of the text side by side, a block at a time.

    Where the first row starts is drawn for each epoch (less than a block from the start), so that
    the borders between blocks move.
    """

    n: int
    block: int
    batch: int

    @property
    def _spare(self) -> int:
        return min(self.block, self.n // (10 * self.batch))

    @property
    def row(self) -> int:
        """Targets of a row."""
        return (self.n - self._spare) // self.batch

    @property
    def steps(self) -> int:
        return -(-self.row // self.block)

    def places(self, seed: int, epoch: int, position: int) -> tuple[Places, int]:
        """Where the rows of a batch start [batch], and how many targets they hold."""
        offset = int(generator(ORDER_STREAM, seed, epoch).integers(0, self._spare + 1))
        first = position * self.block
        return (
            offset + first + self.row * np.arange(self.batch, dtype=np.int64),
            min(self.block, self.row - first),
        )


@dataclass(frozen=True)
class Windows:
    """The windows that evaluate ``n`` targets; see the module's text."""

    n: int
    context: int
    stride: int

    def __len__(self) -> int:
        if self.n <= self.context:
            return min(1, self.n)
        return 1 + -(-(self.n - self.context) // self.stride)

    def bounds(self, first: int, last: int) -> tuple[Places, Places, Places]:
        """Of windows ``first`` to ``last``: start, first target that counts, end [windows]."""
        number = np.arange(first, last, dtype=np.int64)
        start = number * self.stride
        counted = np.where(number == 0, 0, start + self.context - self.stride)
        return start, counted, np.minimum(start + self.context, self.n)


def stream_windows(n: int, streams: int, warm_up: int) -> Windows:
    """``n`` targets as at most ``streams`` equal windows that overlap by ``warm_up`` targets.

    A recurrent model reads them side by side; the overlap gives it a state before anything counts.
    A short text is read in fewer rows.
    """
    streams = max(1, min(streams, n // (4 * warm_up + 1)))
    length = -(-(n + (streams - 1) * warm_up) // streams)
    return Windows(n, max(1, length), max(1, length - warm_up) if streams > 1 else max(1, length))


def token_batch(
    tokens: NDArray[np.int64],
    targets: NDArray[np.int64],
    indices: Any,
    starts: Any = None,
    positions: Any = None,
    segments: Any = None,
) -> TokenBatch:
    """Arrays as a batch of tensors."""
    import torch  # needed for batches only: describing a data set goes without

    return TokenBatch(
        torch.from_numpy(np.ascontiguousarray(tokens)),
        torch.from_numpy(np.ascontiguousarray(targets)),
        torch.from_numpy(np.array(indices, dtype=np.int64)),
        *(None if a is None else torch.from_numpy(a) for a in (starts, positions, segments)),
    )


def by_length(
    lengths: NDArray[np.int64],
    batch_size: int,
    pool_size: int,
    shuffle: Shuffle = None,
) -> Plan:
    """Batches of ``batch_size`` examples of like length, so that little is padded.

    With ``shuffle`` = (seed, epoch) the examples are shuffled and cut into pools of ``pool_size``;
    each pool is sorted by length and cut into batches, which come in random order, pool after pool.
    (With ``pool_size`` examples an update, by gradient accumulation, an update sees a random sample
    whatever its lengths.) Without ``shuffle`` all examples are sorted once and stay so.
    """
    if shuffle is None:
        order = np.argsort(lengths, kind="stable")
        return Plan(order, _bounds(0, len(order), batch_size))
    random = generator(ORDER_STREAM, *shuffle)
    shuffled = random.permutation(len(lengths))
    bounds: list[tuple[int, int]] = []
    for first in range(0, len(shuffled), pool_size):
        pool = shuffled[first : first + pool_size]
        shuffled[first : first + pool_size] = pool[np.argsort(lengths[pool], kind="stable")]
        batches = _bounds(first, first + len(pool), batch_size)
        bounds += [batches[i] for i in random.permutation(len(batches)).tolist()]
    return Plan(shuffled, bounds)


def _bounds(first: int, last: int, size: int) -> list[tuple[int, int]]:
    return [(a, min(a + size, last)) for a in range(first, last, size)]


def split_lines(
    ids: NDArray[np.int64], line_end: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids [n] without ``line_end``, and the bounds [lines + 1] of the lines in them.

    Without a ``line_end`` all is one line.
    """
    if line_end is None:
        return ids, np.array([0, len(ids)], dtype=np.int64)
    is_end = ids == line_end
    ends = np.flatnonzero(is_end)
    if not len(ends) or ends[-1] != len(ids) - 1:  # the last line has no end
        ends = np.append(ends, len(ids))
    return ids[~is_end], offsets_of(np.diff(ends, prepend=-1) - 1)
