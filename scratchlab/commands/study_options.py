"""What ``suite`` and ``sweep`` share: their own options among the overrides, and what they say."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab.commands.hydra_flags import hand_to_hydra, parser, say_overridden
from scratchlab.config.overrides import key_of, read_values
from scratchlab.config.schema import check_options
from scratchlab.errors import ConfigError
from scratchlab.registry import Option

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
)


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
    words: Sequence[str], options: Sequence[Option]
) -> tuple[dict[str, Any], list[str]]:
    """The values of ``options`` (written ``name=value``) and the words that are none."""
    known = {o.name for o in options}
    own = [w for w in words if key_of(w) in known]
    values, faults = read_values(own, options)
    complete, found = check_options("", values, options, ignore=())
    if faults or found:
        raise ConfigError([*faults, *found])
    return complete, [w for w in words if w not in own]


def say_unlike(folders: Sequence[Path]) -> None:
    """Warn of runs that were made on data which have changed in between."""
    from scratchlab.studies.runs import unlike_data

    for name in unlike_data(folders):
        say(f"warning: {name} was made when the data had another content than for those before it")


def say(text: str) -> None:
    """A line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)
