"""CSV files as cells, with errors that name the file, the row and the column."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

from scratchlab.data.sources import GZIP_MAGIC
from scratchlab.errors import UserError, suggest

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-"))
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Cells:
    """``columns`` of the header; ``rows`` of text; ``lines``: where each row ends in its file."""

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]

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


def read_cells(path: Path, delimiter: str | None = None) -> Cells:
    """All cells of a CSV file whose first line names the columns.

    Without ``delimiter`` it is the one of comma, semicolon, tab and bar that the header has most.

    Raises:
        UserError: the file cannot be read, is not UTF-8, has no rows, a column without a name or
            twice the same, or a row that is longer or shorter than the header.
    """
    text = _text(path)
    first = text.split("\n", 1)[0]
    if not first.strip():
        raise UserError(f"{path}: the first line must name the columns, and it is empty")
    mark = delimiter or max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        columns = [name.strip() for name in next(reader)]
        for row in reader:
            if not row:
                continue
            if len(row) != len(columns):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but the header names "
                    f"{len(columns)} columns",
                    f"Cells are parted by {mark!r} here (dataset.delimiter).",
                )
            rows.append([cell.strip() for cell in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None or "" in columns:
        raise UserError(
            f"{path}: the header names {twice!r} twice"
            if twice
            else f"{path}: the header has a column without a name",
            "Give every column a name of its own.",
        )
    if not rows:
        raise UserError(f"{path}: there are no rows below the header")
    return Cells(path, columns, rows, lines)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8",
            "Convert the file, for example: iconv -f latin1 -t utf-8 OLD > NEW",
        ) from error
