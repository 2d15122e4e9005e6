"""A Slurm of a test's own (see scripts/slurm_here.py), and a stand-in for its programs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "slurm_here.py"
PROGRAMS = {
    # What it is given is kept: the arguments, and the batch script.
    "sbatch": 'cat "$1" > {kept}/script; echo "Submitted batch job 41"',
    "squeue": "cat {kept}/queue 2>/dev/null; exit 0",
    "sinfo": "echo usual; echo urgent",
    "scancel": 'echo "$@" >> {kept}/cancelled',
    "scontrol": 'echo "$@" >> {kept}/told',
    "srun": "exit 1",
}


def _here() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slurm_here", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def slurm() -> Iterator[str]:
    """The configuration file of a real Slurm that is there for as long as the block; the test is
    skipped where its packages are not installed."""
    pytest.importorskip("submitit")
    here = _here()
    if lacking := here.missing():
        pytest.skip(f"no {', '.join(lacking)} here (Debian: apt-get install slurm-wlm munge)")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # a socket's path has at most 107 bytes
    try:
        yield here.start(folder)
    finally:
        here.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Programs of Slurm's names that only keep what they are told; where they keep it."""
    kept, programs = folder / "kept", folder / "programs"
    for made in (kept, programs):
        made.mkdir()
    for name, line in PROGRAMS.items():
        path = programs / name
        path.write_text(f"#!/bin/sh\n{line.format(kept=kept)}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return kept


def until(condition: object, seconds: float = 900.0) -> None:
    """Wait for what a cluster does by itself."""
    assert callable(condition)
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it does not come about"
        time.sleep(0.2)


def told(conf: str, *command: str) -> str:
    """What one of the real programs answers."""
    environment = {"SLURM_CONF": conf, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout
