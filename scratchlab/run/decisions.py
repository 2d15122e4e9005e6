"""Choices that were made by measuring, kept so that the same command makes the same choice again.

A measurement that is close would come out otherwise now and then, and with it the bits of a run.
What was found first therefore holds on this machine until the folder of prepared data is emptied.
While other work keeps the cores busy a measurement says little, and is not kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.reading import read_json, require
from scratchlab.errors import UserError
from scratchlab.regular_files import expanded
from scratchlab.run.atomic import write_json

# The file that tells the folder of a sweep or a suite: how its runs ended.
STUDY_RECORD = "runs.json"
SECONDS_OF_LOOKING = 0.2
SPARE = 0.5  # of a core: what a machine does that does nothing

Decision = dict[str, str]


def cache_folder(config: Mapping[str, Any]) -> Path:
    """Where prepared data and choices are kept: cache_dir, $SCRATCHLAB_CACHE, $XDG_CACHE_HOME or
    ~/.cache; in a container without a home, a folder of this user among the temporary ones."""
    named = config.get("cache_dir") or os.environ.get("SCRATCHLAB_CACHE")
    if named:
        return expanded(named)
    outer = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    found = expanded(outer) / "scratchlab"
    if not found.is_absolute():
        return Path(tempfile.gettempdir()) / f"scratchlab-cache-{os.getuid()}"
    return found


@dataclass(frozen=True)
class Load:
    """How many of the machine's ``cores`` other processes keep busy."""

    others: float
    cores: int

    def leaves(self, threads: int) -> bool:
        """Whether there is a core for each thread."""
        return self.others + threads <= self.cores + SPARE

    def __str__(self) -> str:
        return f"{self.others:.1f} of {self.cores} cores in use by other processes"


def machine_load() -> Load:
    """What the cores do while this process waits a moment."""
    import psutil

    cores = os.cpu_count() or 1
    try:
        return Load(psutil.cpu_percent(SECONDS_OF_LOOKING) / 100 * cores, cores)
    except (OSError, RuntimeError):  # no such figures here: the mean of the last minute
        return Load(max(0.0, os.getloadavg()[0] - 1), cores)


def decided_once(
    cache: Path,
    what: str,
    circumstances: Mapping[str, Any],
    decide: Callable[[], Decision],
    *,
    threads: int = 0,
    busy: Callable[[Load], Decision] | None = None,
) -> tuple[Decision, bool]:
    """What ``decide`` found under these circumstances, and whether that was an earlier time.

    ``circumstances`` holds all that the choice may depend on (JSON values). A folder that cannot be
    written, or a file that cannot be read, only means that it is decided anew. If other processes
    leave no core for each of the ``threads`` that the choice is about, it is not kept, and
    ``busy`` (where given) makes it instead, without measuring.
    """
    # Choices that were kept without regard to the load do not count.
    text = json.dumps({**circumstances, "load": "low"}, sort_keys=True, default=str)
    path = cache / "decisions" / what / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(UserError):
        return _read(path)["decision"], True
    load = machine_load() if threads else None
    if load is not None and not load.leaves(threads):
        return (decide() if busy is None else busy(load)), False
    decision = decide()
    with contextlib.suppress(OSError, UserError):
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"circumstances": json.loads(text), "decision": decision, "load": str(load)}
        write_json(path, record)
    return decision, False


def decided_together(
    study: Path, what: str, run: str, decide: Callable[[], Decision]
) -> tuple[Decision, str]:
    """One choice for all runs of a sweep or suite: that of the first of them to ask.

    ``run`` is the name of the one that asks; returns the choice and the name of the run that made
    it. In a folder that is no study's, every run makes its own. Runs that start at the same moment
    wait for each other.
    """
    if not (study / STUDY_RECORD).is_file():
        return decide(), run
    path = study / f"{what}.json"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(study / f".{what}.lock", flags, 0o644), "w") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(UserError):
            content = _read(path, {"run": "str"})
            return content["decision"], content["run"]
        decision = decide()
        write_json(path, {"decision": decision, "run": run})
    return decision, run


def _read(path: Path, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What was written of a choice; UserError if it cannot be read."""
    return require(read_json(path), {"decision": "dict[str, str]", **(more or {})}, path)
