"""Texts with their classes, from files of the user's: CSV, TSV or JSON lines.

A class is the text of its cell. Whole numbers are one class however they are written (``1``,
``1.0``, and in JSON also ``"1"``); ``true`` and ``false`` are classes of these names, which no
other class may stand beside in the same file. Rows without a text are left out and counted; rows
without a class are refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from pathlib import Path
from typing import Any

from scratchlab.data.sources.csv_cells import read_cells, stripped
from scratchlab.data.sources.reading import read_objects, text_field
from scratchlab.errors import UserError, shortened

Labelled = list[tuple[str, str]]  # text, class
_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def read_labelled(path: Path, text: str, label: str, notes: list[str] | None = None) -> Labelled:
    """Two columns of a CSV, TSV or JSON lines file (``.gz`` allowed); ``notes`` gets remarks.

    Raises:
        UserError: the file cannot be read, lacks a column, or has a row of another width, without a
            class, or with something else than a text or a class in its fields.
    """
    name = path.name.lower().removesuffix(".gz")
    remarks: list[str] = []
    if name.endswith((".jsonl", ".json", ".ndjson")):
        rows = _of_objects(path, text, label)
    else:
        tabs = name.endswith((".tsv", ".txt"))
        cells = read_cells(path, "\t" if tabs else None, quoted=not tabs, wanted=(text, label))
        remarks += cells.notes
        a, b = cells.column(text), cells.column(label)
        rows = [(n, row[a], row[b]) for n, row in zip(cells.lines, cells.rows, strict=True)]
    found: Labelled = []
    empty = []
    for number, words, of_class in rows:
        if not words.strip():
            empty.append(number)
            continue
        if not class_name(of_class):
            raise UserError(
                f"{path}, line {number}: no class in {label!r}",
                "Every text needs its class; take the row out, or mend it.",
            )
        found.append((words.strip(), class_name(of_class)))
    if empty:
        remarks.append(f"{path}: {len(empty)} rows without text left out (line {empty[0]} first)")
    if notes is not None:
        notes += remarks
    return found


def class_name(cell: str) -> str:
    """The class that a cell names: its text, a whole number without a point.

    What cannot be seen makes no other class: white space around it, the way an accent is coded.
    """
    cell = unicodedata.normalize("NFC", stripped([cell])[0])
    whole = _WHOLE.fullmatch(cell)
    return whole[1] if whole else cell


def _of_objects(path: Path, text: str, label: str) -> list[tuple[int, str, str]]:
    rows = []
    truths: dict[bool, int] = {}  # whether the class is true or false: the first such line
    for number, row in read_objects(path, (text, label)):
        value = row[label]
        truths.setdefault(isinstance(value, bool), number)
        if len(truths) == 2:
            raise UserError(
                f"{path}: the class in line {truths[True]} is true or false, that in line "
                f"{truths[False]} is not",
                "Name the classes in one way throughout.",
            )
        words = text_field(path, number, row, text)
        rows.append((number, words, _scalar(path, number, value, label)))
    return rows


def _scalar(path: Path, number: int, value: Any, label: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if value is None or isinstance(value, str):
        return text_field(path, number, {label: value}, label)
    raise UserError(
        f"{path}, line {number}: no class in the field {label!r}, but {shortened(value)}",
        "A class is a text, a number, true or false.",
    )
