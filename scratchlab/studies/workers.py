"""Runs as processes: several at once, each with its own threads and log.

What is to run comes from a :class:`Source`; how each run ended goes back to it. A run that fails
does not disturb the others. A signal is passed on once to every process, so that each saves a
checkpoint; no process outlives this one (see :mod:`scratchlab.studies.orphans`).
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from scratchlab.errors import Stopped, UserError, number_of
from scratchlab.run.folder import RunFolder
from scratchlab.run.interrupt import Interrupt
from scratchlab.studies.nursery import Nursery, Process

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_SAVE = 60.0
STOP = "stopped"  # a reason to end a run: it is to go on another time
TAIL_BYTES = 20_000
WORKERS_OF_A_CORE = 8  # at most
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One run: the words after ``scratchlab``, the run folder it fills, and the file of its output.

    ``name`` tells it apart from the others of its study.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    log: Path


@dataclass
class Outcome:
    """How a run ended: done, failed, stopped (with all others), pruned, or left out."""

    name: str
    status: str
    reason: str = ""
    log: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Source(Protocol):
    """Where :func:`run_all` gets its work from and says how it went."""

    def take(self) -> Job | None:
        """The next run that may start now, or None."""

    def waits(self) -> bool:
        """Asked when there is none and nothing runs: whether there may be one yet. If not, the
        work has ended."""

    def started(self, job: Job) -> None:
        """The run's process was started."""

    def watch(self, job: Job) -> str:
        """Looked at now and then while the run goes on; a text is the reason to end it early, STOP
        leaves it to be gone on with."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """The run's process has ended."""


@dataclass
class Running:
    """A run whose process was started."""

    job: Job
    process: Process
    log_start: int
    began: float
    ending: str = ""  # why we asked it to end


