"""Trainings in processes of their own: one that is to be killed, or several that share a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from scratchlab.errors import UserError
from scratchlab.run.folder import read_config
from scratchlab.tracking.contract import Tracker

# The package, for a process that imports nothing from the folder that its command was given in.
PATH = f"import sys; sys.path.append({str(Path(__file__).resolve().parents[2])!r})"
LONGEST = 1800.0  # seconds of a few updates


def own_process(function: Callable[..., None], *words: str) -> list[str]:
    """The command of a process that calls a function of this package with these words.

    Not ``python -m`` (and -P), which would look into that folder first: it may hold a stranger's
    files.
    """
    name = function.__name__
    code = f"{PATH}\nfrom {function.__module__} import {name}\n{name}(*sys.argv[1:])"
    return [sys.executable, "-P", "-c", code, *words]


def as_told(folder: str, watchers: Sequence[Tracker] = ()) -> None:
    """In that process: the training whose configuration lies in a folder."""
    from scratchlab.lab.train import train

    config: dict[str, Any] = read_config(Path(folder) / "config.yaml")
    try:
        train(config, [], ["verify", config["run_id"]], watchers)
    except UserError as error:
        sys.exit(error.message)


def last_line(text: str) -> str:
    """Where an error is named in what a process has said."""
    return (text.strip().splitlines() or [""])[-1]


def run_together(words: Sequence[str], count: int) -> None:
    """Run a command in so many processes that form a group, as torchrun would.

    Where they meet is kept by this process, as torchrun keeps it: a port that is only looked up for
    them may be another's by the time that the first of them, on a busy machine, has come so far.

    Raises:
        RuntimeError: one of them failed, or they wait for each other for good.
    """
    from torch.distributed import TCPStore

    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    group = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(meeting.port),
        "TORCHELASTIC_USE_AGENT_STORE": str(True),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
    }
    with ExitStack() as stack:
        started, said = [], []
        for rank in range(count):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            said.append(stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")))
            process = subprocess.Popen(
                words,
                env={**os.environ, **group, **place},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said[-1],
            )
            started.append(stack.enter_context(process))
            stack.callback(process.kill)  # however this ends, none of them is left behind
        failed = _first_failed(started)
        if failed is not None:
            said[failed].seek(0)
            why = _ended(started[failed].returncode, said[failed].read())
            raise RuntimeError(f"process {failed} of {count}: {why}")


def _ended(code: int, said: str) -> str:
    """How a process ended that was not to: its own words do not tell of a signal."""
    if code < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-code).name} (out of memory, if nobody sent it)"
    return last_line(said) or f"exit code {code}"


def _first_failed(started: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all; which one was the first that ended badly."""
    ends = time.monotonic() + LONGEST
    while time.monotonic() < ends:
        codes = [process.poll() for process in started]
        if any(codes):
            return next(rank for rank, code in enumerate(codes) if code)
        if None not in codes:
            return None
        time.sleep(0.05)
    raise RuntimeError(f"{len(started)} processes did not end in {LONGEST / 60:.0f} minutes")
