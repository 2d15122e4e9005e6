"""``scratchlab predict``: use a trained run on text from arguments, a file or standard input."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from scratchlab.commands.trained import read_run
from scratchlab.config.overrides import key_of, last_value
from scratchlab.data.sources.reading import open_unpacked, stream_lines, unpacked
from scratchlab.errors import UserError, number_of
from scratchlab.regular_files import expanded, open_regular

HELP = """
usage: scratchlab predict RUN [TEXT …] [KEY=VALUE …]
       scratchlab predict RUN input=FILE          (packed with gzip or not)
       scratchlab predict RUN < FILE
       scratchlab predict RUN "$(cat FILE)"       one text of several lines
       scratchlab predict RUN -- TEXT …           texts that look like options or flags

Translates each text, goes on with it or answers it, whatever the run was trained for. A text is an
argument or a line; what comes out is shown as soon as it is there.

A model of a table reads CSV: lines below a header that names the columns (in any order; others are
passed over), or rows of just the columns that it reads, in their order. A row that cannot be read
is told of on standard error and answered with an empty line; the exit code is 1 then.

  decoding=greedy decoding.beam_size=10     translation: another search

  decoding.max_new_tokens=500               language models: how much is written,
  decoding.temperature=0                    always the most probable token (greedy),
  decoding.temperature=0.7 decoding.seed=1  drawn, surer than at 1, with other random numbers,
  decoding.top_k=50 decoding.top_p=0.9      drawn from the most probable tokens only
"""

# Texts that are handled together where nobody watches them being written.
AT_ONCE = 16

# Of remarks that differ in numbers only, these many are shown.
ALIKE = 3

LOGGER = logging.getLogger("scratchlab")


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    path = last_value(arguments[:end], "input")
    words = [a for a in arguments[:end] if key_of(a) != "input"] + list(arguments[end:])
    given = read_run(words, HELP, "predict", takes_text=True)
    if given is None:
        return 0
    if path is not None and given.rest:
        raise UserError("give either texts or input=FILE, not both")
    for number, text in enumerate(given.rest, 1):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(f"text {number}: character {error.start + 1} is no UTF-8") from error
    from scratchlab.lab.predict import predict

    if path is not None:
        open_regular(expanded(path)).close()  # refused before the model is loaded
    where = "the text" if given.rest else "standard input" if path is None else path
    lines = _told_if_blank(iter(given.rest) if given.rest else _lines(path), where)
    # Lines of standard input are answered as they come: who writes them may wait for the answer.
    watched = sys.stdout.isatty() or (path is None and not given.rest)
    with remarks_shown():
        for text in filter(os.path.isfile, given.rest):
            LOGGER.warning("%r is read as a text; to read the file: input=%s", text, text)
        answers = predict(given.config, given.path, lines, 1 if watched else AT_ONCE)
        answered = False
        for answer in answers:
            answered = True
            for piece in answer:
                _write(piece)
            print(flush=True)
        if not answered and not (where == "standard input" and sys.stdin.isatty()):
            raise UserError(
                f"{where}: there is nothing to answer", "Give a text, or lines of them."
            )
    return 0


def _told_if_blank(lines: Iterator[str], where: str) -> Iterator[str]:
    """The lines; a remark at their end if nothing is written in any of them."""
    count = written = 0
    for line in lines:
        count, written = count + 1, written + bool(line.strip())
        yield line
    if count and not written:
        LOGGER.warning("%s holds nothing but %s", where, number_of(count, "blank line"))


def _write(text: str) -> None:
    """A piece of an answer, whole: a character that the output lacks is not left out in silence."""
    try:
        print(text, end="", flush=True)
    except UnicodeEncodeError as error:
        raise UserError(
            f"standard output takes {error.encoding} only, which lacks {text[error.start]!a}",
            "Set PYTHONIOENCODING=utf-8.",
        ) from error


class _Remark(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        kind = "error" if record.levelno >= logging.ERROR else "note"
        return f"{kind}: {record.getMessage()}"


class _Few(logging.Filter):
    """Lets the first few of the notes pass that say the same, and every error."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        self.seen[str(record.msg)] += 1
        return self.seen[str(record.msg)] <= ALIKE

    def left_out(self) -> int:
        return sum(max(0, count - ALIKE) for count in self.seen.values())


@contextmanager
def remarks_shown() -> Iterator[None]:
    """Remarks about the input go to standard error."""
    few = _Few()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Remark())
    handler.setLevel(logging.WARNING)
    handler.addFilter(few)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        if few.left_out():
            print(f"note: and {number_of(few.left_out(), 'more note')} like these", file=sys.stderr)


def _lines(path: str | None) -> Iterator[str]:
    """The lines of a file or of standard input, as they come; bad bytes are named by line."""
    if path is None:
        if sys.stdin.isatty():
            print("Type a line and press Enter (Ctrl-D ends):", file=sys.stderr)
        yield from stream_lines("standard input", unpacked(sys.stdin.buffer))
        return
    with open_unpacked(expanded(path)) as file:
        yield from stream_lines(path, file)
