"""The process that runs people's files: each in a child of its own, with limits.

Reads ``{"files": [{"path", "source", "sha256", "exercise"}, …], "seconds": N}`` from standard input
and writes a report a file, a line of JSON each, to standard output. What the exercises need (torch,
or NumPy alone) is imported once, before the children are forked; nothing is computed here, and the
one who starts this process sees to it that no library starts threads (:mod:`.bench`).
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import psutil

from scratchlab.errors import UserError
from scratchlab.exercises.checking.judging import TooLong, expected, failure, judge, speed
from scratchlab.exercises.checking.solution import (
    Solution,
    functions_of,
    load_exercise,
    not_from_scratch,
    run_module,
)

Report = dict[str, Any]
Work = Callable[[Report, Callable[[], None]], None]
IDLE = 5.0  # seconds after which a child that computes nothing (it sleeps, say) is ended
GRACE = 2.0  # seconds of computing for a child that swallows the exception that is to end it
MEMORY = 2 << 30  # bytes that a file may ask for beyond what the libraries take
PRINTED = 1 << 20  # bytes that it may print
SHOWN = 20  # lines of that are shown


def main() -> None:
    """Answer what stands on standard input."""
    asked = json.loads(sys.stdin.buffer.read())
    for entry in asked["files"]:
        solution = Solution(Path(entry.pop("path")), **entry)
        report = checked(solution, float(asked["seconds"]))
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


def checked(solution: Solution, seconds: float) -> Report:
    """The report of one file, which runs in a child of this process."""
    exercise = load_exercise(solution.exercise)

    def work(report: Report, publish: Callable[[], None]) -> None:
        cases = expected(exercise)  # before anything of the person's could change what is right
        limit_resources()
        try:
            functions = functions_of(run_module(solution), exercise, solution.path)
        except UserError as error:
            report["fault"] = str(error)
            return
        except (Exception, SystemExit, TooLong) as error:
            report["trouble"] = failure(error, solution).text
            return
        for verdict in judge(exercise, cases, functions, solution):
            report["verdicts"].append(asdict(verdict))
            publish()
        report["library"] = not_from_scratch(solution, exercise)
        if not any(v["wrong"] for v in report["verdicts"]):
            report["right"] = True
            publish()
            with contextlib.suppress(TooLong):  # right, but too slow to be measured
                report["speed"] = asdict(speed(exercise, functions))

    report = apart(work, seconds)
    return {"file": str(solution.path), "exercise": solution.exercise, **report}


def apart(work: Work, seconds: float) -> Report:
    """Fill a report in a child process that has ``seconds`` of computing; what it published before
    it was ended counts."""
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            os.close(read)
            _child(work, seconds, write, printed)
        os.close(write)
        try:
            lines, waited = _received(read, child, seconds + GRACE)
        finally:
            os.close(read)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        report: Report = json.loads(lines[-1]) if lines else _empty()
        if waited:
            report["trouble"] = f"it does not come to an end: it {waited}"
        elif not report.pop("complete", False) and not report["trouble"]:
            how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "itself"
            report["trouble"] = f"the process was ended by {how}"
        report["printed"], report["more_printed"] = _lines_of(printed)
    report.pop("complete", None)
    return report


def _empty() -> Report:
    """What is to be filled: ``fault``, the file cannot be used; ``trouble``, what ended it."""
    return {
        "fault": None,
        "trouble": None,
        "verdicts": [],
        "right": False,
        "speed": None,
        "library": [],
    }


def _child(work: Work, seconds: float, pipe: int, printed: IO[bytes]) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        report = _empty()

        def publish() -> None:
            os.write(pipe, json.dumps(report).encode() + b"\n")

        with limited(seconds):
            try:
                work(report, publish)
            except TooLong as error:
                report["trouble"] = failure(error, None).text
        report["complete"] = True
        publish()
        code = 0
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
    finally:
        os._exit(code)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Inside, :class:`TooLong` is raised after ``seconds`` of computing."""

    def over(number: int, frame: Any) -> None:
        raise TooLong

    signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # again, should it have been swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_resources() -> None:
    """Limit this process's memory, and what it can write to files, from here on."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (PRINTED, PRINTED))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _received(pipe: int, child: int, seconds: float) -> tuple[list[str], str]:
    """The whole lines that come through a pipe until it is closed; and, where that was not waited
    for, why.

    What counts is what the child computes: on a busy machine that takes any time.
    """
    content, process = b"", psutil.Process(child)
    computed, since = 0.0, time.monotonic()
    while True:
        ready, _, _ = select.select([pipe], [], [], 0.2)
        if ready:
            piece = os.read(pipe, 1 << 16)
            if not piece:
                return content.decode().splitlines(), ""
            content += piece
        whole = content[: content.rfind(b"\n") + 1].decode().splitlines()
        if not ready and process.status() == psutil.STATUS_ZOMBIE:
            return whole, ""  # a child of the child holds the pipe
        times = process.cpu_times()
        if times.user + times.system > seconds:
            return whole, "swallows every exception"
        if times.user + times.system > computed + 0.05:
            computed, since = times.user + times.system, time.monotonic()
        if time.monotonic() - since > IDLE:
            return whole, "waits for something"


def _lines_of(printed: IO[bytes]) -> tuple[list[str], int]:
    """The first lines of what a file printed, and how many more there were."""
    printed.seek(0)
    lines = printed.read(PRINTED).decode("utf-8", "replace").splitlines()
    return [line[:200] for line in lines[:SHOWN]], max(0, len(lines) - SHOWN)
