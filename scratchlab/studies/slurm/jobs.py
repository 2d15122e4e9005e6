"""What Slurm is asked and told: submit an array of workers, list a study's tasks, cancel some.

A worker is a command line, and Slurm is given nothing else: submitit writes the batch script and
hands it to ``sbatch``. Its executors pickle a function for that and unpickle it on the other
machine, from a folder that others may be able to write to; here only the step behind that is used,
which takes a command, so that no pickle is written or read.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.reading import read_json
from scratchlab.errors import MissingPackageError, UserError, suggest
from scratchlab.run.atomic import write_json
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.slurm.options import MORE, Config

RECORD = "slurm.json"
RESTARTS = "SCRATCHLAB_RESTARTS"  # in a worker's environment: as often may it queue again
SECONDS_BEFORE_THE_END = 60  # of the time limit, at which a worker is told
SECONDS_OF_SILENCE = 60.0  # of one of Slurm's programs
# This package may not be installed: its folder comes behind everything else.
START = f"""\
import sys
sys.path.append({str(Path(__file__).resolve().parents[3])!r})
from scratchlab.cli import main
sys.exit(main())"""


class SlurmError(UserError):
    """One of Slurm's programs refused, or did not answer."""


@dataclass(frozen=True)
class Task:
    """A worker as Slurm has it: ``job`` is the number of the array, ``name`` that of the task;
    ``place`` a node, or why it waits for one."""

    job: str
    name: str
    state: str
    place: str
    time: str

    @property
    def works(self) -> bool:
        """Whether it runs or will."""
        return self.state != "COMPLETING"


def require_slurm() -> None:
    """UserError where nothing can be submitted from."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "launcher=slurm: there is no sbatch on this machine",
            "Give the command on a machine of the cluster, or leave launcher=slurm out.",
        )


def submit(config: Config, folder: StudyFolder, arguments: Sequence[str], workers: int) -> str:
    """Start ``workers`` processes ``scratchlab ARGUMENTS`` as tasks of an array; its number.

    Raises:
        SlurmError: what Slurm has against it.
    """
    try:
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError as error:
        raise MissingPackageError("submitit", "launcher=slurm", "slurm") from error
    here, logs = Path.cwd(), folder.logs.absolute()
    for path in map(str, (here, logs)):
        if not path.isprintable():
            raise UserError(f"{path!r} cannot stand in a batch script", "Rename the folder.")
    logs.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "chdir": here,
        # Names of files hold what begins with a percent sign for Slurm.
        "output": f"{str(logs).replace('%', '%%')}/slurm-%A_%a.log",
        "error": f"{str(logs).replace('%', '%%')}/slurm-%A_%a.log",
        "requeue": True,
        "signal": f"B:USR1@{SECONDS_BEFORE_THE_END}",
    }
    if config.gpus is not None:
        settings["gpus-per-node"] = config.gpus
    for entry in config.more:
        found = MORE.fullmatch(entry)
        assert found is not None, entry
        settings[found[1]] = True if found[2] is None else found[2]
    command = [sys.executable, "-P", "-c", START, *arguments]
    with tempfile.TemporaryDirectory() as scripts:
        executor = SlurmExecutor(scripts)
        executor.update_parameters(
            job_name=job_name(folder),
            partition=config.partition,
            time=config.time,
            mem=config.memory,
            cpus_per_task=config.cpus,
            wckey=None,
            setup=[f"export {RESTARTS}={config.restarts}"],
            use_srun=False,  # a signal to the job is to reach the worker, with nobody between
            additional_parameters=settings,
        )
        executor.parameters["map_count"] = workers
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # the error holds the same text
                job = executor._submit_command(f"exec {shlex.join(command)}")
        except (FailedJobError, FailedSubmissionError) as error:
            raise SlurmError(*_refusal(str(error), config)) from error
    number = str(job.job_id)
    _note(folder, number, workers)
    return number


def _refusal(said: str, config: Config) -> tuple[str, str]:
    """Slurm's own words in a line, and what may help."""
    lines = [line.removeprefix("sbatch: error: ").strip() for line in said.splitlines()]
    text = "; ".join(dict.fromkeys(filter(None, lines))) or "sbatch gave no reason"
    hint = "sinfo shows what the cluster has; see slurm.partition, time, memory, cpus, gpus, more."
    if "partition" in text and config.partition is not None:
        try:
            known = set(ask("sinfo", "--noheader", "--format=%R").split())
        except SlurmError:
            known = set()
        if known and config.partition not in known:
            hint = suggest(config.partition, known, "Partitions")
    return f"Slurm refused the workers: {text}", hint


def job_name(folder: StudyFolder) -> str:
    return f"scratchlab-{folder.path.name}"


def _note(folder: StudyFolder, job: str, workers: int) -> None:
    """Remember the job with its study."""
    known = _noted(folder)
    submitted = time.strftime("%Y-%m-%d %H:%M:%S")
    entry = {"job": job, "workers": workers, "submitted": submitted}
    write_json(folder.path / RECORD, [*known, entry])


def _noted(folder: StudyFolder) -> list[dict[str, Any]]:
    path = folder.path / RECORD
    if not path.is_file():
        return []
    found: Any = read_json(path)
    if not isinstance(found, list) or not all(
        isinstance(entry, dict) and str(entry.get("job", "")).isdecimal() for entry in found
    ):
        raise UserError(f"{path} is no list of Slurm jobs", "Remove it: it is made anew.")
    return found


def is_submitted(folder: StudyFolder) -> bool:
    """Whether Slurm was ever given workers of this study."""
    return bool(_noted(folder))


def tasks(folder: StudyFolder) -> list[Task]:
    """The workers of a study that Slurm has, running or waiting; SlurmError if it cannot tell."""
    numbers = {str(entry["job"]) for entry in _noted(folder)}
    if not numbers:
        return []
    shown = ask(
        *("squeue", "--noheader", "--array", f"--user={os.getuid()}"),
        "--format=%F|%i|%T|%N|%r|%M|%j",
    )
    found = []
    for line in shown.splitlines():
        job, name, state, node, reason, spent, label = (line.split("|", 6) + [""] * 6)[:7]
        if job in numbers and label == job_name(folder):
            found.append(Task(job, name, state, node or reason, spent))
    return found


def cancel_waiting(folder: StudyFolder) -> None:
    """Take out of the queue the workers that nothing is left for."""
    jobs = sorted({task.job for task in tasks(folder) if task.state == "PENDING"})
    if jobs:
        ask("scancel", "--state=PENDING", *jobs)


def ask(*command: str) -> str:
    """What one of Slurm's programs prints."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS_OF_SILENCE, check=False
        )
    except OSError as error:
        raise SlurmError(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(
            f"{command[0]} has not answered for {error.timeout:.0f} seconds"
        ) from error
    if done.returncode:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise SlurmError(f"{command[0]}: {said.removeprefix(f'{command[0]}: error: ')}")
    return done.stdout
