"""On what and from what a run was made, so that it can be made again."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import threadpoolctl

import scratchlab
from scratchlab.config.reading import read_json, require
from scratchlab.errors import UserError
from scratchlab.run.atomic import write_json
from scratchlab.run.own_part import SCHEMA, recorded, with_own_part

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
    "numba",
    "faiss-cpu",
    "wandb",
)


def manifest(arguments: list[str]) -> dict[str, Any]:
    """Command, code version, package versions and machine. No environment variables, no secrets."""
    return {
        "command": ["scratchlab", *with_own_part(arguments)],
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "scratchlab": scratchlab.__version__,
        "git": git_commit(),
        "python": sys.version.split()[0],
        "packages": versions(),
        "machine": machine(),
        **recorded(),
    }


def begun(session: Mapping[str, Any], overrides: list[str]) -> dict[str, Any]:
    """The manifest of a run that starts. A ``session`` is what :func:`manifest` says, with the
    provenance of its data as ``data``."""
    return {**session, "overrides": overrides, "resumed": []}


def gone_on(
    before: Mapping[str, Any], session: Mapping[str, Any], overrides: list[str], accept: bool
) -> tuple[dict[str, Any], list[str]]:
    """The manifest of a run that goes on, and what is to be said of its surroundings.

    What was written at its start, and each time since, stays; this time is added to ``resumed``.
    UserError if its data have another content now, unless that is accepted.
    """
    last = latest(before)
    changed = changed_data(last.get("data") or {}, session["data"])
    if changed and not accept:
        raise UserError(
            f"the data of this run have changed since it was trained: {', '.join(changed)}",
            "Restore them, train a new run, or go on with accept_changed_data=true.",
        )
    _require_same_teachers(last.get("taught_by"), session.get("taught_by"))
    entry = {**session, "overrides": overrides, **({"changed_data": changed} if changed else {})}
    notes = [f"its data have changed: {', '.join(changed)}"] if changed else []
    if others := changed_surroundings(last, session):
        notes.append(f"{'; '.join(others)}: the last bits may come out otherwise")
    return {**before, "resumed": [*before.get("resumed", []), entry]}, notes


def _require_same_teachers(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
    """UserError if the teachers of a run, or what they have written, are not what they were."""
    was, found = ((one or {}).get("teachers") or {} for one in (before, now))
    changed = [name for name in found if was and found[name] not in was.values()]
    if changed:
        raise UserError(
            f"the teacher of this run has changed since it was trained: {', '.join(changed)}",
            "Restore its checkpoint, or train a new run.",
        )
    if was and (before or {}).get("targets") != (now or {}).get("targets"):
        raise UserError(
            "the teachers of this run write other training targets now than before",
            "Go on with the same number of threads on the same machine, or train a new run.",
        )


def record_reached(path: Path, reached: Mapping[str, Any] | None) -> None:
    """Note in a manifest how the run has reached its target, or that it has none or not yet."""
    content = dict(read_json(path))
    if content.get("reached") != reached:
        write_json(path, {k: v for k, v in content.items() if k != "reached"}
                   | ({"reached": dict(reached)} if reached else {}))  # fmt: skip


def latest(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the run that has this manifest was trained with last."""
    found: Mapping[str, Any] = [content, *content.get("resumed", [])][-1]
    return found


def changed_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the splits or files that have another content now. A file may have moved."""
    was, found = before.get("sha256") or {}, now.get("sha256") or {}
    generated = before.get("kind") == now.get("kind") == "embedded"
    if generated and any(name.endswith(".py") for name in was):
        # Runs of before told generated data by the sources that make it, where any edit counted.
        if before.get("description") != now.get("description"):
            return sorted(found)
        was = {name: digest for name, digest in was.items() if not name.endswith(".py")}
        found = {name: digest for name, digest in found.items() if name in was}
    if not was or list(was.values()) == list(found.values()):
        return []
    if was.keys() == found.keys():
        return [name for name in found if found[name] != was[name]]
    return [name for name in found if found[name] not in was.values()] or sorted({*was, *found})


def changed_surroundings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Versions and threads that are not those of ``before``: ``torch 2.9.0 is now 2.10.0``."""

    def named(session: Mapping[str, Any]) -> dict[str, Any]:
        machine = session.get("machine") or {}
        threads = {"threads": machine.get("torch_threads", machine.get("blas_threads"))}
        own = {name: session.get(name) for name in ("scratchlab", "python")}
        gpus = {"GPU": ", ".join(machine.get("gpus") or []) or None}
        return {**own, **(session.get("packages") or {}), **threads, **gpus}

    was, found = named(before), named(now)
    return [
        f"{name} {was[name]} is now {found[name]}"
        for name in was
        if was[name] is not None and found.get(name) not in (None, was[name])
    ]


def read_manifest(path: Path, *, whole: bool = False) -> dict[str, Any]:
    """What was written; empty if there is none (a run of before had none).

    So it is, with a warning, if it cannot be read, or (``whole``: it matters) a UserError.
    """
    session = {
        "data?": "dict[str, Any]",
        "began_with?": {"kind": "str", "checkpoint": "str", "sha256": "str"},
        "own_part?": SCHEMA,
        "taught_by?": {"teachers": "dict[str, str]", "targets?": "str"},
    }
    try:
        return require(read_json(path), {**session, "resumed?": "list[dict[str, Any]]"}, path)
    except UserError as error:
        if not path.exists():
            return {}
        if whole:
            raise
        text = f"{error.message}; on what and from what the run was made is not known"
        warnings.warn(text, stacklevel=1)
        return {}


@functools.cache
def versions() -> dict[str, str]:
    """Installed versions of the packages that results can depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def git_commit() -> dict[str, Any] | None:
    """Commit of the checkout that the code runs from, and whether it was changed; or None.

    Once a process, whose code was read when it began; so is that of runs which are forked from it.
    """
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
