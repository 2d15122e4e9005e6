"""``--record [FOLDER]``: put what was found on file for the documentation."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from scratchlab.errors import UserError
from scratchlab.regular_files import expanded

DEFAULT = "docs/results"


def take_record(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """The other words, and the folder that records go to; None where none is asked for.

    Without a folder it is that of this project's documentation, which must be there.
    """
    p = ArgumentParser(add_help=False, allow_abbrev=False)
    p.add_argument("--record", nargs="?", const=DEFAULT)
    known, rest = p.parse_known_args(list(arguments))
    if known.record is None:
        return list(arguments), None
    if "=" in known.record:  # an option, written behind the flag
        rest, known.record = [*rest, known.record], DEFAULT
    into = expanded(known.record)
    if known.record == DEFAULT and not into.is_dir():
        raise UserError(
            f"--record: there is no folder {DEFAULT} here",
            "Say where to: --record FOLDER, at the end of the command.",
        )
    return rest, into
