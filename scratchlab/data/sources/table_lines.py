"""Rows of a table that a trained model is asked about: lines with or without a header.

A header names the columns in any order, and others beside them. Without one a row has the columns
that the model reads, or all of the file that it was trained on, in their order. Cells are parted as
in that file, or in another usual way that gives the right number of them.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scratchlab.data.sources.csv_cells import DELIMITERS, long_cells, stripped
from scratchlab.errors import UserError, number_of

LOGGER = logging.getLogger("scratchlab")
LONGEST_ROW = 1000  # lines; a quote that is open for longer was opened by mistake


@dataclass(frozen=True)
class GivenRow:
    """The cells that a model reads, in its order, and where they stood in the input."""

    cells: list[str]
    where: str


def read_rows(
    lines: Iterator[str],
    names: Sequence[str],
    file: Sequence[str] = (),
    target: str = "",
    delimiter: str = ",",
) -> Iterator[GivenRow | UserError | None]:
    """Each row as it comes: its cells, None for an empty line, or why it cannot be read.

    ``names`` are the columns that the model reads, ``file`` those of the file it was trained on.

    Raises:
        UserError: the first line is a header that lacks columns.
    """
    marks = list(dict.fromkeys((delimiter, *DELIMITERS)))
    places: list[int] | None = None
    width = 0
    for number, (where, text) in enumerate(_records(lines, delimiter)):
        if not text.strip():
            yield None
            continue
        if number == 0 and (header := _header(text, marks, {*names, *file, target})):
            marks, columns = [header[0]], header[1]
            places, width = _places(columns, names, target), len(columns)
            continue
        widths = {width: places} if places else {len(names): list(range(len(names)))}
        if not places and set(names) <= set(file):
            widths.setdefault(len(file), [file.index(name) for name in names])
        found = [cells for mark in marks if (cells := _cells(text, mark))]
        fitting = next((cells for cells in found if len(cells) in widths), None)
        if fitting is not None:
            order = widths[len(fitting)] or []
            yield GivenRow([fitting[place] for place in order], where)
        elif not found:
            yield UserError(f"{where}: a quotation mark is opened and not closed")
        else:
            yield _misfit(where, len(found[0]), width, names, marks[0])


def _misfit(where: str, count: int, width: int, names: Sequence[str], mark: str) -> UserError:
    if width:
        columns = number_of(width, "column")
        return UserError(f"{where}: {number_of(count, 'cell')}, but the header names {columns}")
    given = f"{number_of(count, 'cell')} {'was' if count == 1 else 'were'} given"
    return UserError(
        f"{where}: {given}, and this model reads {len(names)}",
        f"In this order, with {mark!r} between them: {', '.join(names)}. "
        "Or begin with a line that names the columns.",
    )


def _records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[str, str]]:
    """The text of each row, which goes on over several lines while a quote is open."""
    number = 0
    for line in lines:
        number += 1
        first, held = number, [line]
        while _is_open("\n".join(held), delimiter) and len(held) < LONGEST_ROW:
            if (more := next(lines, None)) is None:
                break
            held.append(more)
            number += 1
        whole = not _is_open("\n".join(held), delimiter)
        # A mark that is never closed costs its own line only.
        for place, text in enumerate(["\n".join(held)] if whole else held, first):
            yield f"row {place}", text


@long_cells()
def _is_open(text: str, delimiter: str) -> bool:
    if '"' not in text:
        return False
    try:
        list(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


@long_cells()
def _cells(text: str, mark: str) -> list[str]:
    """The cells of a row; none if it cannot be parsed so."""
    try:
        return stripped(next(csv.reader([text], delimiter=mark, strict=True)))
    except (csv.Error, StopIteration):
        return []


def _header(text: str, marks: Sequence[str], known: set[str]) -> tuple[str, list[str]] | None:
    """What parts the cells of a first line, and its cells, if most of them name known columns."""
    for mark in marks:
        cells = _cells(text, mark)
        if 2 * sum(cell in known for cell in cells) > len(cells):
            return mark, cells
    return None


def _places(columns: Sequence[str], names: Sequence[str], target: str) -> list[int]:
    """Where in the header each column of the model stands."""
    lacking = [name for name in names if name not in columns]
    if lacking:
        raise UserError(
            f"the header has no column {', '.join(map(repr, lacking))}",
            f"This model reads: {', '.join(names)}.",
        )
    twice = next((name for name in names if columns.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the header names {twice!r} twice", "Give each column its own name.")
    others = [c for c in columns if c not in names]
    if others:
        told = [f"{c} (the target)" if c == target else c for c in others]
        LOGGER.warning("columns that are not read: %s", ", ".join(told))
    return [columns.index(name) for name in names]
