"""From cells to numbers: which columns are numbers, which categories, and what the target is.

A column is a column of numbers if most of its cells are; then a cell that is none is an error that
names it, unless the column is listed under ``categories``. Other columns are categories, with one
feature for each. What was found is kept with a checkpoint: later rows are read in the same way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.reading import require
from scratchlab.data.sources.csv_cells import MISSING, Cells, is_missing
from scratchlab.data.sources.numerals import (
    Reading,
    Unclear,
    find_reading,
    is_number,
    plain_values,
    values_of,
)
from scratchlab.errors import UserError, shortened, suggest

PLAN_SCHEMA = {
    "columns": "list[dict[str, Any]]",
    "target": "str",
    "classes": "list[str]",
    "target_reading?": "dict[str, str]",
    "header?": "list[str]",
    "delimiter?": "str",
}
COLUMN_SCHEMA = {"name": "str", "categories": "list[str]", "reading?": "dict[str, str]"}
MOST_CATEGORIES = 50
MOST_CLASSES = 20  # whole numbers with more different values are a target of numbers


def _reading_of(content: Mapping[str, str]) -> Reading:
    """How numbers are written, as a checkpoint says it."""
    found = Reading(content.get("decimal", "."), content.get("mark", ""))
    if found.decimal not in (".", ","):
        raise UserError(f"preparation: own: {shortened(found.decimal)} is no decimal sign")
    return found


@dataclass(frozen=True)
class Column:
    """A column that models see: its name and its categories, or how its numbers are written."""

    name: str
    categories: tuple[str, ...] = ()
    reading: Reading = Reading()

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={c}" for c in self.categories) or (self.name,)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Column:
        found = require(content, COLUMN_SCHEMA, "preparation", ("own", "columns"))
        reading = _reading_of(found.get("reading", {}))
        return Column(found["name"], tuple(found["categories"]), reading)


@dataclass(frozen=True)
class Plan:
    """How a table is read: its columns in order and its target (classes by name, or numbers).

    ``header`` and ``delimiter`` are those of the file that it was made of.
    """

    columns: tuple[Column, ...]
    target: str
    classes: tuple[str, ...] = ()
    target_reading: Reading = Reading()
    header: tuple[str, ...] = ()
    delimiter: str = ","

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(f for column in self.columns for f in column.features)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Plan:
        found = require(content, PLAN_SCHEMA, "preparation", ("own",))
        return Plan(
            tuple(map(Column.from_json, found["columns"])),
            found["target"],
            tuple(found["classes"]),
            _reading_of(found.get("target_reading", {})),
            tuple(found.get("header", ())),
            found.get("delimiter", ","),
        )


@dataclass(frozen=True)
class Wishes:
    """What a person says of a table: which kind its target has, and how its columns are read."""

    target: str
    target_type: str = "auto"
    categories: Sequence[str] = ()
    drop: Sequence[str] = ()
    missing: frozenset[str] = MISSING
    decimal: str | None = None


def known_cells(values: Sequence[str], missing: frozenset[str]) -> set[str]:
    """The different cells of a column but those that say that nothing is known."""
    return {value for value in set(values) if value.lower() not in missing}


def make_plan(cells: Cells, wishes: Wishes) -> tuple[Plan, list[str]]:
    """Find the kinds of all columns; notes say what was not plain."""
    for name in (*wishes.categories, *wishes.drop):
        cells.column(name)
    cells.column(wishes.target, "target column")
    classes, target_reading = _target(cells, wishes)
    columns, constant, notes = [], [], []
    written: dict[str, list[str]] = {}  # columns by how their numbers are
    if wishes.target not in wishes.categories:
        written.setdefault(str(target_reading), []).append(wishes.target)
    for name in cells.columns:
        if name == wishes.target or name in wishes.drop:
            continue
        values = cells.values(name)
        known = known_cells(values, wishes.missing)
        reading = None
        if name not in wishes.categories:
            reading = _reading(cells, name, values, known, wishes)
        if len(known) < 2:
            constant.append(name)
        elif reading is not None:
            columns.append(Column(name, (), reading))
            written.setdefault(str(reading), []).append(name)
        else:
            columns.append(Column(name, _categories(cells, name, known)))
            notes += _words_taken_as_missing(name, values, known)
    if not columns:
        raise UserError(
            f"{cells.path}: no column is left to learn from",
            f"All but the target {wishes.target!r} are constant or dropped.",
        )
    notes += [f"{', '.join(n)}: numbers with {how}" for how, n in written.items() if how]
    if constant:
        notes.insert(0, f"constant columns left out: {', '.join(constant)}")
    header = tuple(cells.columns)
    plan = Plan(
        tuple(columns), wishes.target, classes, target_reading, header, cells.delimiter
    )  # fmt: skip
    return plan, notes


def _words_taken_as_missing(name: str, values: Sequence[str], known: set[str]) -> list[str]:
    """NA may be Namibia, None an answer."""
    words = {k: n for k, n in Counter(values).items() if k and k not in known}
    if not words:
        return []
    listed = ", ".join(f"{word} ({count:,})" for word, count in sorted(words.items()))
    return [f"{name}: taken as missing: {listed}; dataset.missing=[…] says which words are"]


def _categories(cells: Cells, name: str, known: set[str]) -> tuple[str, ...]:
    if len(known) > MOST_CATEGORIES:
        raise UserError(
            f"{cells.path}: the column {name!r} holds text with {len(known):,} different values",
            f"Names and numbers of rows tell a model nothing: dataset.drop=[{name}].",
        )
    return tuple(sorted(known))


def _reading(
    cells: Cells, name: str, values: Sequence[str], known: set[str], wishes: Wishes
) -> Reading | None:
    """How the numbers of a column are written; None if most of its cells are no numbers."""
    if wishes.decimal != "," and plain_values(known) is not None:
        return Reading()
    numbers = {v for v in known if is_number(v)}
    counts = Counter(values)
    if 2 * sum(counts[v] for v in numbers) <= sum(counts[v] for v in known):
        return None
    try:
        return find_reading((v for v in dict.fromkeys(values) if v in numbers), wishes.decimal)
    except Unclear as unclear:
        where = cells.where(values.index(unclear.cell), name)
        hint = f"{unclear.hint} If they are names: dataset.categories=[{name}]."
        if name == wishes.target:
            hint = f"{unclear.hint} If they are names: dataset.target_type=class."
        raise UserError(f"{where}: {unclear.problem}", hint) from None


def _target(cells: Cells, wishes: Wishes) -> tuple[tuple[str, ...], Reading]:
    """The names of the classes in order (numbers by value; none if the target is a number)."""
    values = cells.values(wishes.target)
    known = known_cells(values, wishes.missing)
    if wishes.target_type == "class":
        asked = Reading(wishes.decimal or ".")
        names = _class_names(known, asked)
        return names, Reading() if None in values_of(names, asked) else asked
    reading = _reading(cells, wishes.target, values, known, wishes)
    if wishes.target_type == "number":
        return (), reading or Reading(wishes.decimal or ".")
    if reading is None:
        return tuple(sorted(known)), Reading()
    if len(known) > MOST_CLASSES:
        return (), reading  # `targets` names the cells that are no numbers
    numbers = [n for n in values_of(known, reading) if n is not None]
    if len(numbers) < len(known):
        return tuple(sorted(known)), Reading()
    if not all(n.is_integer() for n in numbers):
        return (), reading
    return _class_names(known, reading), reading


def _class_names(known: set[str], reading: Reading) -> tuple[str, ...]:
    """The classes in order, numbers by value; 1, 1.0 and 01 are one class."""
    values = dict(zip(known, values_of(known, reading), strict=True))
    if None in values.values():
        return tuple(sorted(known))
    names: dict[float, str] = {}
    for name in sorted(known, key=lambda n: (len(n), n)):
        names.setdefault(values[name] or 0.0, name)
    return tuple(names[value] for value in sorted(names))


def features(
    cells: Cells, plan: Plan, missing: frozenset[str] = MISSING
) -> tuple[NDArray[np.float64], dict[str, int]]:
    """X [rows, features] and, by column, how many cells are missing.

    NaN where a number is missing, all 0 where a category is (or was not seen in training).
    """
    X = np.zeros((len(cells.rows), len(plan.features)))
    counts, first = {}, 0
    for column in plan.columns:
        values = cells.values(column.name)
        if column.categories:
            order = {c: i for i, c in enumerate(column.categories)}
            places = np.fromiter((order.get(v, -1) for v in values), np.int64, len(values))
            seen = np.flatnonzero(places >= 0)
            X[seen, first + places[seen]] = 1
            absent = 0
            if len(seen) < len(values):
                absent = sum(is_missing(v, missing) for v in values)
        else:
            X[:, first] = _numbers(cells, column, values, missing)
            absent = int(np.isnan(X[:, first]).sum())
        if absent:
            counts[column.name] = absent
        first += len(column.features)
    return X, counts


def _numbers(
    cells: Cells, column: Column, values: list[str], missing: frozenset[str]
) -> NDArray[np.float64]:
    """A column of numbers, NaN where one is missing; UserError at the first that is none."""
    if column.reading.decimal == "." and (plain := plain_values(values)) is not None:
        return np.array(plain)
    known = known_cells(values, missing)
    found = dict(zip(known, values_of(known, column.reading), strict=True))
    if None in found.values():
        row, cell = next((i, v) for i, v in enumerate(values) if found.get(v, 0) is None)
        hint = f"read the column as text: dataset.categories=[{column.name}]"
        raise UserError(
            f"{cells.where(row, column.name)}: {shortened(cell)} is no number",
            f"Mend the cell, or {hint}.",
        )
    return np.array([found.get(v, math.nan) for v in values], dtype=np.float64)


def unknown_categories(
    cells: Cells, plan: Plan, missing: frozenset[str] = MISSING
) -> dict[str, list[str]]:
    """By column, the categories of a table that the plan, made of an earlier one, does not have."""
    found = {}
    for column in plan.columns:
        if column.categories:
            new = known_cells(cells.values(column.name), missing) - set(column.categories)
            if new:
                found[column.name] = sorted(new)
    return found


def targets(cells: Cells, plan: Plan, missing: frozenset[str] = MISSING) -> NDArray[Any]:
    """y [rows]: class numbers or values; UserError at the first cell that cannot be one."""
    cells.column(plan.target, "target column")
    values = cells.values(plan.target)
    worth: dict[str, float | None] = {}
    known = known_cells(values, missing)
    if plan.classes:
        order = {c: i for i, c in enumerate(plan.classes)}
        by_value = {plan.target_reading.number(c): i for i, c in enumerate(plan.classes)}
        for value in known:
            # Also 1.0 where the class is called 1, unless a class is no number.
            same = None if None in by_value else plan.target_reading.number(value)
            worth[value] = order.get(value, by_value.get(same) if same is not None else None)
    else:
        worth = dict(zip(known, values_of(known, plan.target_reading), strict=True))
    for row, value in enumerate(values):
        if worth.get(value) is None:
            raise _no_target(cells.where(row, plan.target), value, value in known, plan)
    dtype = np.int64 if plan.classes else np.float64
    return np.fromiter((worth[v] for v in values), dtype, len(values))


def _no_target(where: str, cell: str, known: bool, plan: Plan) -> UserError:
    if not known:
        hint = "Mend the file, or leave such rows out: dataset.missing_target=drop."
        if cell:
            hint += f" If {shortened(cell)} is a value: dataset.missing=[…] without it."
        return UserError(f"{where}: the target is missing", hint)
    if plan.classes:
        hint = suggest(cell, plan.classes, "Classes")
        return UserError(f"{where}: unknown class {shortened(cell)}", hint)
    return UserError(
        f"{where}: the target {shortened(cell)} is no number",
        "Mend the cell, or take the target as classes: dataset.target_type=class.",
    )
