"""Hydra's own flags, kept working under every verb that composes a configuration."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml

from scratchlab.config.compose import Composed, compose
from scratchlab.config.groups import CONFIG_MODULE
from scratchlab.config.overrides import overridden, read_override
from scratchlab.config.sources import guard_sources
from scratchlab.errors import UserError


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message, "Options are KEY=VALUE; see scratchlab --help.")


def parser(description: str) -> ArgumentParser:
    """The flags that Hydra programs have, in Hydra's spelling."""
    p = _Parser(add_help=False, description=description, prefix_chars="-", allow_abbrev=False)
    p.add_argument("overrides", nargs="*")
    p.add_argument("--help", "-h", action="store_true", help="this text")
    p.add_argument("--hydra-help", action="store_true", help="Hydra's help")
    p.add_argument("--cfg", "-c", choices=["job", "hydra", "all"], help="show the configuration")
    p.add_argument("--resolve", action="store_true", help="with --cfg: interpolations resolved")
    p.add_argument("--package", "-p", help="with --cfg: only this part")
    p.add_argument(
        "--info",
        "-i",
        const="all",
        nargs="?",
        choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"],
        help="how the configuration is put together",
    )
    p.add_argument("--config-dir", "-cd", help="a folder with more YAML groups")
    p.add_argument("--config-name", "-cn", help="another primary configuration")
    p.add_argument("--multirun", "-m", action="store_true", help="use scratchlab sweep instead")
    return p


def read(arguments: Sequence[str], description: str, verb: str) -> Composed | None:
    """The composed configuration, or None if a flag asked for something else and it was done."""
    flags = parser(description).parse_intermixed_args(list(arguments))
    if flags.help:
        print(description.strip())
        return None
    if flags.hydra_help:
        hand_to_hydra(["--hydra-help"], verb)
        return None
    say_overridden(flags.overrides)
    composed = compose(flags.overrides, flags.config_name or "train", flags.config_dir)
    for note in composed.notes:
        print(f"note: {note}", file=sys.stderr)
    return None if answered(flags, verb, flags.overrides, composed.config) else composed


def say_overridden(words: Sequence[str]) -> None:
    """A note on standard error for every word that a later one takes the place of."""
    for line in overridden(words):
        print(f"note: {line}", file=sys.stderr)


def answered(flags: Namespace, verb: str, words: Sequence[str], config: Any) -> bool:
    """Whether a flag asked to see something instead of running, and it was shown.

    ``config`` is what would be run with, ``words`` are overrides that Hydra composes it from.
    """
    if flags.multirun:
        raise UserError("--multirun is not used here", "Several values: scratchlab sweep …")
    if (flags.package or flags.resolve) and not (flags.cfg or flags.info):
        flag = "--package" if flags.package else "--resolve"
        raise UserError(f"{flag} says how a configuration is shown", f"Add --cfg job to {flag}.")
    if flags.hydra_help:
        hand_to_hydra(["--hydra-help"], verb)
    elif flags.info or flags.cfg in ("hydra", "all"):
        asked = ["--info", flags.info] if flags.info else ["--cfg", flags.cfg]
        asked += ["--resolve"] if flags.resolve else []
        for flag in ("package", "config_dir", "config_name"):
            value = vars(flags)[flag]
            asked += [f"--{flag.replace('_', '-')}", value] if value else []
        readable = [w for w in map(read_override, words) if w is not None and w.parsed is not None]
        hand_to_hydra([*(w.line for w in readable), *asked], verb)
    elif flags.cfg == "job":
        print(show(config, flags), end="")
    else:
        return False
    return True


def show(config: Any, flags: Namespace) -> str:
    """The YAML of the whole configuration (or of one package), every declared option in it."""
    node = config
    for key in (flags.package or "").split("."):
        if key:
            if not isinstance(node, dict) or key not in node:
                raise UserError(f"--package: there is no {flags.package!r} in the configuration")
            node = node[key]
    return yaml.safe_dump(node, sort_keys=False, allow_unicode=True, width=100)


def hand_to_hydra(arguments: list[str], verb: str) -> None:
    """Let Hydra's own main do what it alone knows."""
    import hydra

    guard_sources()

    def nothing(config: Any) -> None:
        """Only flags that end before the task are handed over."""

    root = logging.getLogger()
    before, handlers, level = sys.argv, root.handlers[:], root.level
    sys.argv = [f"scratchlab {verb}", *arguments]
    try:
        hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name="train", version_base="1.3")(
            nothing
        )()
    except SystemExit as ended:  # how it ends after its help
        if ended.code:
            raise
    finally:
        sys.argv = before
        root.handlers[:] = handlers  # Hydra's would go on writing to the output of now
        root.setLevel(level)
