"""CSV files as cells, with errors that name the file, the row and the column.

A file is read once, in blocks, and its cells are kept by columns, so that a million rows take a
fraction of the memory that a list for each row would.
"""

from __future__ import annotations

import csv
import io
import itertools
import operator
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.sources.reading import open_unpacked, read_whole, stream_lines
from scratchlab.errors import UserError, number_of, shortened, suggest

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-"))
DELIMITERS = (",", ";", "\t", "|")
NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "space": " "}
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u200e\u200f"  # of no width, at the ends of cells
BLOCK = 20_000  # rows
MOST_OF_HEADER = 100  # lines
UNCLOSED = 'A cell that begins with a quotation mark must end with one; marks inside it are "".'
QUOTED = re.compile(r'"[^"]*("|$)')


class Rows(Sequence[list[str]]):
    """Rows of text, kept by columns."""

    def __init__(self, columns: Sequence[NDArray[Any]], length: int) -> None:
        self._columns, self._length = columns, length

    @staticmethod
    def of(rows: Sequence[Sequence[str]], width: int) -> Rows:
        """The same rows by columns."""
        return Rows([texts([row[i] for row in rows]) for i in range(width)], len(rows))

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        """Rows of the same columns below each other."""
        columns = [np.concatenate(c) for c in zip(*(p._columns for p in parts), strict=True)]
        return Rows(columns, sum(map(len, parts)))

    def column(self, place: int) -> list[str]:
        """All cells of a column."""
        found: list[str] = self._columns[place].tolist()
        return found

    def take(self, numbers: Sequence[int]) -> Rows:
        """Some of the rows."""
        return Rows([c[np.asarray(numbers, dtype=np.int64)] for c in self._columns], len(numbers))

    def with_column(self, cell: str) -> Rows:
        """The rows with a column of the same cell before the others."""
        return Rows([texts([cell] * self._length), *self._columns], self._length)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, number: int) -> list[str]: ...
    @overload
    def __getitem__(self, number: slice) -> Rows: ...
    def __getitem__(self, number: int | slice) -> list[str] | Rows:
        if isinstance(number, slice):
            return self.take(range(self._length)[number])
        return [str(c[number]) for c in self._columns]

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Sequence) and len(self) == len(other)
        return same and all(map(operator.eq, self, cast(Sequence[object], other)))

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[list[str]]:
        for first in range(0, self._length, BLOCK):
            block = (c[first : first + BLOCK].tolist() for c in self._columns)
            yield from map(list, zip(*block, strict=True))


def texts(cells: Sequence[str]) -> NDArray[Any]:
    """Texts of any lengths as an array: 16 bytes a cell of up to 15 bytes."""
    return np.array(cells, dtype=np.dtypes.StringDType())


@dataclass(frozen=True)
class Cells:
    """``columns`` of the header; ``rows`` of text; ``lines``: where each row ends in its file.

    ``notes`` say what a person should look at; ``delimiter`` is what parts the cells in the file.
    ``starts``: of a table of several files, the first row of each.
    """

    path: Path
    columns: list[str]
    rows: Rows
    lines: Sequence[int]
    notes: list[str] = field(default_factory=list)
    delimiter: str = ","
    starts: Mapping[int, Path] = field(default_factory=dict)

    def column(self, name: str, what: str = "column") -> int:
        """The place of a column; UserError with the nearest name."""
        if name not in self.columns:
            hint = suggest(name, self.columns, "Columns")
            raise UserError(f"{self.path} has no {what} {name!r}", hint)
        return self.columns.index(name)

    def values(self, name: str) -> list[str]:
        """All cells of a column."""
        return self.rows.column(self.column(name))

    def where(self, row: int, column: str) -> str:
        """A cell for a message: file, row (as in a spreadsheet) and column."""
        path = self.starts[max(s for s in self.starts if s <= row)] if self.starts else self.path
        return f"{path}, line {self.lines[row]}, column {column!r}"


