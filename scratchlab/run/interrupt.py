"""SIGINT and SIGTERM as a polite request: finish the update, save, stop.

Where there is no update to finish (data are prepared, a model is measured), a signal interrupts at
once, so that how the run ended is written down.

Signals often come twice for one cause: the kernel and a parent both tell a worker, a service
manager tells a whole group, a wrapper passes on the Ctrl-C that the terminal has sent already. So
SIGTERM asks, however often it comes (who does not want to wait sends SIGKILL), and a second SIGINT
interrupts at once only if it comes more than :data:`MOMENT` after the first signal.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOMENT = 1.0  # seconds


class _Handler:
    """What happens at a signal; ``requested`` is the first one. A second look at the same request.

    ``polite``: the first signal is only noted.
    """

    def __init__(self, polite: bool) -> None:
        self.polite = polite
        self.requested: str | None = None
        self._at = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self)

    def restore(self) -> None:
        """Put back the handlers from before; ours among them know of the request from now on."""
        for number, handler in self._before.items():
            if isinstance(handler, _Handler) and handler.requested is None:
                handler.requested, handler._at = self.requested, self._at
            signal.signal(number, handler)
        self._before.clear()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        now = time.monotonic()
        if self.requested is None:
            self.requested, self._at = name, now
            if not self.polite:
                raise KeyboardInterrupt(name)
        elif number == signal.SIGINT and now - self._at > MOMENT:
            raise KeyboardInterrupt(name)


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """Inside, SIGTERM raises KeyboardInterrupt as SIGINT does, both once for one cause."""
    handler = _Handler(polite=False)
    handler.install()
    try:
        yield
    finally:
        handler.restore()


class Interrupt:
    """While entered, the first signal only sets ``requested``."""

    def __init__(self) -> None:
        self._handler = _Handler(polite=True)

    @property
    def requested(self) -> str | None:
        """The name of the signal that asked to stop, or None."""
        return self._handler.requested

    def __enter__(self) -> Interrupt:
        self._handler.install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handler.restore()
