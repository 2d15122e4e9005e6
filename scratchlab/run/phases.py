"""Where the time of a run goes: one clock, of which every moment counts for one phase."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

START = "start and data"
TEACHERS = "teachers"
BATCHES = "batches"
FORWARD = "forward"
BACKWARD = "backward"
OPTIMIZER = "optimizer"
LOOP = "rest of the loop"
UPDATES = "updates"
FIT = "fit"
VALIDATION = "validation"
CHECKPOINTS = "checkpoints"
TRACKERS = "trackers"
EVALUATION = "evaluation"
PROFILE = "profile"

# A tenth is what is shown; a phase of less is left out of the line, not of the figures.
SHOWN = 0.05


class Phases:
    """The seconds of each phase; the innermost one that was entered counts, so they add up to all
    that has passed since the clock was made.

    ``around`` is asked at each change for what shall be entered with the phase (a mark in a trace);
    ``settle`` is called before the clock is read (to wait for a GPU).
    """

    def __init__(self, first: str = START) -> None:
        self.seconds: dict[str, float] = {first: 0.0}
        self.around: Callable[[str], Any] | None = None
        self.settle: Callable[[], None] | None = None
        self._entered = [first]
        self._since = time.perf_counter()

    def __call__(self, name: str) -> _Phase:
        """``with phases("validation"): …``"""
        return _Phase(self, name)

    def enter(self, name: str) -> None:
        self._count()
        self._entered.append(name)

    def leave(self) -> None:
        self._count()
        self._entered.pop()

    def _count(self) -> None:
        """Give what has passed to the phase that goes on or ends now."""
        if self.settle is not None:
            self.settle()
        now, name = time.perf_counter(), self._entered[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def so_far(self) -> dict[str, float]:
        """The seconds of all phases up to now, in the order in which they came."""
        self._count()
        return dict(self.seconds)


class _Phase:
    """Time inside counts for the phase ``name``, but what is entered in turn."""

    __slots__ = ("mark", "name", "phases")

    def __init__(self, phases: Phases, name: str) -> None:
        self.phases, self.name = phases, name
        self.mark: Any = None

    def __enter__(self) -> None:
        self.phases.enter(self.name)
        if self.phases.around is not None:
            self.mark = self.phases.around(self.name)
            self.mark.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.mark is not None:
            self.mark.__exit__(kind, error, trace)
        self.phases.leave()


def in_a_line(seconds: dict[str, float]) -> str:
    """``12.3 s: start and data 3.1, forward 4.0, backward 4.9, …``, the phases in their order."""
    shown = [f"{name} {spent:,.1f}" for name, spent in seconds.items() if spent >= SHOWN]
    total = f"{sum(seconds.values()):,.1f} s"
    return f"{total}: {', '.join(shown)}" if shown else total
