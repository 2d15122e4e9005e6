"""How long a run has trained, and how fast it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from scratchlab.training.contract import Progress


class Clock:
    """Adds to ``progress.seconds``; speeds are of the updates since the last log."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._last = time.perf_counter()
        self.logged()

    def tick(self) -> None:
        """Add what has passed since the last tick."""
        now = time.perf_counter()
        self.progress.seconds += now - self._last
        self._last = now

    def logged(self) -> None:
        """From now on another speed is measured."""
        self._since, self._targets = time.perf_counter(), self.progress.targets

    def speed(self) -> float:
        """Targets a second."""
        passed = time.perf_counter() - self._since
        return (self.progress.targets - self._targets) / max(passed, 1e-9)

    @contextmanager
    def not_training(self) -> Iterator[None]:
        """What is done inside (validating, saving) lowers no speed."""
        started = time.perf_counter()
        yield
        self._since += time.perf_counter() - started
