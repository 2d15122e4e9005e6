"""``scratchlab predict``: use a trained run on text from arguments, a file or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scratchlab.commands.trained import read_run
from scratchlab.errors import UserError

HELP = """
usage: scratchlab predict RUN [TEXT …] [KEY=VALUE …]
       scratchlab predict RUN input=FILE
       scratchlab predict RUN < FILE

Translates (or continues, or classifies) each text, a line each; answers go to standard output line
by line, as soon as they are there. `decoding=greedy`, `decoding.beam_size=10` and so on change how.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    own = [a for a in arguments if a.startswith("input=")]
    given = read_run([a for a in arguments if a not in own], HELP)
    if given is None:
        return 0
    if own and given.rest:
        raise UserError("give either texts or input=FILE, not both")
    from scratchlab import experiment

    lines = iter(given.rest) if given.rest else _lines(own[-1].partition("=")[2] if own else None)
    for answer in experiment.predict(given.config, given.path, lines):
        print(answer, flush=True)
    return 0


def _lines(path: str | None) -> Iterator[str]:
    """The lines of a file or of standard input, as they come; bad bytes are named by line."""
    if path is None and sys.stdin.isatty():
        print("Type a line and press Enter (Ctrl-D ends):", file=sys.stderr)
    try:
        stream = sys.stdin.buffer if path is None else Path(path).expanduser().open("rb")
    except OSError as error:
        raise UserError(f"input: {path} cannot be read: {error.strerror}") from error
    with stream:
        for number, line in enumerate(stream, 1):
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                where = path or "standard input"
                raise UserError(
                    f"{where}, line {number}: byte {error.start + 1} is no UTF-8",
                    "Convert the file first, for example with iconv -t UTF-8.",
                ) from error
