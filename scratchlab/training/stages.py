"""Batches that grow and texts that get longer in the course of training.

Small batches take more updates from the same text while gradients still agree, large ones average
out noise at the end (Smith et al. 2018); short contexts cost less and are learnt first (Li, Zhang
& He 2022). Stages are equal shares of the updates, so what holds follows from the update's number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from scratchlab.data.contract import Dataset, TokenBatch
from scratchlab.errors import UserError

T = TypeVar("T")
KEY = "trainer.length_stages"


def stage(stages: Sequence[T], step: int, total: int) -> T:
    """What holds in the update number ``step`` (the first is 0) of ``total``."""
    return stages[min(step * len(stages) // max(total, 1), len(stages) - 1)]


def mean_accumulate(trainer: Mapping[str, Any]) -> float:
    """Batches that make an update, on average, by the options of the trainer ``gradient``."""
    stages = trainer.get("accumulate_stages") or []
    return sum(stages) / len(stages) if stages else float(trainer["accumulate"])


def check_lengths(stages: Sequence[int], dataset: Dataset) -> None:
    """UserError if the rows of a data set cannot be cut into these lengths."""
    options: Any = getattr(dataset, "config", None)
    block = getattr(options, "block_size", None)
    if not stages:
        return
    if block is None or getattr(options, "batching", "stream") == "stream":
        raise UserError(
            f"{KEY} is for running text in blocks (dataset.batching=random or shuffled)",
            f"Leave it out: rows of {dataset.registered_name} are no blocks that could be cut.",
        )
    if unfit := [length for length in stages if block % length]:
        fitting = [str(n) for n in range(1, block + 1) if block % n == 0][-6:]
        raise UserError(
            f"{KEY}: blocks of {block} tokens cannot be cut into pieces of {unfit[0]}",
            f"Lengths that divide dataset.block_size: {', '.join(fitting)}.",
        )


def cut(batch: TokenBatch, length: int) -> TokenBatch:
    """The rows [B, T] of a batch as [B T / length, length]: the same targets, less to look at."""
    pieces = batch.tokens.shape[1] // length
    if pieces <= 1:
        return batch
    return replace(
        batch,
        tokens=batch.tokens.reshape(-1, length),
        targets=batch.targets.reshape(-1, length),
        indices=batch.indices.repeat_interleave(pieces),
    )
