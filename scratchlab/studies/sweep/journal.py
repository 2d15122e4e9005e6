"""The journal of a study: a file of JSON lines that several sweeps may write to at once.

Optuna's own, but for what goes wrong: a line that a killed process did not end is taken away before
the next one is written, a disk that is full is said in a line and leaves the file whole, and a lock
that a dead process of this machine left behind holds nobody up.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from scratchlab.errors import UserError
from scratchlab.regular_files import open_regular
from scratchlab.run.atomic import write_error
from scratchlab.run.temporary import is_gone, this_process

LOCK = ".lock"
SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_OF_SILENCE = 2.0  # a wait that is longer is said
SECONDS_OF_GRACE = 30.0  # after which a lock that nobody renews is taken for left behind


class Journal(JournalFileBackend):
    """``say`` is told of waits."""

    def __init__(self, path: Path, say: Callable[[str], None] = lambda text: None) -> None:
        require_journal(path)
        self._path, self._say = path, say
        try:
            super().__init__(str(path))
        except OSError as error:
            raise write_error(path, error) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines; UserError if there is no room for them."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        try:
            with locked(self._path, self._say):
                _append(self._path, ("\n".join(lines) + "\n").encode())
        except OSError as error:
            raise write_error(self._path, error) from error


class WithoutSnapshots(BaseJournalBackend):
    """The lines of another journal and nothing else of it.

    Optuna loads the snapshots that Redis keeps as pickles: whoever writes to that server would have
    code run here. A study is made again from its lines, which are JSON.
    """

    def __init__(self, lines: BaseJournalBackend) -> None:
        self._lines = lines

    def read_logs(self, log_number_from: int) -> Any:
        return self._lines.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._lines.append_logs(logs)


def require_journal(path: Path) -> None:
    """UserError if there is a file that is no journal, or whose lines are damaged."""
    if not path.exists() or not path.stat().st_size:
        return
    number = 0
    with open_regular(path) as file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                if not line.endswith(b"\n") and (number > 1 or line.startswith(b'{"op_code"')):
                    return  # the last one, not written to its end
                entry = None
            if not isinstance(entry, dict) or not {"op_code", "worker_id"} <= entry.keys():
                break
        else:
            return
    if number == 1:
        raise UserError(
            f"sweep.storage: {path} is no journal of a study; nothing was written to it",
            "Name a file that does not exist yet.",
        )
    raise UserError(
        f"{path}, line {number}: is damaged", "Take the line away, or restore the file from a copy."
    )


def _append(path: Path, data: bytes) -> None:
    with path.open("r+b", buffering=0) as file:
        end = _end_of_lines(file)
        file.truncate(end)
        file.seek(end)
        try:
            while data:
                data = data[file.write(data) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def _end_of_lines(file: Any) -> int:
    """Where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        end = start
    return 0


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, no other process writes to the file. The lock is a link that names its holder."""
    lock = path.with_name(path.name + LOCK)
    own = f"{socket.gethostname()}:{this_process()}:{secrets.token_hex(4)}"
    began = since = time.monotonic()
    seen, told = ("", 0), False
    while True:
        try:
            lock.symlink_to(own)
            break
        except FileExistsError:
            pass
        now, found = time.monotonic(), _holder(lock)
        if found is None:
            continue
        if found != seen:
            seen, since = found, now
        if _is_dead(found[0]) or now - since > SECONDS_OF_GRACE:
            say(f"{lock} was left behind by a process that is gone; it is taken away")
            _take_away(lock, found[0])
            continue
        if not told and now - began > SECONDS_OF_SILENCE:
            say(f"waiting for {lock}, held by {found[0] or 'another program'}")
            told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        _take_away(lock, own)


def _holder(lock: Path) -> tuple[str, int] | None:
    """Who holds the lock and since when; None if it is gone by now."""
    try:
        text = str(lock.readlink()) if lock.is_symlink() else ""
        return text, lock.lstat().st_mtime_ns
    except OSError:
        return None


def _is_dead(holder: str) -> bool:
    """Whether the lock names a process of this machine that is gone."""
    host, _, rest = holder.partition(":")
    return host == socket.gethostname() and is_gone(rest.partition(":")[0])


def _take_away(lock: Path, holder: str) -> None:
    """Remove the lock if it is still that of ``holder``."""
    aside = lock.with_name(f"{lock.name}.{secrets.token_hex(6)}")
    with contextlib.suppress(FileNotFoundError):
        lock.rename(aside)
        found = _holder(aside)
        if found is not None and found[0] != holder:
            aside.rename(lock)  # it was exchanged in between
        else:
            aside.unlink()