def run_all(
    source: Source,
    workers: int,
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Run everything that ``source`` gives, ``workers`` processes at a time.

    ``threads`` of each process: None leaves it to the run. Raises :class:`Stopped` after SIGINT or
    SIGTERM, once every process has ended.
    """
    running: list[Running] = []
    waiting: list[Job] = []  # their folders are still held by another process
    variables = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
    with Nursery(variables) as nursery:
        try:
            with Interrupt() as interrupt:
                while interrupt.requested is None:
                    _start_free(source, running, waiting, workers, nursery, say, interrupt)
                    if not running and not waiting and not source.waits():
                        return
                    _look(source, running, interrupt)
                    time.sleep(_pause(running))
                say(f"{interrupt.requested}: asking {len(running)} runs to save and stop")
                for one in running:
                    one.ending = one.ending or STOP
                    one.process.terminate()
                while running:
                    _look(source, running, interrupt)
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                raise Stopped(interrupt.requested)
        except Exception:  # such as a study that cannot be written: the runs are worth a checkpoint
            for one in running:
                one.process.terminate()
            limit = time.monotonic() + SECONDS_TO_SAVE
            while any(one.process.poll() is None for one in running) and time.monotonic() < limit:
                time.sleep(SECONDS_BETWEEN_LOOKS)
            raise
        finally:
            for one in running:
                one.process.kill()
                one.process.wait()


def _start_free(
    source: Source,
    running: list[Running],
    waiting: list[Job],
    workers: int,
    nursery: Nursery,
    say: Callable[[str], None],
    interrupt: Interrupt,
) -> None:
    """Fill the free places; a folder in use is waited for (its process may be about to end)."""
    while len(running) < workers:
        job = next((j for j in waiting if not in_use(j.folder)), None)
        if job is not None:
            waiting.remove(job)
        elif len(running) + len(waiting) < workers:
            job = source.take()
            if job is not None and in_use(job.folder):
                say(f"{job.name}: waits for the process that uses {job.folder}")
                waiting.append(job)
                continue
        if job is None:
            return
        source.started(job)
        try:
            running.append(start(job, nursery))
        except OSError as error:  # no memory or no process left, a log that cannot be written
            reason = f"the process could not be started: {error.strerror or error}"
            status = "stopped" if _was_for_all(interrupt) else "failed"
            source.ended(job, Outcome(job.name, status, reason, str(job.log)))


def start(job: Job, nursery: Nursery, variables: Mapping[str, str] | None = None) -> Running:
    """Start the process of a run, with these ``variables`` in its environment.

    Raises:
        OSError: it cannot be started, or its log cannot be written.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        log.write(f"$ scratchlab {' '.join(job.arguments)}\n".encode())
        said = log.tell()
    process = nursery.start(job.arguments, job.log, variables)
    return Running(job, process, said, time.monotonic())


def _pause(running: list[Running]) -> float:
    """Seconds until the next look: less while a run has just begun, which may be a short one."""
    age = min((time.monotonic() - one.began for one in running), default=SECONDS_BETWEEN_LOOKS)
    return min(SECONDS_BETWEEN_LOOKS, max(0.01, age / 10))


def _was_for_all(interrupt: Interrupt) -> bool:
    """Whether what ended another process was a signal for this one as well, which may come a moment
    later: a scheduler tells all processes of a job, in any order."""
    time.sleep(SECONDS_BETWEEN_LOOKS)
    return interrupt.requested is not None


def _look(source: Source, running: list[Running], interrupt: Interrupt) -> None:
    """Take out the runs that have ended; end those that are not worth going on."""
    for one in list(running):
        code = one.process.poll()
        if code is None:
            reason = "" if one.ending else source.watch(one.job)
            if reason:
                one.ending = reason
                one.process.terminate()
            continue
        if (code < 0 or code == 130) and not one.ending and _was_for_all(interrupt):
            one.ending = STOP
        running.remove(one)
        source.ended(one.job, outcome_of(one, code))


def outcome_of(one: Running, code: int) -> Outcome:
    """How a run went whose process ended with this exit code (minus the signal that killed it)."""
    job = one.job
    status, reason = "failed", ""
    if code == 0 and RunFolder(job.folder).status()["status"] == "done":
        status = "done"
    elif one.ending == STOP:
        status = "stopped"
    elif one.ending:
        status, reason = "pruned", one.ending
    elif code < 0:
        name = signal.Signals(-code).name
        reason = f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    elif code == 130:
        reason = "stopped by a signal from outside"
    else:
        reason = _reason(job.log, one.log_start) or f"exit code {code}"
    seconds = round(time.monotonic() - one.began, 1)
    return Outcome(job.name, status, reason, str(job.log), seconds)


def _reason(log: Path, start: int) -> str:
    """What this attempt said last: its error message with advice, or a traceback's last line."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    lines = [line.rstrip() for line in lines if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if not errors:
        return lines[-1].strip() if lines else ""
    text, after = lines[errors[-1]].removeprefix("error: "), lines[errors[-1] + 1 :]
    # What stands indented below an error is the first of several problems, or the advice.
    if after and after[0].startswith(" "):
        text += f" {after[0].strip()}" if text.endswith("problems:") else f" ({after[0].strip()})"
    return text


def in_use(folder: Path) -> bool:
    """Whether another process trains into the folder."""
    try:
        handle: IO[str] = (folder / ".lock").open("r+")
    except OSError:
        return False
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def share_of_threads(workers: int, threads: int | None) -> int | None:
    """Threads for each process: as asked; else the cores shared out; None for a single worker.

    Raises:
        UserError: more workers than any machine of so many cores gains from.
    """
    affinity = hasattr(os, "sched_getaffinity")
    cores = (len(os.sched_getaffinity(0)) if affinity else os.cpu_count()) or 1
    if workers > (most := WORKERS_OF_A_CORE * cores):
        raise UserError(
            f"workers: {workers} runs at a time are too many for {number_of(cores, 'core')}",
            f"At most {most}; each is a process that holds data and a model of its own.",
        )
    if threads is not None or workers == 1:
        return threads
    return max(1, cores // workers)
