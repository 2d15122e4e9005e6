"""A PostgreSQL server of a test's own, from the system's package, on a socket in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS_TO_START = 60.0


def _program(name: str) -> str:
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        pytest.skip(f"there is no {name} here (Debian: apt-get install postgresql)")
    return found


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a server that is there for as long as the block; the test is skipped where the
    server or its driver is not installed."""
    pytest.importorskip("psycopg")
    initdb, postgres, is_ready = map(_program, ("initdb", "postgres", "pg_isready"))
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path has at most 107 bytes
    user = None
    if os.getuid() == 0:  # which the server refuses to be run by
        user = "postgres"
        shutil.chown(folder, user)
    data = str(folder / "data")
    initial = [
        initdb,
        "-E",
        "UTF8",
        "--no-locale",
        "-D",
        data,
        "-U",
        "tests",
        "-A",
        "trust",
        "--no-sync",
    ]
    subprocess.run(initial, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", str(folder), "-D", data]
    server = subprocess.Popen(
        [postgres, *settings], user=user, cwd=folder, stderr=subprocess.DEVNULL
    )
    try:
        limit = time.monotonic() + SECONDS_TO_START
        asked = [is_ready, "-q", "-h", str(folder), "-U", "tests"]
        while subprocess.run(asked, check=False).returncode:
            assert server.poll() is None and time.monotonic() < limit, "the server does not start"
            time.sleep(0.1)
        yield f"postgresql+psycopg://tests@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # it ends without waiting for its clients
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