@contextmanager
def long_cells() -> Iterator[None]:
    """Inside, the csv module takes cells of any length (its own limit is 131,072 characters)."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def is_missing(cell: str, words: frozenset[str] = MISSING) -> bool:
    """Whether a cell says that nothing is known; ``words`` are in small letters."""
    return cell.strip().lower() in words


def stripped(cells: Sequence[str]) -> list[str]:
    """Cells without white space, or characters that cannot be seen, around them."""
    found = [cell.strip() for cell in cells]
    if "".join(found).isascii():
        return found
    # Both kinds may take turns.
    return [cell.strip().strip(INVISIBLE).strip() for cell in found]


def read_cells(
    path: Path, delimiter: str | None = None, *, quoted: bool = True, wanted: Sequence[str] = ()
) -> Cells:
    """All cells of a CSV file whose first line names the columns.

    Without ``delimiter`` it is the one of comma, semicolon, tab and bar that the header has most.
    Where cells are not ``quoted``, quotation marks are text. With ``wanted`` the file must have
    these columns, and what the others are called does not matter.

    Raises:
        UserError: the file cannot be read, is not UTF-8, has no rows, a column without a name or
            twice the same, a row that is longer or shorter than the header, or a quote that is not
            closed.
    """
    with open_unpacked(path) as file:
        lines = _with_ends(stream_lines(path, file))
        head = _head(lines, quoted)
        first = "".join(head)
        if not first.strip():
            raise UserError(f"{path}: the first line must name the columns, and it is empty")
        mark = delimiter_of(delimiter) if delimiter else likely_delimiter(first, quoted)
        found = _Parsed(path, mark)
        found.read(itertools.chain(head, lines), quoted)
    columns = stripped(found.columns)
    for name in wanted:
        if name not in columns:
            raise UserError(f"{path} has no column {name!r}", suggest(name, columns, "Columns"))
    named = [c for c in columns if c in wanted] if wanted else columns
    twice = next((name for name in named if columns.count(name) > 1), None)
    if twice is not None or "" in named:
        raise UserError(
            f"{path}: the header names {shortened(twice)} twice"
            if twice
            else f"{path}: the header has a column without a name",
            "Give every column a name of its own.",
        )
    if not found.lines:
        raise UserError(f"{path}: there are no rows below the header")
    cells = Cells(path, columns, found.rows(), found.lines, [], mark)
    cells.notes.extend(_swallowed(cells, found.long))
    return cells


def delimiter_of(given: str) -> str:
    """The character that an option names: itself, or its name (tab)."""
    mark = NAMED.get(given.lower(), given)
    if len(mark) != 1 or mark in '"\r\n':
        raise UserError(
            f"delimiter: {given!r} is no single character", f"Or a name: {', '.join(NAMED)}."
        )
    return mark


def likely_delimiter(first: str, quoted: bool = True) -> str:
    """What parts the cells of a first line: counted outside quotation marks."""
    return max(DELIMITERS, key=(QUOTED.sub("", first) if quoted else first).count)


def _with_ends(lines: Iterable[str]) -> Iterator[str]:
    """Lines with their ends; also those of old systems, which end in a carriage return."""
    for line in lines:
        if "\r" in line:
            yield from io.StringIO(line + "\n", newline="")
        else:
            yield line + "\n"


def _head(lines: Iterator[str], quoted: bool) -> list[str]:
    """The first line; with ``quoted`` all lines of a first row whose cells go on over them."""
    head = list(itertools.islice(lines, 1))
    while quoted and "".join(head).count('"') % 2 and len(head) < MOST_OF_HEADER:
        if (line := next(lines, None)) is None:
            break
        head.append(line)
    return head


class _Parsed:
    """The header and the rows of a file, with where they stand."""

    def __init__(self, path: Path, mark: str) -> None:
        self.path, self.mark = path, mark
        self.columns: list[str] = []
        self.lines = array("q")  # where each row ends
        self.long: list[tuple[int, int]] = []  # first and last lines of rows over several
        self._blocks: list[list[NDArray[Any]]] = []

    @long_cells()
    def read(self, lines: Iterable[str], quoted: bool) -> None:
        reader = csv.reader(
            iter(lines),
            delimiter=self.mark,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            strict=True,
        )
        first, block = 1, []
        try:
            self.columns = next(reader)
            width = len(self.columns)
            while True:
                first = reader.line_num + 1
                if (row := next(reader, None)) is None:
                    break
                if len(row) != width:
                    if not row or (len(row) == 1 and not row[0].strip()):
                        continue
                    raise self._misfit(row, first, reader.line_num)
                block.append(row)
                self.lines.append(reader.line_num)
                if reader.line_num > first:
                    self.long.append((first, reader.line_num))
                if len(block) == BLOCK:
                    self._keep(block)
                    block = []
        except csv.Error as error:
            raise UserError(
                f"{_lines(self.path, first, reader.line_num)}: {error}",
                UNCLOSED,
            ) from error
        self._keep(block)

    def rows(self) -> Rows:
        blocks, self._blocks = self._blocks, []
        return Rows([np.concatenate(c) for c in zip(*blocks, strict=True)], len(self.lines))

    def _keep(self, rows: Sequence[Sequence[str]]) -> None:
        if rows:
            self._blocks.append([texts(stripped(cells)) for cells in zip(*rows, strict=True)])

    def _misfit(self, row: Sequence[str], first: int, last: int) -> UserError:
        return UserError(
            f"{_lines(self.path, first, last)}: {number_of(len(row), 'cell')}, but the header "
            f"names {number_of(len(self.columns), 'column')}",
            f"Cells are parted by {self.mark!r} here (dataset.delimiter)."
            if last == first
            else "A quote that is opened in the first of these lines ends in the last.",
        )


def _lines(path: Path, first: int, last: int) -> str:
    return f"{path}, line {first}" if first == last else f"{path}, lines {first} to {last}"


def _swallowed(cells: Cells, long: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Notes on quoted cells that hold what looks like rows: their quote was opened by mistake.

    A line inside a cell looks like a row if it has as many cells as the header, one of which stands
    in the same column of another row too.
    """
    if not long or len(cells.columns) < 2:
        return
    lines = io.StringIO(read_whole(cells.path), newline="").readlines()
    ends = {last for _, last in long}
    short = [row for row, end in zip(cells.rows, cells.lines, strict=True) if end not in ends]
    known = [{row[c] for row in short} - {""} for c in range(len(cells.columns))]
    found = []
    for first, last in long:
        inside = [line.rstrip("\r\n").split(cells.delimiter) for line in lines[first - 1 : last]]
        if any(
            len(parts) == len(known)
            and any(p.strip() in k for p, k in zip(parts, known, strict=True))
            for parts in inside
        ):
            found.append(_lines(cells.path, first, last))
    if found:
        more = f" (and {len(found) - 1:,} more places)" if len(found) > 1 else ""
        yield f"{found[0]}{more}: read as one row after an opening quote, but it looks like several"
