"""All chosen trackers behind one: one that fails is dropped with a warning, training goes on.

Unless it is the one that keeps the metrics: without these a run must not end well.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any

from scratchlab.errors import Stopped, UserError
from scratchlab.run.phases import TRACKERS, Phases
from scratchlab.tracking.contract import RunInfo, Tracker

LOGGER = logging.getLogger(__name__)


class Trackers(Tracker):
    """Pass every call on to each tracker in turn.

    What a tracker raises (no network, full disk, missing package) is said once, in the log and on
    the trackers that are left, and that tracker is not called again. ``Stopped`` passes through: a
    signal that arrives during a call is no fault of the tracker. What an essential tracker raises
    passes through once the others were called. What they take counts for a phase of its own.
    """

    def __init__(self, trackers: Sequence[Tracker], phases: Phases | None = None) -> None:
        super().__init__(None)
        self._active = list(trackers)
        self._phases = phases or Phases()

    @property
    def active(self) -> tuple[Tracker, ...]:
        """The trackers that have not failed."""
        return tuple(self._active)

    def start(self, run: RunInfo) -> None:
        self._each("start", run)

    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        self._each("log", step, scalars, timing)

    def flush(self) -> None:
        self._each("flush")

    def progress(self, step: int, epoch: float, scalars: Mapping[str, float]) -> None:
        self._each("progress", step, epoch, scalars)

    def message(self, text: str) -> None:
        self._each("message", text)

    def image(self, step: int, name: str, path: Path) -> None:
        self._each("image", step, name, path)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._each("table", name, columns, rows)

    def remark(self, text: str) -> None:
        self._each("remark", text)

    def finish(self, status: str) -> None:
        self._each("finish", status)

    def _each(self, call: str, *arguments: Any) -> None:
        with self._phases(TRACKERS):
            self._call(call, *arguments)

    def _call(self, call: str, *arguments: Any) -> None:
        failed: Exception | None = None
        for tracker in tuple(self._active):
            try:
                methodcaller(call, *arguments)(tracker)
            except Stopped:
                raise
            except (Exception, SystemExit) as error:  # a library must not end the process
                if tracker.essential and isinstance(error, Exception):
                    failed = error
                else:
                    self._drop(tracker, call, error)
        if failed is not None:
            raise failed

    def _drop(self, tracker: Tracker, call: str, error: BaseException) -> None:
        if tracker not in self._active:  # it failed while another one's failure was being told
            return
        self._active.remove(tracker)
        name = tracker.registered_name or type(tracker).__name__
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        text = f"Tracker {name} is switched off ({call} failed), training goes on. {reason}"
        LOGGER.warning(text)
        LOGGER.debug("tracker %s failed", name, exc_info=error)
        self.message(text)
