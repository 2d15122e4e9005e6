"""Batches taken apart and put together otherwise: by rows, with more or less filling, unpacked.

Filling stands at the right end of a row, and what it is called differs: the padding token on what
is read, ``IGNORE`` on what is predicted.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from scratchlab.data.contract import IGNORE, ArrayBatch, Dataset, Seq2SeqBatch, Spec, TokenBatch

# Of each kind of batch the fields [rows, columns] that are as wide as each other.
SIDES: dict[type, tuple[tuple[str, ...], ...]] = {
    Seq2SeqBatch: (("source",), ("target_in", "target_out")),
    TokenBatch: (("tokens", "targets", "positions", "segments"),),
    ArrayBatch: (("inputs",),),
}
FILLING = {"targets": IGNORE, "positions": 0, "segments": -1}  # of others: the padding token
STEPS = 4  # batches of a text that runs on from one to the next
READ = {"source": "source", "target_in": "target_out", "tokens": "tokens", "inputs": "inputs"}


def row_count(batch: Any) -> int:
    """The rows of a batch: what its first tensor is long."""
    return len(next(t for t in vars(batch).values() if isinstance(t, Tensor)))


def take(batch: Any, rows: Sequence[int]) -> Any:
    """A batch of some rows only."""
    count = row_count(batch)
    chosen = {
        name: value[list(rows)]
        for name, value in vars(batch).items()
        if isinstance(value, Tensor) and len(value) == count
    }
    return dataclasses.replace(batch, **chosen)


def sides(batch: Any) -> list[list[str]]:
    """The names of the fields that can be filled up, those of one width together; none of numbers
    and of kinds of batches that are not known here."""
    known = next((s for kind, s in SIDES.items() if isinstance(batch, kind)), ())
    found = [[n for n in side if isinstance(getattr(batch, n), Tensor)] for side in known]
    return [side for side in found if all(_is_text(getattr(batch, name)) for name in side)]


def _is_text(tensor: Tensor) -> bool:
    return tensor.dim() == 2 and not tensor.is_floating_point()


def filled(batch: Any, spec: Spec, widths: Sequence[int]) -> Any:
    """The batch with sides of these widths: cut off, or filled up at the right end."""
    changed = {}
    for side, width in zip(sides(batch), widths, strict=True):
        for name in side:
            tensor = getattr(batch, name)[:, :width]
            value = FILLING.get(name, spec.pad_id or 0)
            more = width - tensor.shape[1]
            changed[name] = torch.nn.functional.pad(tensor, (0, more), value=value)
    return dataclasses.replace(batch, **changed)


def widths(batch: Any) -> list[int]:
    """How wide each side is."""
    return [getattr(batch, side[0]).shape[1] for side in sides(batch)]


def places(batch: Any) -> int:
    """How many tokens it has, filling counted; of rows of numbers: how many rows."""
    return row_count(batch) * (sum(widths(batch)) or 1)


def trimmed(batch: Any, spec: Spec) -> Any:
    """The batch without columns that are nothing but filling."""
    return filled(batch, spec, [_width(batch, side, spec) for side in sides(batch)])


def _width(batch: Any, side: list[str], spec: Spec) -> int:
    """Up to the last column in which something is read or predicted."""
    used = torch.zeros(getattr(batch, side[0]).shape[1], dtype=torch.bool)
    if "targets" in side:
        used |= (batch.targets != IGNORE).any(0).cpu()
    if spec.pad_id is not None:
        used |= (getattr(batch, READ.get(side[0], side[0])) != spec.pad_id).any(0).cpu()
    elif "targets" not in side:
        used[:] = True
    places = used.nonzero()
    return int(places[-1]) + 1 if len(places) else 1


def together(batches: Sequence[Any], spec: Spec) -> Any:
    """One batch of the rows of several."""
    widest = [max(w) for w in zip(*(widths(b) for b in batches), strict=True)]
    same = [filled(b, spec, widest) for b in batches]
    joined = {
        name: torch.cat([getattr(b, name) for b in same])
        for name, value in vars(same[0]).items()
        if isinstance(value, Tensor)
    }
    return dataclasses.replace(same[0], **joined)


def alone(batch: Any, spec: Spec) -> list[Any]:
    """Each row as a batch of its own, without filling."""
    return [trimmed(take(batch, [row]), spec) for row in range(row_count(batch))]


def unpacked(batch: TokenBatch, spec: Spec) -> TokenBatch:
    """The examples that share rows, each in a row of its own."""
    found = []
    for row in range(len(batch.tokens)):
        for segment in batch.segments[row].unique().tolist():
            if segment == FILLING["segments"]:
                continue
            own = batch.segments[row] == segment
            tokens, targets = batch.tokens[row, own][None], batch.targets[row, own][None]
            found.append(TokenBatch(tokens, targets, torch.zeros(1, dtype=torch.int64)))
    joined: TokenBatch = together(found, spec)
    return joined


def regrouped(dataset: Dataset, size: int, examples: int) -> Dataset:
    """The data set with the first examples only of the splits that are scored, ``size`` a batch.

    Rows of a text that run on from batch to batch stay what they are, in groups of that size.
    """
    found = copy.copy(dataset)

    def batches(split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[Any]:
        given = dataset.batches(split, seed=seed, epoch=epoch, start=start)
        return given if split == "train" else _regrouped(given, dataset.spec, size, examples)

    found.batches = batches  # type: ignore[method-assign]
    return found


def _regrouped(given: Iterator[Any], spec: Spec, size: int, examples: int) -> Iterator[Any]:
    rows: list[Any] = []
    for batch in given:
        if getattr(batch, "starts", None) is not None:
            yield from _streams([batch, *islice(given, STEPS - 1)], size, examples)
            return
        wanted = (batch.indices < examples).nonzero()[:, 0].tolist()
        rows += [trimmed(take(batch, [row]), spec) for row in wanted]
        if len(rows) >= examples:
            break
    for first in range(0, len(rows), size):
        yield together(rows[first : first + size], spec)


def _streams(batches: Sequence[Any], size: int, most: int) -> Iterator[Any]:
    """Groups of the first rows, each from the first of its batches on."""
    count = min(row_count(batches[0]), most)
    for first in range(0, count, size):
        for batch in batches:
            yield take(batch, range(first, min(first + size, count)))
