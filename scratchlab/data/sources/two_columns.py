"""Two texts an example, from files of the user's: CSV, TSV, JSON lines, or a class before its text.

A class is the text of its cell. Whole numbers are one class however they are written (``1``,
``1.0``, and in JSON also ``"1"``); ``true`` and ``false`` are classes of these names, which no
other class may stand beside in the same file. Rows without a text are left out and counted; rows
without a class are refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scratchlab.data.sources.csv_cells import read_cells, stripped
from scratchlab.data.sources.hub import HubSet, known_splits, load_tables, one_line
from scratchlab.data.sources.locating import Splits
from scratchlab.data.sources.reading import (
    decoded,
    lines_of,
    read_objects,
    read_unpacked,
    read_whole,
    text_field,
)
from scratchlab.errors import UserError, shortened, suggest

Labelled = list[tuple[str, str]]  # text, class
Field = Callable[[Path, int, dict[str, Any], str], str]
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
JSON = (".jsonl", ".json", ".ndjson")
LABEL_FIRST = ".label"  # how files of questions by class are called (Li & Roth 2002)


def two_columns(
    path: Path, first: str, second: str, notes: list[str], second_of: Field = text_field
) -> list[tuple[int, str, str]]:
    """Two columns of a CSV, TSV or JSON lines file (``.gz`` allowed), with the number of each line.

    ``notes`` gets remarks; ``second_of`` reads the second field of a JSON object.

    Raises:
        UserError: the file cannot be read, lacks a column, or has a row of another width or with
            something else than a text in its fields.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(JSON):
        rows = read_objects(path, (first, second))
        return [
            (number, text_field(path, number, row, first), second_of(path, number, row, second))
            for number, row in rows
        ]
    tabs = name.endswith((".tsv", ".txt"))
    cells = read_cells(path, "\t" if tabs else None, quoted=not tabs, wanted=(first, second))
    notes += cells.notes
    a, b = cells.column(first), cells.column(second)
    return [(n, row[a], row[b]) for n, row in zip(cells.lines, cells.rows, strict=True)]


def read_labelled(
    path: Path, text: str, label: str, notes: list[str] | None = None, *, fine: bool = False
) -> Labelled:
    """Texts with their classes: two columns, or a ``.label`` file of lines ``CLASS:sub a text``.

    ``notes`` gets remarks; ``fine``: the class in a ``.label`` file is ``CLASS:sub``.

    Raises:
        UserError: as :func:`two_columns`, or a row has no class.
    """
    remarks: list[str] = []
    if path.name.lower().removesuffix(".gz").endswith(LABEL_FIRST):
        rows, label = _label_first(path, remarks, fine), "its first word"
    else:
        rows = two_columns(path, text, label, remarks, _classes())
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


def _label_first(path: Path, notes: list[str], fine: bool) -> list[tuple[int, str, str]]:
    rows = []
    for number, line in enumerate(lines_in_latin(path, notes), 1):
        label, _, text = line.strip().partition(" ")
        if not label:
            continue
        if ":" not in label:
            raise UserError(
                f"{path}, line {number}: {shortened(label)} is no CLASS:sub before the text",
                "Lines are like 'NUM:date When was it built ?'; give other files as CSV or TSV.",
            )
        rows.append((number, text, label if fine else label.partition(":")[0]))
    return rows


def class_folders(folder: Path) -> list[tuple[str, list[Path]]]:
    """The text files (.txt, packed or not) of each folder in a folder, which is their class.

    Raises:
        UserError: there are none.
    """
    found = []
    for inner in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        files = sorted(f for f in inner.rglob("*") if f.name.lower().endswith((".txt", ".txt.gz")))
        if files := [f for f in files if not f.name.startswith(".")]:
            found.append((class_name(inner.name), files))
    if not found:
        raise UserError(
            f"{folder} holds no folders with text files",
            "Give a folder with a folder for each class, and .txt files in these.",
        )
    return found


def labelled_folders(folder: Path, notes: list[str]) -> Labelled:
    """The text of each file of :func:`class_folders` with its class; empty files are left out."""
    found, empty = [], []
    for name, files in class_folders(folder):
        for file in files:
            text = read_whole(file).strip()
            found += [(text, name)] if text else []
            empty += [] if text else [file]
    if empty:
        notes.append(f"{folder}: {len(empty)} files without text left out ({empty[0].name} first)")
    return found


def load_hub_labelled(where: HubSet, by_hand: str) -> Splits:
    """The labelled texts of the splits of a hub data set, classes by their names.

    ``by_hand`` says how they are got without the hub.

    Raises:
        UserError: as :func:`scratchlab.data.sources.hub.load_tables`, or a column is missing.
    """
    text, label = where.columns
    splits: Splits = {}
    for split, table in known_splits(where.id, load_tables(where, by_hand)).items():
        missing = next((c for c in where.columns if c not in table.column_names), None)
        if missing is not None:
            hint = suggest(missing, table.column_names, "Columns")
            raise UserError(f"{where.id}: no column {missing!r}", hint)
        names = getattr(table.features[label], "names", None)  # of numbers that stand for classes
        rows = zip(table[text], table[label], strict=True)
        splits[split] = [
            (one_line(t), class_name(str(names[c] if names and c in range(len(names)) else c)))
            for t, c in rows
            if one_line(t)
        ]
    return splits


def lines_in_latin(path: Path, notes: list[str]) -> list[str]:
    """The lines of a file that its makers distribute in latin-1 and others in UTF-8."""
    content = read_unpacked(path)
    beyond_ascii = [line for line in content.split(b"\n") if not line.isascii()]
    if beyond_ascii and not any(map(_is_utf8, beyond_ascii)) and b"\0" not in content:
        notes.append(f"{path.name}: read as latin-1, since none of its accents is UTF-8")
        return lines_of(path, content.decode("latin-1"))
    return lines_of(path, decoded(path, content))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def class_name(cell: str) -> str:
    """The class that a cell names: its text, a whole number without a point.

    What cannot be seen makes no other class: white space around it, the way an accent is coded.
    """
    cell = unicodedata.normalize("NFC", stripped([cell])[0])
    whole = _WHOLE.fullmatch(cell)
    return whole[1] if whole else cell


def _classes() -> Field:
    """What reads the classes of one file of JSON lines: texts, numbers, or true and false."""
    truths: dict[bool, int] = {}  # whether the class is true or false: the first such line

    def of(path: Path, number: int, row: dict[str, Any], label: str) -> str:
        value = row[label]
        truths.setdefault(isinstance(value, bool), number)
        if len(truths) == 2:
            raise UserError(
                f"{path}: the class in line {truths[True]} is true or false, that in line "
                f"{truths[False]} is not",
                "Name the classes in one way throughout.",
            )
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return str(value)
        if value is None or isinstance(value, str):
            return text_field(path, number, row, label)
        raise UserError(
            f"{path}, line {number}: no class in the field {label!r}, but {shortened(value)}",
            "A class is a text, a number, true or false.",
        )

    return of
