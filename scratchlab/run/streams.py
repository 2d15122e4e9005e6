"""Standard output and standard error that may break while a command goes on.

Who reads them may leave (``| head -1``, a terminal that is closed), the disk behind them may be
full, they may be closed from the start or know ASCII only. A command whose results are files goes
on without them. One whose output is its result ends: quietly if nobody reads any more, with a
message if it cannot be written.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from scratchlab.run.atomic import write_error

NOBODY_READS = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ESHUTDOWN, errno.ECONNRESET)


class ReaderLeft(BrokenPipeError):
    """Nobody reads the output that a command is there for."""


class _Stream(io.FileIO):
    """The bytes of a standard stream; ``needed``: what is written here is what was asked for."""

    def __init__(self, descriptor: int, needed: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.needed = needed

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            left = error.errno in NOBODY_READS
            if left or self.needed:  # else there may be room again for what comes later
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)
            if not self.needed:
                return len(data)
            if left:
                raise ReaderLeft from error
            raise write_error(Path("standard output"), error) from error


@contextlib.contextmanager
def lasting_streams(output_needed: bool, lossy: bool = True) -> Iterator[None]:
    """Inside, standard error never fails, and standard output only if it is needed.

    Raises :class:`ReaderLeft` or UserError where needed output cannot be written. ``lossy``: a
    character that the output's encoding lacks is written as a question mark.
    """
    before = sys.stdout, sys.stderr
    sys.stdout = _lasting(sys.stdout, output_needed, "replace" if lossy else "strict")
    sys.stderr = _lasting(sys.stderr, False, "backslashreplace")
    try:
        yield
        sys.stdout.flush()  # here and not when the interpreter ends, where nobody could catch it
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def _lasting(stream: TextIO | None, needed: bool, errors: str) -> TextIO:
    if stream is None:  # it was closed when this process began
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (OSError, ValueError):  # no file behind it: a test or a notebook listens
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(descriptor, needed)),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )
