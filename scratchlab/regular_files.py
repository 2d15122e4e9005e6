"""Regular files only: what is read must end, and must not make a reader wait.

A named pipe in place of a file would be waited for without end, a device read without end. Every
reader of files that come from outside opens them here.
"""

from __future__ import annotations

import contextlib
import os
import stat
from io import BufferedReader
from pathlib import Path

from scratchlab.errors import UserError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}

HINTS = {"a named pipe": "Write what comes through it into a file, and give that."}


def expanded(name: str | Path) -> Path:
    """A path with ``~`` as the home folder; as it is, where the home (or the user) is not known."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def irregular(path: Path) -> str | None:
    """What is there in place of a regular file ("a named pipe"); None for a file, or nothing."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return None
    return None if kind == stat.S_IFREG else KINDS.get(kind, "no file")


def open_regular(path: Path) -> BufferedReader:
    """A regular file, opened to read its bytes.

    Raises:
        UserError: it is not there, may not be read, or is no regular file.
    """
    if (found := irregular(path)) is not None:
        raise UserError(f"{path} is {found}", HINTS.get(found, "Give a regular file."))
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{str(path)!r} cannot be a file ({error})") from error


# Where a container's limit stands (cgroups of version 2 and 1); "max" or a huge number for none.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> int:
    """Bytes of memory that this machine, or the container that runs this, has."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in LIMITS:
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(Path(name).read_text(encoding="ascii")))
    return min(sizes)


def half_of_memory() -> int:
    """Bytes: more than this of one file is not read into memory."""
    return machine_memory() // 2


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """All bytes of a regular file.

    Raises:
        UserError: as :func:`open_regular`, or the file has more than ``limit`` bytes (None: half of
            the machine's memory).
    """
    most = half_of_memory() if limit is None else limit
    with open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            content = file.read(most + 1) if size <= most else b""
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if max(size, len(content)) > most:
        raise UserError(f"{path} is too large: {max(size, len(content)):,} bytes, of {most:,}")
    return content
