"""From cells to numbers: which columns are numbers, which categories, and what the target is.

A column is a column of numbers if most of its cells are; then a cell that is none is an error that
names it, unless the column is listed under ``categories``. Other columns are categories, with one
feature for each. What was found is kept with a checkpoint: later rows are read in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.csv_cells import Cells, is_missing
from scratchlab.errors import UserError, suggest

MOST_CATEGORIES = 50
MOST_CLASSES = 20  # whole numbers with more different values are a target of numbers


@dataclass(frozen=True)
class Column:
    """A column that models see: its name and, where it holds categories, what they are."""

    name: str
    categories: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={c}" for c in self.categories) or (self.name,)


@dataclass(frozen=True)
class Plan:
    """How a table is read: its columns in order and its target (classes by name, or numbers)."""

    columns: tuple[Column, ...]
    target: str
    classes: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(f for column in self.columns for f in column.features)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Plan:
        columns = tuple(Column(c["name"], tuple(c["categories"])) for c in content["columns"])
        return Plan(columns, content["target"], tuple(content["classes"]))


def make_plan(
    cells: Cells, target: str, target_type: str, categories: Sequence[str], drop: Sequence[str]
) -> tuple[Plan, list[str]]:
    """Find the kinds of all columns; notes name the constant ones, which are left out."""
    for name in (*categories, *drop):
        cells.column(name)
    place = cells.column(target, "target column")
    wanted = [row[place] for row in cells.rows]
    if target_type != "class" and not _mostly_numbers(wanted):
        _refuse_commas(cells, target, wanted, "dataset.target_type=class")
    classes = _classes(wanted, target_type)
    columns, constant = [], []
    for index, name in enumerate(cells.columns):
        if name == target or name in drop:
            continue
        values = [row[index] for row in cells.rows]
        known = {v for v in values if not is_missing(v)}
        if len(known) < 2:
            constant.append(name)
        elif name not in categories and _mostly_numbers(values):
            columns.append(Column(name))
        else:
            if name not in categories:
                _refuse_commas(cells, name, values, f"dataset.categories=[{name}]")
            columns.append(Column(name, _categories(cells, name, known)))
    if not columns:
        raise UserError(
            f"{cells.path}: no column is left to learn from",
            f"All but the target {target!r} are constant or dropped.",
        )
    notes = [f"constant columns left out: {', '.join(constant)}"] if constant else []
    return Plan(tuple(columns), target, classes), notes


def _categories(cells: Cells, name: str, known: set[str]) -> tuple[str, ...]:
    if len(known) > MOST_CATEGORIES:
        raise UserError(
            f"{cells.path}: the column {name!r} holds text with {len(known):,} different values",
            f"Names and numbers of rows tell a model nothing: dataset.drop=[{name}].",
        )
    return tuple(sorted(known))


def _mostly_numbers(values: Sequence[str]) -> bool:
    known = [v for v in values if not is_missing(v)]
    return sum(number(v) is not None for v in known) * 2 > len(known)


def _refuse_commas(cells: Cells, name: str, values: Sequence[str], otherwise: str) -> None:
    """UserError for a column of 3,14 or 1,000, which would pass for texts."""
    if _mostly_numbers([v.replace(",", ".", 1) for v in values]):
        example = next(v for v in values if "," in v)
        raise UserError(
            f"{cells.path}: the column {name!r} holds numbers with commas, like {example}",
            f"Write 3.14 for 3,14 and 1000 for 1,000; if they are names: {otherwise}.",
        )


def number(cell: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _classes(values: Sequence[str], target_type: str) -> tuple[str, ...]:
    """The names of the classes in order (numbers by value); none if the target is a number."""
    known = sorted({v for v in values if not is_missing(v)})
    numbers = [number(v) for v in known]
    numeric = all(n is not None for n in numbers)
    whole = numeric and all(float(n or 0).is_integer() for n in numbers)
    if target_type == "auto" and len(known) > MOST_CLASSES and _mostly_numbers(values):
        return ()  # `targets` names the cells that are no numbers
    if target_type == "number" or (
        target_type == "auto" and numeric and not (whole and len(known) <= MOST_CLASSES)
    ):
        return ()
    if numeric:
        return tuple(sorted(known, key=float))
    return tuple(known)


def features(cells: Cells, plan: Plan) -> NDArray[np.float64]:
    """X [rows, features]: NaN where a number is missing, all 0 where a category is."""
    blocks = []
    for column in plan.columns:
        place = cells.column(column.name)
        values = [row[place] for row in cells.rows]
        if column.categories:
            order = {c: i for i, c in enumerate(column.categories)}
            block = np.zeros((len(values), len(order)))
            for row, value in enumerate(values):
                if value in order:
                    block[row, order[value]] = 1
        else:
            block = np.array([[_number_at(cells, r, column.name, v)] for r, v in enumerate(values)])
        blocks.append(block)
    return np.hstack(blocks)


def unknown_categories(cells: Cells, plan: Plan) -> dict[str, list[str]]:
    """By column, the categories of a table that the plan, made of an earlier one, does not have."""
    found = {}
    for column in plan.columns:
        if column.categories:
            place = cells.column(column.name)
            new = {v for v in (row[place] for row in cells.rows) if not is_missing(v)}
            if new := new - set(column.categories):
                found[column.name] = sorted(new)
    return found


def _number_at(cells: Cells, row: int, column: str, cell: str) -> float:
    if is_missing(cell):
        return math.nan
    value = number(cell)
    if value is None:
        raise UserError(
            f"{cells.where(row, column)}: {cell!r} is no number",
            f"Mend the cell, or read the column as text: dataset.categories=[{column}].",
        )
    return value


def targets(cells: Cells, plan: Plan) -> NDArray[Any]:
    """y [rows]: class numbers or values; UserError at the first cell that cannot be one."""
    place = cells.column(plan.target, "target column")
    order = {c: i for i, c in enumerate(plan.classes)}
    found: list[float] = []
    for row, cells_of_row in enumerate(cells.rows):
        cell = cells_of_row[place]
        if is_missing(cell):
            raise UserError(
                f"{cells.where(row, plan.target)}: the target is missing",
                "Mend the file, or leave such rows out: dataset.missing_target=drop.",
            )
        if plan.classes:
            if cell not in order:
                hint = suggest(cell, plan.classes, "Classes")
                raise UserError(f"{cells.where(row, plan.target)}: unknown class {cell!r}", hint)
            found.append(order[cell])
        else:
            value = number(cell)
            if value is None:
                raise UserError(
                    f"{cells.where(row, plan.target)}: the target {cell!r} is no number",
                    "Mend the cell, or take the target as classes: dataset.target_type=class.",
                )
            found.append(value)
    return np.array(found, dtype=np.int64 if plan.classes else np.float64)
