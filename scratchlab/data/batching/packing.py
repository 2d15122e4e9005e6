"""Several examples in one row, so that nothing of a batch is padding (Krell et al. 2021).

Every token is marked with the number of its example and its position in it; attention then stays
within an example, and losses and gradients are those of the examples one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.plans import Lengths
from scratchlab.data.contract import IGNORE, TokenBatch
from scratchlab.random_streams import ORDER_STREAM, generator

Row = list[int]


def pack(
    lengths: Lengths,
    *,
    capacity: int,
    batch_tokens: int,
    shuffle: tuple[int, int],
    pool_size: int,
) -> list[list[Row]]:
    """The batches of an epoch: rows of examples that fill up to ``capacity`` tokens together.

    The examples are shuffled by (seed, epoch) and cut into pools; in each, the longest comes first
    and goes into the fullest row that has room (best fit, decreasing). Rows then share batches of
    at most ``batch_tokens`` (at least one row), in random order.
    """
    random = generator(ORDER_STREAM, *shuffle)
    shuffled = random.permutation(len(lengths))
    rows: list[Row] = []
    for first in range(0, len(shuffled), pool_size):
        pool = shuffled[first : first + pool_size]
        rows += _best_fit(pool[np.argsort(-lengths[pool], kind="stable")], lengths, capacity)
    order = random.permutation(len(rows)).tolist()
    size = max(1, batch_tokens // capacity)
    return [[rows[i] for i in order[a : a + size]] for a in range(0, len(order), size)]


def _best_fit(examples: NDArray[np.int64], lengths: Lengths, capacity: int) -> list[Row]:
    rows: list[Row] = []
    room: list[int] = []
    for example in examples.tolist():
        length = int(lengths[example])
        fitting = [(room[i], i) for i in range(len(rows)) if room[i] >= length]
        if fitting:
            left, i = min(fitting)
            rows[i].append(example)
            room[i] = left - length
        else:
            rows.append([example])
            room.append(capacity - length)
    return rows


def packed_batch(
    rows: Sequence[Row], examples: Sequence[tuple[list[int], list[int]]], pad_id: int
) -> TokenBatch:
    """The batch of such rows; ``examples`` are prompts and answers (with their end) of the split.

    ``segments`` counts the examples of a row from 0; padding at its end has segments of its own
    (-1). ``indices`` are the examples in the order of the rows, more than there are rows.
    """
    from scratchlab.data.batching.text_batches import token_batch

    width = max(sum(len(examples[i][0]) + len(examples[i][1]) - 1 for i in row) for row in rows)
    shape = (len(rows), width)
    tokens, targets = np.full(shape, pad_id, np.int64), np.full(shape, IGNORE, np.int64)
    positions, segments = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    for line, row in enumerate(rows):
        start = 0
        for segment, example in enumerate(row):
            prompt, answer = examples[example]
            end = start + len(prompt) + len(answer) - 1
            tokens[line, start:end] = [*prompt, *answer][:-1]
            targets[line, start + len(prompt) - 1 : end] = answer
            positions[line, start:end] = np.arange(end - start)
            segments[line, start:end] = segment
            start = end
    indices = [example for row in rows for example in row]
    return token_batch(tokens, targets, indices, positions=positions, segments=segments)
