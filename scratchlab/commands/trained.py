"""What ``eval`` and ``predict`` share: naming a trained run and changing its configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.change import change
from scratchlab.errors import ConfigError, UserError
from scratchlab.run.folder import find_run, read_config

# A key and "=" without blanks, as the shell leaves them; anything else is text.
OVERRIDE = re.compile(r"(\+{0,2}[\w./@-]+=|~[\w./@-]+(=|$))")


@dataclass(frozen=True)
class GivenRun:
    """A run (or single checkpoint) with its configuration as changed by the command."""

    path: Path
    config: dict[str, Any]
    rest: list[str]


def read_run(arguments: Sequence[str], help_text: str) -> GivenRun | None:
    """The run that the first word names; None if only help was asked for."""
    if not arguments or any(a in ("-h", "--help") for a in arguments):
        print(help_text.strip())
        if not arguments:
            raise UserError("which run?", "For example outputs/NAME/latest; see the text above.")
        return None
    config_dir, words = None, list(arguments)
    for flag in ("--config-dir", "-cd"):
        if flag in words:
            at = words.index(flag)
            if at + 1 >= len(words):
                raise UserError(f"{flag} needs a folder")
            config_dir = words[at + 1]
            del words[at : at + 2]
    if "=" in words[0] and not Path(words[0]).exists():
        raise UserError(
            f"the first word must be a run, not {words[0]!r}", "For example outputs/NAME/latest."
        )
    overrides = [w for w in words[1:] if OVERRIDE.match(w)]
    rest = [w for w in words[1:] if w not in overrides]
    unknown = next((w for w in rest if re.match(r"--?[A-Za-z]", w)), None)
    if unknown is not None:
        raise UserError(f"unknown flag {unknown!r}", "Options are KEY=VALUE; see --help.")
    outputs = next((w.partition("=")[2] for w in overrides if w.startswith("output_dir=")), None)
    path = find_run(words[0], outputs or "outputs")
    saved = read_config(path / "config.yaml")
    try:
        unchanged = change(saved, [])
    except ConfigError as error:
        raise UserError(f"{path / 'config.yaml'} is refused.\n{error}") from error
    config = change(saved, overrides, config_dir) if overrides else unchanged
    if outputs is None:
        config["output_dir"] = _runs_beside(path, config["output_dir"])
    return GivenRun(path, config, rest)


def _runs_beside(path: Path, saved: str) -> str:
    """The folder of runs that a run lies in, where the saved one may be relative."""
    run = path.parent.parent if path.parent.name == "checkpoints" else path
    top = run.parent.parent
    return str(top) if top.name == Path(saved).name else saved
