"""The options of ``launcher=slurm``: ``slurm.KEY=VALUE``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchlab.config.overrides import key_of, last_value, read_values
from scratchlab.config.schema import check_options
from scratchlab.errors import ConfigError, Fault, UserError, suggest
from scratchlab.registry import Option, option, read_options

GROUP = "slurm"
LAUNCHERS = ("here", GROUP)
TIME = re.compile(r"\d+|\d+:\d\d|\d+:\d\d:\d\d|\d+-\d+(:\d\d){0,2}")
MEMORY = re.compile(r"[1-9]\d*([KMGT]B?)?")
GPUS = re.compile(r"([A-Za-z][\w.-]*:)?\d+")
WORD = re.compile(r"[\w.,:+*/%@&|!\[\]()-]+")  # what names and other options may consist of
MORE = re.compile(rf"([a-z][a-z-]*)(?:=({WORD.pattern}))?")
OURS = (
    *("array", "chdir", "error", "job-name", "no-requeue", "open-mode", "output", "requeue"),
    *("signal", "wrap"),
)


@dataclass(frozen=True)
class Config:
    """What each worker, a task of a job array, asks the cluster for."""

    partition: str | None = option(None, "where workers run; null: the cluster's default")
    time: str | None = option(
        None,
        "time limit of a worker, as Slurm writes it: 90 (minutes), 1:30:00 or 2-12 (days-hours); "
        "at its end the run is saved and the worker queues again; null: the partition's",
    )
    memory: str | None = option(None, "of a worker, such as 16G; null: the cluster's default")
    gpus: str | None = option(None, "of a worker: a number, or KIND:NUMBER such as a100:1")
    cpus: int = option(1, "cores of a worker, shared out as threads of its runs", min=1, max=1024)
    runs: int = option(
        1, "runs at a time in a worker, which share its cores, memory and GPUs", min=1, max=256
    )
    restarts: int = option(
        20, "how often a worker that has come to the end of its time queues again", min=0
    )
    more: list[str] = option([], "other options of sbatch, such as [account=physics,qos=long]")

    def threads(self, asked: int | None) -> int:
        """CPU threads of each run."""
        return asked or max(1, self.cpus // self.runs)


def slurm_options() -> tuple[Option, ...]:
    """The declared options."""
    return read_options(Path(__file__), "Config")


def read_launcher(words: Sequence[str], is_worker: bool = False) -> tuple[Config | None, list[str]]:
    """What a command asks of Slurm, None where its processes are started here; and its other
    words. A worker is started by somebody, and starts none."""
    own = [w for w in words if f"{key_of(w)}.".startswith((f"{GROUP}.", "launcher."))]
    rest = [w for w in words if w not in own]
    chosen = last_value(own, "launcher") or LAUNCHERS[0]
    if chosen not in LAUNCHERS:
        problem = f"there is no launcher {chosen!r}"
        raise ConfigError([Fault("launcher", problem, suggest(chosen, LAUNCHERS))])
    given = [w for w in own if key_of(w) != "launcher"]
    if chosen != GROUP:
        hint = "Write launcher=slurm to have the runs done by a cluster."
        faults = [Fault(w, "does nothing with launcher=here", hint) for w in given]
        if faults:
            raise ConfigError(faults)
        return None, rest
    if is_worker:
        raise UserError("launcher=slurm starts workers, --worker is one", "Leave out one of them.")
    values, faults = read_values(given, slurm_options(), f"{GROUP}.")
    complete, found = check_options(GROUP, values, slurm_options(), ignore=())
    faults += found
    if not faults:
        faults = _misfits(Config(**complete))
    if faults:
        raise ConfigError(faults)
    return Config(**complete), rest


def _misfits(config: Config) -> list[Fault]:
    """What Slurm would not understand, or understand as something else."""
    forms = (
        ("partition", WORD, "no name of a partition", "sinfo lists them."),
        ("time", TIME, "no time limit of Slurm's", "Write 90 (minutes), 1:30:00 or 2-12."),
        ("memory", MEMORY, "no amount of memory", "Write 800M or 16G."),
        ("gpus", GPUS, "no number of GPUs", "Write 2, or a100:2."),
    )
    faults = []
    for name, form, problem, hint in forms:
        value = getattr(config, name)
        if value is not None and not form.fullmatch(value):
            faults.append(Fault(f"{GROUP}.{name}", f"{value!r} is {problem}", hint))
    for entry in config.more:
        found = MORE.fullmatch(entry)
        where = f"{GROUP}.more"
        if found is None:
            hint = "Write [account=physics,exclusive]."
            faults.append(Fault(where, f"{entry!r} is no option of sbatch", hint))
        elif found[1] in OURS:
            faults.append(Fault(where, f"{found[1]} is set by the launcher"))
    return faults
