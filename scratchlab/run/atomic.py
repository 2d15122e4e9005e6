"""Whole files or none: what a run writes is never seen half written, not even after a power cut.

A file is written under a temporary name in the folder it belongs to, flushed to the disk, and then
renamed over the old one; the folder is flushed too, since the new name lives there. A full disk, an
exceeded quota or a folder without permission becomes one line that names the path; the file that
stood there before is still whole.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from scratchlab.errors import CannotWrite, UserError
from scratchlab.run.temporary import sweep, temporary_name

# What the person can mend; any other OSError is a fault of the program and keeps its traceback.
ADVICE = {
    errno.ENOSPC: ("the disk is full", "Make room, or name another folder for the run."),
    errno.EDQUOT: ("the disk quota is used up", "Make room, or name another folder for the run."),
    errno.EFBIG: ("the file is larger than allowed here", "Raise the limit (ulimit -f)."),
    errno.EACCES: ("permission denied", "Name a folder that you may write to."),
    errno.EPERM: ("permission denied", "Name a folder that you may write to."),
    errno.EROFS: ("the disk is read-only", "Name a folder that you may write to."),
    errno.EEXIST: ("a part of the path is a file, not a folder", "Name another folder."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Name another folder."),
    errno.ENAMETOOLONG: ("the name is too long", "Use a shorter name."),
    errno.ENOENT: ("its folder is gone", "It was removed or moved while this command ran."),
    errno.EISDIR: ("a folder is in the way", "Remove it."),
    errno.ELOOP: ("it is a link", "Nothing is written through links; remove it."),
}


def write_error(path: Path, error: OSError) -> Exception:
    """What to raise for an ``error`` met while writing ``path``: CannotWrite where advice helps."""
    advice = ADVICE.get(error.errno or 0)
    if advice is None:
        return error
    problem, hint = advice
    return CannotWrite(f"Cannot write {path}: {problem}.", hint)


def open_to_append(path: Path) -> io.FileIO:
    """Open a file to write at its end: the one of this name, not one that a link leads to.

    Unbuffered: what is written is one system call. A file that has other names too (a copy made of
    hard links) is made a file of its own first.
    """
    try:
        file = io.FileIO(path, "ab", opener=_opened_itself)
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
            return file
        file.close()
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"Cannot write {path}: it is no regular file.", "Remove it.")
        write_bytes(path, path.read_bytes())
    except OSError as error:
        raise write_error(path, error) from error
    return open_to_append(path)


def _opened_itself(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK, 0o666)


def flush_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to disk (a rename is safe only then)."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of ``path`` when the block ends without error.

    Missing parent folders are made. If anything is raised, the temporary file is removed and what
    stood at ``path`` stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(temporary_name(f".{path.name}"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raised = write_error(path, error)
        if raised is error:
            raise
        raise raised from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Replace the file at ``path`` by one that holds ``data``."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path | str, text: str) -> None:
    """Replace the file at ``path`` by one that holds ``text`` (UTF-8, newlines as given)."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Replace the file at ``path`` by ``value`` as indented JSON, keys in the order given.

    NaN and infinity are refused (ValueError): they are no JSON, and other readers stop at them.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
