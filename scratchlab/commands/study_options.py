"""What ``suite`` and ``sweep`` share: their own options among the overrides, and what they say."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.commands.hydra_flags import hand_to_hydra, parser, say_overridden
from scratchlab.config.overrides import key_of, read_values
from scratchlab.config.schema import check_options
from scratchlab.errors import ConfigError, Fault
from scratchlab.registry import Option
from scratchlab.studies.slurm.options import slurm_options

if TYPE_CHECKING:
    from scratchlab.studies.runs import StudyFolder
    from scratchlab.studies.slurm.launch import Launch, Shared

STUDY_OPTIONS = (
    Option("name", "str | None", None, "folder of the study below output_dir", {}),
    Option("output_dir", "str", "outputs", "where that folder is", {}),
    Option(
        "threads",
        "int | None",
        None,
        "CPU threads of each run; null shares them out",
        {"min": 1, "max": 1024},
    ),
    Option("wait", "bool", True, "launcher=slurm: until the workers have done everything", {}),
)
SHARING = (
    ("--status", "show how everything stands and what runs where"),
    ("--worker", "help with what is left: what has failed is not tried again"),
)
LAUNCHER_HELP = """
launcher=slurm has a cluster do it: the command submits workers and waits (wait=false: not), and the
workers, tasks of a job array, go on without it. They see this folder under the same path. So many
run at a time in all as workers=N says (of a sweep: sweep.workers=N).
"""


def read_flags(
    arguments: Sequence[str], verb: str, more: Sequence[tuple[str, str]] = ()
) -> Namespace | None:
    """Flags (``more`` of the verb, with their meanings) and words of a command; None where Hydra's
    help was asked for, and shown."""
    p = parser(verb)
    for flag, meaning in (("--dry-run", "show what would be run"), *more):
        p.add_argument(flag, action="store_true", help=meaning)
    flags = p.parse_intermixed_args(list(arguments))
    if flags.hydra_help and not flags.help:
        hand_to_hydra(["--hydra-help"], verb)
        return None
    say_overridden(flags.overrides)
    return flags


def read_study_options(
    words: Sequence[str], options: Sequence[Option], launched: bool
) -> tuple[dict[str, Any], list[str]]:
    """The values of ``options`` (written ``name=value``) and the words that are none. ``launched``:
    something else than the command does the runs, so that it need not wait."""
    known = {o.name for o in options}
    own = [w for w in words if key_of(w) in known]
    values, faults = read_values(own, options)
    complete, found = check_options("", values, options, ignore=())
    if "wait" in values and not launched:
        found.append(Fault("wait", "does nothing without launcher=slurm"))
    if faults or found:
        raise ConfigError([*faults, *found])
    return complete, [w for w in words if w not in own]


def launcher_help() -> str:
    """The options of ``launcher=slurm`` with their meanings."""
    lines = [LAUNCHER_HELP.strip()]
    for o in slurm_options():
        default = "null" if o.default is None else o.default
        lines.append(f"  {f'slurm.{o.name}={default}':<24} {o.meaning}")
    return "\n".join(lines)


def run_in_slurm(launch: Launch, study: Shared, arguments: Sequence[str], wait: bool) -> bool:
    """Have the study done by workers in Slurm; False if it was left to them."""
    launch.start(study, arguments)
    if not wait:
        launch.leave()
        return False
    launch.follow(study)
    return True


def show_workers(folder: StudyFolder) -> None:
    """The workers that Slurm has of a study."""
    from scratchlab.studies.slurm.jobs import SlurmError, tasks
    from scratchlab.tracking.console import print_table

    try:
        rows = [(t.name, t.state.lower(), t.place, t.time) for t in tasks(folder)]
    except SlurmError as error:
        say(f"warning: what Slurm has of it is not known: {error}")
        return
    if rows:
        print_table("workers in Slurm", ("job", "state", "node or reason", "time"), rows)


def say_unlike(folders: Sequence[Path]) -> None:
    """Warn of runs that were made on data which have changed in between."""
    from scratchlab.studies.runs import unlike_data

    for name in unlike_data(folders):
        say(f"warning: {name} was made when the data had another content than for those before it")


def say(text: str) -> None:
    """A line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)
