"""CSV files as cells, with errors that name the file, the row and the column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scratchlab.data.reading import read_whole
from scratchlab.errors import UserError, shortened, suggest

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-"))
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Cells:
    """``columns`` of the header; ``rows`` of text; ``lines``: where each row ends in its file.

    ``notes`` say what a person should look at.
    """

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]
    notes: list[str] = field(default_factory=list)

    def column(self, name: str, what: str = "column") -> int:
        """The place of a column; UserError with the nearest name."""
        if name not in self.columns:
            hint = suggest(name, self.columns, "Columns")
            raise UserError(f"{self.path} has no {what} {name!r}", hint)
        return self.columns.index(name)

    def where(self, row: int, column: str) -> str:
        """A cell for a message: file, row (as in a spreadsheet) and column."""
        return f"{self.path}, line {self.lines[row]}, column {column!r}"


def is_missing(cell: str) -> bool:
    """Whether a cell says that nothing is known."""
    return cell.strip().lower() in MISSING


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
    text = read_whole(path)
    first = text.split("\n", 1)[0]
    if not first.strip():
        raise UserError(f"{path}: the first line must name the columns, and it is empty")
    mark = delimiter or likely_delimiter(first)
    columns, rows, places = _parsed(path, text, mark, quoted)
    columns = [name.strip() for name in columns]
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
    if not rows:
        raise UserError(f"{path}: there are no rows below the header")
    cells = Cells(path, columns, rows, [last for _, last in places])
    cells.notes.extend(_swallowed(cells, text, places, mark))
    return cells


def likely_delimiter(first: str) -> str:
    """What parts the cells of a first line."""
    return max(DELIMITERS, key=first.count)


def _parsed(
    path: Path, text: str, mark: str, quoted: bool
) -> tuple[list[str], list[list[str]], list[tuple[int, int]]]:
    """The header, the rows, and the first and last line of each row."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=mark,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    before = csv.field_size_limit(max(len(text), 1))  # the library's own limit is 131,072
    rows: list[list[str]] = []
    places: list[tuple[int, int]] = []
    first = 1
    try:
        columns = next(reader)
        while True:
            first = reader.line_num + 1
            if (row := next(reader, None)) is None:
                return columns, rows, places
            if not row or (len(row) == 1 < len(columns) and not row[0].strip()):
                continue
            if len(row) != len(columns):
                raise UserError(
                    f"{_lines(path, first, reader.line_num)}: {len(row)} cells, but the header "
                    f"names {len(columns)} columns",
                    f"Cells are parted by {mark!r} here (dataset.delimiter)."
                    if reader.line_num == first
                    else "A quote that is opened in the first of these lines ends in the last.",
                )
            rows.append([cell.strip() for cell in row])
            places.append((first, reader.line_num))
    except csv.Error as error:
        raise UserError(
            f"{_lines(path, first, reader.line_num)}: {error}",
            'A cell that begins with a quotation mark must end with one; marks inside it are "".',
        ) from error
    finally:
        csv.field_size_limit(before)


def _lines(path: Path, first: int, last: int) -> str:
    return f"{path}, line {first}" if first == last else f"{path}, lines {first} to {last}"


def _swallowed(
    cells: Cells, text: str, places: Sequence[tuple[int, int]], mark: str
) -> Iterator[str]:
    """Notes on quoted cells that hold what looks like rows: their quote was opened by mistake.

    A line inside a cell looks like a row if it has as many cells as the header, one of which stands
    in the same column of another row too.
    """
    long = [place for place in places if place[1] > place[0]]
    if not long or len(cells.columns) < 2:
        return
    lines = io.StringIO(text, newline="").readlines()
    known = [
        {row[c] for row, (first, last) in zip(cells.rows, places, strict=True) if first == last}
        - {""}
        for c in range(len(cells.columns))
    ]
    found = []
    for first, last in long:
        inside = [line.rstrip("\r\n").split(mark) for line in lines[first - 1 : last]]
        if any(
            len(parts) == len(known)
            and any(p.strip() in k for p, k in zip(parts, known, strict=True))
            for parts in inside
        ):
            found.append(_lines(cells.path, first, last))
    if found:
        more = f" (and {len(found) - 1:,} more places)" if len(found) > 1 else ""
        yield f"{found[0]}{more}: read as one row after an opening quote, but it looks like several"
