"""What is written down while a run goes on, and how it ended if it did not end well."""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.errors import LOGGED_IN, Stopped, UserError
from scratchlab.run.atomic import open_to_append
from scratchlab.run.folder import RunFolder

LOGGER = logging.getLogger("scratchlab")


@dataclass
class Record:
    """``begun``: whether anything of the run was changed; a done run that was not stays done."""

    begun: bool = True


class _Log(logging.StreamHandler):
    """The log of a run. While it cannot be written (full disk) its lines wait for there to be room.

    No line costs a traceback, neither when it is logged nor when the log is closed.
    """

    def __init__(self, path: Path) -> None:
        file = io.BufferedWriter(open_to_append(path))
        super().__init__(io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace"))

    def handleError(self, record: logging.LogRecord) -> None:
        """The line stays in the buffer."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.close()
        super().close()


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Everything that is logged inside goes to the end of this file too."""
    handler = _Log(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("scratchlab")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False  # libraries that take over the root logger must not repeat it
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def record_failure(folder: RunFolder) -> Iterator[Record]:
    """Write down how a run ended that did not end well; the exception goes on to the command."""
    before, record = folder.status(), Record()

    def ended(**status: Any) -> None:
        untouched = before["status"] == "done" and not record.begun
        _write_status(folder, before if untouched else status)

    try:
        yield record
    except (Stopped, KeyboardInterrupt) as stop:
        reason = str(stop) or "SIGINT"
        LOGGER.info("stopped by %s", reason)
        ended(status="stopped", reason=reason)
        raise Stopped(reason, folder.path) from stop
    except BaseException as error:
        LOGGER.error("failed:\n%s", traceback.format_exc())
        error.add_note(f"{LOGGED_IN}{folder.log}")
        ended(status="failed", reason=str(error).splitlines()[:1])
        raise


def _write_status(folder: RunFolder, status: Mapping[str, Any]) -> None:
    """Write how the run ended, unless that cannot be written: what ended it matters more."""
    try:
        folder.write_status(**status)
    except (UserError, OSError) as second:
        LOGGER.error("the status could not be written: %s", second)
