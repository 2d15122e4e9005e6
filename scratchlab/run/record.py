"""What is written down while a run goes on, and how it ended if it did not end well."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scratchlab.errors import LOGGED_IN, Stopped, UserError
from scratchlab.run.folder import RunFolder

LOGGER = logging.getLogger("scratchlab")


class _QuietFileHandler(logging.FileHandler):
    """A log that cannot be written (full disk) is no reason to print a traceback for each line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Go without the line."""


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Everything that is logged inside goes to the end of this file too."""
    try:
        handler = _QuietFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
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
def record_failure(folder: RunFolder) -> Iterator[None]:
    """Write down how a run ended that did not end well; the exception goes on to the command."""
    try:
        yield
    except (Stopped, KeyboardInterrupt) as stop:
        reason = str(stop) or "SIGINT"
        LOGGER.info("stopped by %s", reason)
        folder.write_status("stopped", reason=reason)
        raise Stopped(reason, folder.path) from stop
    except BaseException as error:
        LOGGER.error("failed:\n%s", traceback.format_exc())
        error.add_note(f"{LOGGED_IN}{folder.log}")
        try:
            folder.write_status("failed", reason=str(error).splitlines()[:1])
        except UserError as second:
            LOGGER.error("the status could not be written: %s", second)
        raise
