"""Runs as forks of one process that has everything imported.

Importing torch, scikit-learn and the parts takes longer than many a training does. The *nursery* is
a process that does it once and then forks a child for each run; so does composing YAML files, which
runs that choose the same of them share. A child has its own memory, session, signals, log and end,
so a run that fails disturbs no other. The nursery itself computes nothing. It never looks for
modules in the current folder (``python -P``), nor do its children.

It reads one JSON request a line and answers each with one line: ``{"start": {...}}`` with
``{"pid": N}`` or ``{"error": text}``, ``{"ended": N, "wait": bool}`` with ``{"code": N or null}``
(minus the signal if one killed it); both have the ``number`` of the request. When its input ends it
ends, and the kernel asks its children to save and stop (see :mod:`scratchlab.studies.orphans`).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

import psutil

from scratchlab.config.compose import Command, compose
from scratchlab.registry import KINDS, is_estimator, section_parts
from scratchlab.run.manifest import git_commit, versions
from scratchlab.studies.orphans import PARENT, end_with_parent

# The folder that holds this package, behind everything else: it may not be installed.
SERVE = f"""
import sys
sys.path.append({str(Path(__file__).resolve().parents[2])!r})
from scratchlab.cli import main
from scratchlab.studies.nursery import serve
sys.exit(serve(main, sys.argv[1:]))
"""


class Process(Protocol):
    """A process as :class:`subprocess.Popen` has it."""

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


# What every run imports: the verbs, and what draws curves and prints tables.
ALWAYS = (
    *("scratchlab.commands.train", "scratchlab.commands.eval"),
    *("scratchlab.lab.train", "scratchlab.lab.evaluate", "scratchlab.reporting.plots"),
    *(
        "matplotlib.backends.backend_agg",
        "matplotlib.figure",
        "PIL.PngImagePlugin",
        "rich.console",
        "rich.table",
    ),
)
OF_ESTIMATORS = ("sklearn.metrics", "sklearn.model_selection", "sklearn.datasets")


def modules_of(config: Mapping[str, Any]) -> list[str]:
    """What a run of this configuration imports beside what all do: its parts and libraries."""
    fitted = is_estimator(config)
    found = list(OF_ESTIMATORS) if fitted else ["torch"]
    for section in {section for _, section in KINDS.values()}:
        if fitted and section == "task":  # estimators have losses of their own
            continue
        chosen = config.get(section) or {}
        entries = [chosen] if "name" in chosen else list(chosen.values())
        known = section_parts(section)
        names = [e.get("name") for e in entries if isinstance(e, Mapping)]
        found += [known[name].module for name in names if name in known]
    return found


class Nursery:
    """The process that runs are forked from; ends with the block that it is entered in.

    ``variables`` are added to the environment of all runs; ``modules`` are imported beforehand,
    what else runs need when the first of their kind is started.
    """

    def __init__(
        self, variables: Mapping[str, str] | None = None, modules: Sequence[str] = ALWAYS
    ) -> None:
        self.modules = modules
        self.environment = {**os.environ, **(variables or {}), "PYTHONSAFEPATH": "1"}
        self._process: subprocess.Popen[str] | None = None
        self._asked = 0

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.stdin and self._process.stdout:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
        self._process = None

    def start(
        self, arguments: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
    ) -> Process:
        """A process that runs ``scratchlab ARGUMENTS``; all that it prints is added to ``log``.
        ``variables`` are added to the environment of this run.

        Raises:
            OSError: it cannot be started.
        """
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-P", "-c", SERVE, *self.modules]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self.environment,
                start_new_session=True,  # Ctrl-C reaches this process, which passes it on
            )
        request = {"arguments": list(arguments), "log": str(log.absolute())}
        answer = self.ask(start={**request, "variables": dict(variables or {})})
        if answer is None:
            raise OSError(f"the process that starts runs has ended (code {self._process.poll()})")
        if "error" in answer:
            raise OSError(answer["error"])
        return Child(self, self._process, int(answer["pid"]))

    def is_served_by(self, process: object) -> bool:
        """Whether this very process answers, and no other that took its place."""
        return self._process is process

    def ask(self, **request: Any) -> dict[str, Any] | None:
        """The answer to a request; None where there is nobody to answer."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        self._asked += 1
        try:
            process.stdin.write(json.dumps({**request, "number": self._asked}) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                answer: dict[str, Any] = json.loads(line)
                if answer["number"] == self._asked:  # else to a question that a signal cut short
                    return answer
        except OSError:
            pass
        return None


class Child:
    """A run that was forked from a nursery."""

    def __init__(self, nursery: Nursery, parent: object, pid: int) -> None:
        self.nursery, self.parent, self.pid = nursery, parent, pid
        self.code: int | None = None

    def poll(self) -> int | None:
        return self._ended(wait=False)

    def wait(self) -> int:
        while (code := self._ended(wait=True)) is None:
            time.sleep(0.02)
        return code

    def _ended(self, *, wait: bool) -> int | None:
        if self.code is None:
            answer = None
            if self.nursery.is_served_by(self.parent):
                answer = self.nursery.ask(ended=self.pid, wait=wait)
            if answer is not None:
                self.code = answer["code"]
            elif not _is_alive(self.pid):  # nobody is left to tell how it ended
                self.code = -int(signal.SIGKILL)
        return self.code

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def serve(main: Callable[[list[str]], int], modules: Sequence[str]) -> int:
    """Import ``modules`` and answer requests until the input ends; in a child: ``main`` of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers have a stream of their own: what a module prints while it is imported is none.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _import(modules)
    git_commit(), versions()  # for the manifests of all runs, whose code is that of now
    ready: set[tuple[str, ...]] = set()
    codes: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            _get_ready(request["start"]["arguments"], ready)
            try:
                pid = os.fork()
            except OSError as error:
                answer: dict[str, Any] = {"error": f"no process can be started: {error.strerror}"}
            else:
                if pid == 0:
                    answers.close()  # the reader must see the end when the nursery ends
                    _run(main, **request["start"])
                answer = {"pid": pid}
        else:
            answer = {"code": _code(codes, request["ended"], request["wait"])}
        answers.write(json.dumps({**answer, "number": request["number"]}) + "\n")
        answers.flush()
    return 0


def _import(modules: Iterable[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # the run that needs it will say what is wrong
            importlib.import_module(name)


def _get_ready(arguments: Sequence[str], ready: set[tuple[str, ...]]) -> None:
    """Compose and import once what runs that choose the same parts have in common.

    ``ready`` remembers the choices. What is wrong with a command, its run will say.
    """
    verb, *words = arguments
    config_dir = words[1] if words[:1] == ["--config-dir"] else None
    words = words[2:] if config_dir else words
    with contextlib.suppress(Exception):
        chosen = [word.line for word in Command.read(words, config_dir).chosen]
        if verb == "train" and (choices := (str(config_dir), *chosen)) not in ready:
            ready.add(choices)
            _import(modules_of(compose(words, config_dir=config_dir).config))
            gc.collect()
            gc.freeze()  # collections in the runs leave these pages alone, shared by all


def _code(codes: dict[int, int], pid: int, wait: bool) -> int | None:
    if pid not in codes:
        found, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
        if found:
            codes[pid] = os.waitstatus_to_exitcode(status)
    return codes.get(pid)


def _run(
    main: Callable[[list[str]], int], arguments: list[str], log: str, variables: dict[str, str]
) -> NoReturn:
    """Become the run: its session, signals and streams; run its command and end.

    The interpreter is not taken down, which would copy all that was imported to throw it away.
    """
    parent = os.getppid()
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, number)
    os.close(nothing)
    os.close(output)
    sys.stdin = os.fdopen(0)
    sys.argv = ["scratchlab", *arguments]
    os.environ.update(variables)
    os.environ[PARENT] = str(parent)
    end_with_parent()
    code = 1
    try:
        code = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
