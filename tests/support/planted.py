"""Faults that come at a certain moment of a command in a process of its own (see launcher.py)."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def sigterm(where: str, call: int, met: str) -> None:
    """Send SIGTERM to this process, the command, before the ``call``-th call of ``where``."""
    command = os.getpid()
    _before(where, call, Path(met), lambda: os.kill(command, signal.SIGTERM))


def full_disk(where: str, call: int, met: str, disk: str) -> None:
    """Fill a disk before the ``call``-th call of ``where``, in whatever process that comes."""
    _before(where, call, Path(met), lambda: fill(Path(disk)))


def fill(disk: Path) -> None:
    """Write a file until there is no room left."""
    with (disk / "filling").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def clock(hours: float) -> None:
    """Let the clock be set by so many hours each time that somebody looks at it, there and back."""
    looked, right = [0], time.time

    def wrong() -> float:
        looked[0] += 1
        return right() + 3600.0 * hours * (looked[0] % 2)

    time.time = wrong


def _before(where: str, call: int, met: Path, fault: Callable[[], None]) -> None:
    """Let ``fault`` come once, whichever process comes first; then the file ``met`` is there.

    ``where``: ``module:function`` or ``module:Class.method``.
    """
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), [0]

    def called(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            with contextlib.suppress(FileExistsError):
                met.touch(exist_ok=False)
                fault()
        return original(*arguments, **options)

    setattr(owner, name, called)
