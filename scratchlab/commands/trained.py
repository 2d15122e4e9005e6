"""What ``eval`` and ``predict`` share: naming a trained run and changing its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.commands.hydra_flags import answered, hand_to_hydra, parser, say_overridden
from scratchlab.config.check import SECTIONS
from scratchlab.config.compose import change
from scratchlab.config.overrides import last_value, read_override
from scratchlab.config.root import root_options
from scratchlab.errors import ConfigError, UserError, nearest, shortened
from scratchlab.regular_files import expanded
from scratchlab.run.folder import find_run, read_trained


@dataclass(frozen=True)
class GivenRun:
    """A run (or single checkpoint) with its configuration as changed by the command."""

    path: Path
    config: dict[str, Any]
    rest: list[str]


def read_run(
    arguments: Sequence[str], help_text: str, verb: str, takes_text: bool = False
) -> GivenRun | None:
    """The run that the first word names; None if a flag asked to see something instead.

    With ``takes_text`` words that are no options of the run are texts for it (``rest``).
    """
    given, texts = list(arguments), []
    if "--" in given:  # what follows is text, whatever it looks like
        at = given.index("--")
        given, texts = given[:at], given[at + 1 :]
    flags = parser(verb).parse_intermixed_args(given)
    if flags.hydra_help:
        hand_to_hydra(["--hydra-help"], verb)
        return None
    if flags.info or flags.cfg in ("hydra", "all"):
        raise UserError(
            f"--info and --cfg {flags.cfg or 'all'} tell how YAML files are put together",
            f"The configuration of a run is whole: see it with scratchlab {verb} RUN --cfg job.",
        )
    words = list(flags.overrides)
    if flags.help or not words:
        print(help_text.strip())
        if not flags.help:
            raise UserError("which run?", "For example outputs/NAME/latest; see the text above.")
        return None
    if "=" in words[0] and not _exists(words[0]):
        raise UserError(
            f"the first word must be a run, not {shortened(words[0])}",
            "For example outputs/NAME/latest.",
        )
    overrides = [w for w in words[1:] if not takes_text or is_option(w)]
    rest = [w for w in words[1:] if takes_text and not is_option(w)] + texts
    say_overridden(overrides)
    output_dir = last_value(overrides, "output_dir")
    path = find_run(words[0], output_dir or "outputs")
    saved = read_trained(path)
    try:
        unchanged = change(saved, [])
    except ConfigError as error:
        raise UserError(f"{path / 'config.yaml'} is refused.\n{error}") from error
    config = change(saved, overrides, flags.config_dir) if overrides else unchanged
    if last_value(overrides, "export") is None:
        config["export"] = None  # training wrote it; a measurement does so only if asked
    if last_value(overrides, "pictures") is None:
        config["pictures"] = True  # also those that a trial of a sweep left out
    if output_dir is None:
        config["output_dir"] = _runs_beside(path, config["output_dir"])
    if answered(flags, verb, overrides, config):
        return None
    return GivenRun(path, config, rest)


def _runs_beside(path: Path, saved: str) -> str:
    """The folder of runs that a run lies in, where the saved one may be relative."""
    run = path.parent.parent if path.parent.name == "checkpoints" else path
    top = run.parent.parent
    return str(top) if top.name == Path(saved).name else saved


def is_option(word: str) -> bool:
    """Whether a word among texts is an option: its key begins with that of a group or of the run,
    or nearly so. ``E=mc2 is`` and ``x=3`` are texts; so is everything after ``--``."""
    read = read_override(word)
    if read is None:
        return False
    head = read.head
    known = [*SECTIONS, "experiment", "input", *(o.name for o in root_options())]
    return head in known or (len(head) > 3 and nearest(head, known, cutoff=0.75) is not None)


def _exists(path: str) -> bool:
    try:
        return expanded(path).exists()
    except (OSError, ValueError, RuntimeError):
        return False
