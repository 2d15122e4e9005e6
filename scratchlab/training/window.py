"""The losses between two logs. They stay on the device: asking for one would wait for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchlab.run.processes import Processes

LONGEST_WINDOW = 1000  # losses kept one by one until they are logged


class Window:
    """Of each update the sums that were minimised and of the plain losses, and the target count.

    The sums are those of this process, the counts those of all: only who asks for numbers waits.
    """

    def __init__(
        self, device: Any, processes: Processes, entries: Iterable[Sequence[float]] = ()
    ) -> None:
        self.device, self.processes = device, processes
        self.entries: list[tuple[Tensor, Tensor, int]] = []
        for total, nll, count in entries:
            self._put(total, nll, count)

    def add(self, totals: Sequence[Tensor], nlls: Sequence[Tensor], count: int) -> None:
        """One update, from the sums of each of its batches."""
        self.entries.append((sum(totals[1:], totals[0]), sum(nlls[1:], nlls[0]), count))

    @property
    def is_full(self) -> bool:
        """Whether :meth:`fold` is due: a run that never logs must not grow."""
        return len(self.entries) >= LONGEST_WINDOW

    def fold(self, values: Sequence[Sequence[float]]) -> None:
        """Keep one entry, the sums of all ``values``."""
        self.entries = []
        total, nll, count = (sum(column) for column in zip(*values, strict=True))
        self._put(total, nll, count)

    def values(self) -> list[tuple[float, float, int]]:
        """All entries as numbers, the oldest first."""
        if not self.entries:
            return []
        sums = [[value.double() for value in entry[:2]] for entry in self.entries]
        own = torch.stack([torch.stack(column) for column in zip(*sums, strict=True)])
        totals, nlls = self.processes.added(own.cpu()).tolist()
        counts = [count for _, _, count in self.entries]
        return list(zip(totals, nlls, counts, strict=True))

    def clear(self) -> None:
        self.entries = []

    def _put(self, total: float, nll: float, count: float) -> None:
        if self.processes.rank:  # the sums of all are kept once
            total = nll = 0.0
        pair = torch.tensor([total, nll], dtype=torch.float64, device=self.device)
        self.entries.append((pair[0], pair[1], int(count)))
