"""Temporary files and folders whose names tell which process writes them.

A process that is killed leaves them behind. The next one that writes to the same place removes
those whose process is gone: on this machine, by its number and when it started, so that a number
that was given anew is not taken for it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
from pathlib import Path

# machine, process, when it started (seconds after the machine)
_PROCESS = re.compile(r"([0-9a-f]{4})-(\d+)-([0-9a-f]+)")
_OWNED = re.compile(rf"\.({_PROCESS.pattern})-[0-9a-f]{{8}}\.tmp\Z")  # the last is chance
TOLERANCE = 2.0  # seconds by which the start of the same process may seem to differ


def temporary_name(stem: str) -> str:
    """A new name for a file or folder that this process writes and then renames or removes."""
    stem = stem.encode()[:100].decode(errors="ignore")  # a name has at most 255 bytes
    return f"{stem}.{this_process()}-{secrets.token_hex(4)}.tmp"


def this_process() -> str:
    """What tells this process from all others of this machine, also from later ones."""
    return _named(os.getpid())


@functools.cache
def _named(pid: int) -> str:
    return f"{_machine()}-{pid}-{int(_started(pid) or 0):x}"


@functools.cache
def _machine() -> str:
    """Of this machine, or of this container: from another one its processes are not seen, even if
    both have the same name."""
    try:
        numbers = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # not Linux
        numbers = 0
    return hashlib.sha256(f"{socket.gethostname()} {numbers}".encode()).hexdigest()[:4]


def _started(pid: int) -> float | None:
    """When a process started (seconds since the machine did, so that a clock that is set changes
    nothing); None if there is no such process."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time() - psutil.boot_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:  # it is there, but not ours
        return 0.0


def is_abandoned(name: str) -> bool:
    """Whether a name was given by a process of this machine that is gone."""
    match = _OWNED.search(name)
    return match is not None and is_gone(match[1])


def is_gone(process: str) -> bool:
    """Whether a process that was named by :func:`this_process` is one of this machine and gone."""
    match = _PROCESS.fullmatch(process)
    if match is None or match[1] != _machine():
        return False
    started = _started(int(match[2]))
    return started is None or abs(int(started) - int(match[3], 16)) > TOLERANCE


def sweep(folder: Path) -> None:
    """Remove what processes that are gone have left in a folder, the first time it is asked for."""
    _sweep_once(folder, os.getpid())


@functools.cache
def _sweep_once(folder: Path, pid: int) -> None:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if not is_abandoned(entry.name):
                    continue
                if entry.stat(follow_symlinks=False).st_uid != os.getuid():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink()


def use_own_folder() -> Path:
    """A temporary folder of this process, which libraries are made to use as well.

    It goes when the process ends, or is swept by a later process if this one is killed.
    """
    usual = Path(tempfile.gettempdir())
    match = _OWNED.search(usual.name)
    if match is not None:  # of this process, or inherited from the one that started it
        if match[1] == this_process() and usual.is_dir():
            return usual
        usual = usual.parent
    sweep(usual)
    folder = usual / temporary_name("scratchlab")
    folder.mkdir(mode=0o700)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a process that was forked from it
        shutil.rmtree(folder, ignore_errors=True)
