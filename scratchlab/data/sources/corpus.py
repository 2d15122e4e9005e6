"""Running text, read a piece at a time: a corpus need not fit into memory.

A *piece* is a string of about a million characters that ends at a line's end (or, within a line
that is longer, behind a space; or anywhere, if there is none). What is done to a text here -
cutting it into splits, leaving out empty lines, one sentence a line - takes pieces and gives
pieces. Lines end in ``\\n``, as which ``\\r\\n`` is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from scratchlab.data.sources.reading import open_unpacked, read_stream
from scratchlab.data.sources.sentence_ends import split_sentences

Pieces = Iterator[str]
Read = Callable[[], Pieces]

PIECE = 1 << 20  # characters of a piece, and bytes read at once


def read_pieces(path: Path, size: int = PIECE) -> Pieces:
    """The text of a UTF-8 file in pieces of about ``size`` characters.

    Raises:
        UserError: the file cannot be read or unpacked, or holds bytes that are not UTF-8; the
            message names the line.
    """
    with open_unpacked(path) as file:
        yield from whole_lines(read_stream(path, file, size), size)


def joined(texts: Iterable[Pieces]) -> Pieces:
    """Texts one after the other, each from the start of a line: words are not glued together."""
    ended = True
    for pieces in texts:
        first = True
        for piece in pieces:
            if first and not ended:
                yield "\n"
            yield piece
            first, ended = False, piece.endswith("\n")


def whole_lines(texts: Iterable[str], size: int = PIECE) -> Pieces:
    """The same text in pieces that end at a line's end, or behind a space in a very long line.

    A line without spaces (a genome, Chinese) is cut where it is: it must not fill the memory.
    """
    pending = ""
    for text in texts:
        pending += text
        cut = pending.rfind("\n") + 1
        if not cut and len(pending) > size:
            cut = pending.rfind(" ") + 1 or len(pending)
        if cut:
            yield pending[:cut]
            pending = pending[cut:]
    if pending:
        yield pending


def pieces_of(text: str, size: int = PIECE) -> Pieces:
    """A text that is in memory, in pieces."""
    return whole_lines((text[i : i + size] for i in range(0, len(text), size)), size)


def cut(pieces: Iterable[str], first: int, last: int) -> Pieces:
    """The characters ``first`` to ``last`` (exclusive) of a text."""
    start = 0
    for piece in pieces:
        if start >= last:
            return
        part = piece[max(0, first - start) : last - start]
        start += len(piece)
        if part:
            yield part


def split_points(
    read: Read, fractions: Sequence[float], *, at_lines: bool
) -> tuple[int, list[int]]:
    """Length of a text in characters, and the places that cut it at the rising ``fractions``.

    ``at_lines`` moves each place to the next end of a line, or, in a text whose lines are too long
    for that (text8 is a single one), behind the next space; without it the place is
    ``int(length * fraction)``, wherever in a word that is.
    """
    length = sum(map(len, read()))
    places = [int(length * f) for f in fractions]
    if not at_lines:
        return length, places
    for mark in ("\n", " "):
        moved = _moved(read, places, length, mark)
        wanted = [0, *places, length]
        found = [0, *moved, length]
        if all(
            a < b or c == d
            for (a, b), (c, d) in zip(pairwise(found), pairwise(wanted), strict=True)
        ):
            break
    return length, moved


def _moved(read: Read, places: Sequence[int], length: int, mark: str) -> list[int]:
    """Each of the rising ``places`` moved behind the next ``mark``; ``length`` where none is."""
    moved = [length] * len(places)
    wanted = list(places)
    start, found = 0, 0
    for piece in read():
        while found < len(wanted) and wanted[found] - 1 < start + len(piece):
            # A place behind a mark stays where it is.
            end = piece.find(mark, max(0, wanted[found] - 1 - start)) if wanted[found] else -1
            if end < 0 < wanted[found]:
                wanted[found] = start + len(piece) + 1  # in one of the next pieces
                break
            moved[found] = start + end + 1 if wanted[found] else 0
            found += 1
        start += len(piece)
    return moved


def without_empty_lines(pieces: Iterable[str]) -> Pieces:
    """The text without lines that hold nothing but white space."""
    for piece in pieces:
        lines = piece.split("\n")
        ends = piece.endswith("\n")
        kept = "\n".join(line for line in lines if line.strip())
        if kept:
            yield kept + "\n" if ends else kept


_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n")


def sentence_lines(pieces: Iterable[str]) -> Pieces:
    """One sentence a line, from text whose paragraphs are wrapped and parted by empty lines.

    Sentences end where punctuation says so (abbreviations such as "Mr." may end one too early).
    """
    pending = ""
    for piece in pieces:
        pending += piece
        ends = [match.end() for match in _EMPTY_LINE.finditer(pending)]
        if not ends and len(pending) > 4 * PIECE:  # no paragraph is that long
            ends = [pending.rfind("\n") + 1 or pending.rfind(" ") + 1 or len(pending)]
        if ends:
            yield _sentences(pending[: ends[-1]])
            pending = pending[ends[-1] :]
    if pending.strip():
        yield _sentences(pending)


def _sentences(text: str) -> str:
    paragraphs = (" ".join(p.split()) for p in _EMPTY_LINE.split(text))
    return "".join("\n".join(split_sentences(p)) + "\n" for p in paragraphs if p)
