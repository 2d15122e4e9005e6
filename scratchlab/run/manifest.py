"""On what and from what a run was made, so that it can be made again."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import threadpoolctl

import scratchlab

PACKAGES = (
    "torch",
    "numpy",
    "hydra-core",
    "omegaconf",
    "tokenizers",
    "transformers",
    "datasets",
    "peft",
    "bitsandbytes",
    "scikit-learn",
    "sacrebleu",
    "wandb",
)


def manifest(arguments: list[str]) -> dict[str, Any]:
    """Command, code version, package versions and machine. No environment variables, no secrets."""
    return {
        "command": ["scratchlab", *arguments],
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "scratchlab": scratchlab.__version__,
        "git": git_commit(),
        "python": sys.version.split()[0],
        "packages": versions(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that results can depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> dict[str, Any] | None:
    """Commit of the checkout that the code runs from, and whether it was changed; or None."""
    folder = Path(scratchlab.__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()

    try:
        if git("ls-files", "errors.py") != "errors.py":
            return None
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def machine() -> dict[str, Any]:
    """Processor, cores, memory, threads and GPUs; torch is asked only where it is in use."""
    import psutil

    torch = sys.modules.get("torch")
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }
    if torch is None:
        pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
        return {**found, "blas_threads": max(pools, default=1)}
    found["torch_threads"] = torch.get_num_threads()
    if torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """The most memory that this process ever held (GPU memory is not in it).

    Linux counts a parent's memory into ``ru_maxrss`` of a process that it starts, so the process's
    own high-water mark is read where there is one.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
