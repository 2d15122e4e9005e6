"""The command's side of ``launcher=slurm``: as many workers as there is work for, then waiting.

The command itself runs nothing. It may end at any time: workers pull what there is to do, and
whoever ends last makes the tables.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from scratchlab.config.overrides import key_of
from scratchlab.errors import Stopped, UserError, number_of
from scratchlab.run.interrupt import Interrupt
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.slurm.jobs import SlurmError, Task, cancel_waiting, submit, tasks
from scratchlab.studies.slurm.options import Config

SHORTEST_LOOK, LONGEST_LOOK = 1.0, 15.0  # seconds between two looks at queue and study
STEP = 0.2
# Reasons to wait that end by themselves, and those for which somebody has to do something.
USUAL = ("", "None", "Priority", "Resources", "BeginTime")
LASTING = (
    *("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "PartitionDown"),
    *("BadConstraints", "JobHeldAdmin", "JobHeldUser", "InvalidAccount", "InvalidQOS"),
)


class Shared(Protocol):
    """A study whose runs are pulled by several processes."""

    def left(self) -> int:
        """How many trials or runs have not ended and may still be begun or be going on."""

    def states(self) -> dict[str, str]:
        """How each that was begun stands, for people."""


def worker_words(
    verb: str, words: Sequence[str], config: Config, threads: int | None, config_dir: str | None
) -> list[str]:
    """The arguments of a worker's process: those of the command but for what is the command's."""
    workers_key = "sweep.workers" if verb == "sweep" else "workers"
    own = ("launcher", "wait", "threads", workers_key)
    kept = [w for w in words if key_of(w) not in own and not key_of(w).startswith("slurm.")]
    flags = ["--config-dir", config_dir] if config_dir else []
    of_worker = [f"{workers_key}={config.runs}", f"threads={config.threads(threads)}"]
    return [verb, *kept, *of_worker, *flags, "--worker"]


class Launch:
    """Workers of a study in Slurm; made before the study's folder is.

    ``workers``: runs at a time in all of them together.
    """

    def __init__(
        self, config: Config, folder: StudyFolder, workers: int, say: Callable[[str], None]
    ) -> None:
        self.config, self.folder, self.say = config, folder, say
        self.is_new = not folder.path.exists()
        self.workers = math.ceil(workers / config.runs)

    def start(self, study: Shared, arguments: Sequence[str]) -> None:
        """Submit the workers that are missing."""
        left = study.left()
        if not left:
            return
        there = [task for task in tasks(self.folder) if task.works]
        wanted = min(self.workers, math.ceil(left / self.config.runs)) - len(there)
        if there:
            jobs = ", ".join(dict.fromkeys(task.job for task in there))
            self.say(f"{number_of(len(there), 'worker')} in Slurm already (job {jobs})")
        if wanted > 0:
            try:
                job = submit(self.config, self.folder, arguments, wanted)
            except UserError:
                self._leave_nothing()
                raise
            logs = self.folder.logs / f"slurm-{job}_*.log"
            self.say(f"submitted {number_of(wanted, 'worker')} to Slurm: job {job} (logs: {logs})")

    def _leave_nothing(self) -> None:
        """Take away what was made for a study that nobody works at."""
        if self.is_new and not any(self.folder.path.glob("*/config.yaml")):
            shutil.rmtree(self.folder.path, ignore_errors=True)

    def leave(self) -> None:
        """Say how it goes on without this command."""
        self.say(
            f"the workers go on in Slurm ({self._cancel()}): --status shows what runs where, the "
            "worker that ends last makes the tables, and so does the same command again"
        )

    def _cancel(self) -> str:
        try:
            jobs = list(dict.fromkeys(task.job for task in tasks(self.folder)))
        except SlurmError:
            jobs = []
        return f"scancel {' '.join(jobs)} ends them" if jobs else "none is left"

    def follow(self, study: Shared) -> None:
        """Wait until nothing is left to do, or nobody to do it; tell what changes.

        Raises:
            Stopped: a signal came; the workers go on.
        """
        known = study.states()
        waits: dict[str, str] = {}
        pause, trouble = SHORTEST_LOOK, ""
        with Interrupt() as interrupt:
            while True:
                left, now = study.left(), study.states()
                for name, state in now.items():
                    if known.get(name) != state:
                        self.say(f"{name}: {state}")
                        pause = SHORTEST_LOOK
                known = now
                try:
                    there = tasks(self.folder)
                    trouble = ""
                    self._tell_waits(there, waits)
                    if not left:
                        cancel_waiting(self.folder)
                        return
                    if not there and study.left():
                        logs = self.folder.logs
                        self.say(
                            f"{left} are left and no worker is (logs: {logs}/slurm-*.log); the "
                            "same command submits others"
                        )
                        return
                except SlurmError as error:  # it may come back
                    if str(error) != trouble:
                        self.say(f"warning: {error}")
                    trouble = str(error)
                    if not left:
                        return
                ends = time.monotonic() + pause
                while time.monotonic() < ends and interrupt.requested is None:
                    time.sleep(STEP)
                if interrupt.requested is not None:
                    self.leave()
                    raise Stopped(interrupt.requested)
                pause = min(LONGEST_LOOK, 1.2 * pause)

    def _tell_waits(self, there: Sequence[Task], told: dict[str, str]) -> None:
        """Say once why a job has to wait: some reasons do not go away."""
        waiting = {task.job: task.place for task in there if task.state == "PENDING"}
        for job, reason in waiting.items():
            if reason in (*USUAL, told.get(job)):
                continue
            told[job] = reason
            advice = ""
            if reason in LASTING or "Limit" in reason:
                advice = f", which may last for ever: scancel {job}, and ask for something else"
            self.say(f"job {job} waits: {reason}{advice}")
