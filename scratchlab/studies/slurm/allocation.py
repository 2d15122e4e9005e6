"""A worker in its job: it hands its runs over before its time is up and queues again.

Slurm tells a worker of the end of its time by SIGUSR1 (as asked by
:func:`scratchlab.studies.slurm.jobs.submit`), and by SIGTERM that it is preempted, requeued or
cancelled. Both make it save and release what it runs. After the first it asks for another
allocation itself; after the second Slurm starts it again if it is to be.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from scratchlab.studies.slurm.jobs import RESTARTS, SlurmError, ask


def own_task() -> str:
    """The job or array task that this process is in, as Slurm writes it; "" if in none."""
    array, number = (os.environ.get(f"SLURM_ARRAY_{name}_ID", "") for name in ("JOB", "TASK"))
    if array.isdecimal() and number.isdecimal():
        return f"{array}_{number}"
    job = os.environ.get("SLURM_JOB_ID", "")
    return job if job.isdecimal() else ""


class Allocation:
    """Entered around the work of a worker that :func:`submit` started; for others it is nothing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.is_over = False
        allowed = os.environ.get(RESTARTS, "")
        self.is_ours = bool(own_task()) and allowed.isdecimal()
        self.restarts = int(allowed) if self.is_ours else 0
        self._before: Any = None

    def __enter__(self) -> Allocation:
        if self.is_ours:
            self._before = signal.signal(signal.SIGUSR1, self._end_of_time)
            self.say(f"a worker in Slurm's job {own_task()}{self._again()}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_ours:
            signal.signal(signal.SIGUSR1, self._before)
            if self.is_over and error is not None:
                self._queue_again()

    def _again(self) -> str:
        count = self._restarted()
        return f", started again (restart {count})" if count else ""

    def _restarted(self) -> int:
        count = os.environ.get("SLURM_RESTART_COUNT", "")
        return int(count) if count.isdecimal() else 0

    def _end_of_time(self, number: int, frame: FrameType | None) -> None:
        if not self.is_over:
            self.is_over = True
            os.kill(os.getpid(), signal.SIGTERM)  # the usual way to be asked to save and stop

    def _queue_again(self) -> None:
        if self._restarted() >= self.restarts:
            self.say(f"the time is up, and slurm.restarts={self.restarts}: not queued again")
            return
        self.say("the time is up: queued again")
        try:
            ask("scontrol", "requeue", os.environ["SLURM_JOB_ID"])
        except SlurmError as error:
            self.say(f"not queued again: {error}")
