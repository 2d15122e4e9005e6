"""A process that has everything imported and forks one child for each command it is given.

Tests of killed, starved and interrupted commands need dozens of real processes; importing torch
anew in each would take longer than the commands. A child is a process of its own: it has its own
memory, signals and limits, and ends as ``python -m scratchlab`` does.

Reads one JSON request a line from standard input and answers with one line on standard output:
``{"start": {...}}`` with ``{"pid": N}``, ``{"wait": N}`` with ``{"code": N}`` (minus the signal if
one killed it), ``{"poll": N}`` with ``{"code": N or null}``.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PARENT = "SCRATCHLAB_PARENT"
LIMITS = {"memory": resource.RLIMIT_AS, "file": resource.RLIMIT_FSIZE}


# What most commands come to import, some of it late: each forked child has it already.
LIGHT = ("psutil", "rich.console", "rich.progress", "rich.table")
HEAVY = (
    "matplotlib.backends.backend_agg", "matplotlib.figure", "matplotlib.pyplot", "optuna",
    "sacrebleu", "safetensors.torch", "scipy.stats", "sklearn.datasets", "sklearn.metrics",
    "sklearn.model_selection",
    "torch", "torch._dynamo", "torch._inductor", "scratchlab.data.sets.corpora",
    "scratchlab.data.sets.translation", "scratchlab.decoding.greedy", "scratchlab.lab.evaluate",
    "scratchlab.lab.predict", "scratchlab.lab.train", "scratchlab.models.gpt",
    "scratchlab.models.transformer_mt", "scratchlab.reporting.comparison",
    "scratchlab.reporting.plots", "scratchlab.studies.sweep.source", "scratchlab.training.fit",
    "scratchlab.training.gradient",
)  # fmt: skip


def preload(everything: bool) -> None:
    """Import what commands import, and read the YAML files once."""
    from scratchlab import registry
    from scratchlab.config.compose import compose

    for section in ("dataset", "model", "evaluator", "tracker", "trainer", "optimizer"):
        registry.section_parts(section)
    for name in (*LIGHT, *(HEAVY if everything else ())):
        importlib.import_module(name)
    if everything:
        import torch

        torch.set_num_threads(1)
        compose(["model=transformer_mt"])


def drop_capabilities() -> None:
    """Let permissions of files count even for root, who could otherwise write anywhere."""
    version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(version_3, none):
        raise OSError(ctypes.get_errno(), "capset")


def child(request: dict[str, Any]) -> int:
    """Become the command: its folder, streams, limits and rights; then run it."""
    os.chdir(request["cwd"])
    os.environ.update(request.get("environment", {}))
    stdin = os.open(request.get("stdin") or os.devnull, os.O_RDONLY)
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    err = os.open(request["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor, number in ((stdin, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, m) for n, m in ((0, "r"), (1, "w"), (2, "w")))
    for name, value in request.get("limits", {}).items():
        if name == "memory":
            value += int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf(
                "SC_PAGESIZE"
            )
        resource.setrlimit(LIMITS[name], (value, value))
    if request.get("powerless"):
        drop_capabilities()
    if request.get("fork_runs"):
        from scratchlab.studies import workers

        workers.Nursery = Here  # type: ignore[misc,assignment]
    if request.get("planted"):
        from tests.support import planted

        name, *arguments = request["planted"]
        getattr(planted, name)(*arguments)

    from scratchlab.cli import main

    code = main(request["arguments"])
    if request.get("modules"):
        Path(request["modules"]).write_text(json.dumps(sorted(sys.modules)))
    return code


class Here:
    """Stands in for :class:`scratchlab.studies.nursery.Nursery`: forks from this very process,
    which has everything imported already."""

    def __init__(self, *settings: Any) -> None:
        self.variables = settings[0] or {}

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start(
        self, arguments: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
    ) -> Forked:
        return Forked(arguments, {**self.variables, **(variables or {})}, log)


class Forked:
    """A run of a suite or sweep as a fork of this process: a session, a log, an environment and
    signals of its own, and the same end if its parent dies."""

    def __init__(self, arguments: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        self.code: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        parent = str(os.getpid())
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                code = self.become(arguments, {**variables, PARENT: parent}, log)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def become(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        from scratchlab.cli import main
        from scratchlab.studies.orphans import end_with_parent

        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output = os.open(log, os.O_WRONLY | os.O_APPEND)
        for number in (1, 2):
            os.dup2(output, number)
        os.environ.update(environment)
        end_with_parent()
        return main(list(arguments))

    def poll(self, flags: int = os.WNOHANG) -> int | None:
        if self.code is None:
            found, status = os.waitpid(self.pid, flags)
            if found:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self) -> int:
        code = self.poll(0)
        assert code is not None
        return code

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def end(code: int) -> None:
    """End as Python does, but leave the memory of a hundred modules to the system: taking them
    down one by one costs a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Answer requests until standard input ends."""
    codes: dict[int, int] = {}

    def ended(pid: int, flags: int) -> int | None:
        if pid not in codes:
            found, status = os.waitpid(pid, flags)
            if not found:
                return None
            codes[pid] = os.waitstatus_to_exitcode(status)
        return codes[pid]

    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                end(child(request["start"]))
            answer = {"pid": pid}
        elif "wait" in request:
            answer = {"code": ended(request["wait"], 0)}
        else:
            answer = {"code": ended(request["poll"], os.WNOHANG)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    preload(everything="--light" not in sys.argv)
    gc.freeze()  # a collection in a child leaves alone, and so uncopied, what is here already
    with contextlib.suppress(BrokenPipeError):
        serve()
