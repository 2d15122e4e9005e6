"""Tables: the classic ones from files, and any CSV of the user's."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from scratchlab.data.contract import Provenance
from scratchlab.data.kinds.rows import Raw, RowOptions, RowsDataset
from scratchlab.data.sources.columns import (
    Plan,
    Wishes,
    features,
    make_plan,
    targets,
    unknown_categories,
)
from scratchlab.data.sources.csv_cells import MISSING, Cells, Rows, is_missing, read_cells
from scratchlab.data.sources.locating import own_file, required_files
from scratchlab.data.sources.reading import sha256_of
from scratchlab.data.sources.table_lines import read_rows
from scratchlab.errors import UserError, shortened, suggest
from scratchlab.registry import option, register


class TableDataset(RowsDataset):
    """A :class:`RowsDataset` of CSV cells."""

    def table(
        self, cells: Cells, provenance: Provenance, kept: Mapping[str, Any] | None, wishes: Wishes
    ) -> Raw:
        """Cells as raw rows; after a checkpoint's plan if there is one."""
        notes = list(cells.notes)
        if kept:
            plan = Plan.from_json(kept)
            for name, new in unknown_categories(cells, plan, wishes.missing).items():
                listed = ", ".join(new[:5]) + (", …" if len(new) > 5 else "")
                notes.append(f"{name}: not seen in training, read as missing: {listed}")
        else:
            plan, found = make_plan(cells, wishes)
            notes += found
        X, counts = features(cells, plan, wishes.missing)
        for of_text, said in ((False, "the median of train"), (True, "none of their categories")):
            listed = ", ".join(
                f"{c.name} {counts[c.name]:,}"
                for c in plan.columns
                if c.name in counts and bool(c.categories) == of_text
            )
            notes += [f"missing values, taken as {said}: {listed}"] if listed else []
        return Raw(
            X=X,
            y=targets(cells, plan, wishes.missing),
            feature_names=plan.features,
            class_names=plan.classes,
            target_name=plan.target,
            provenance=provenance,
            notes=notes,
            cells=cells.rows,
            columns=tuple(cells.columns),
            missing={f: counts.get(c.name, 0) for c in plan.columns for f in c.features},
            preparation=plan.to_json(),
        )

    def columns(self) -> dict[str, Any]:
        found, first = {}, 0
        for column in Plan.from_json(self.own_preparation).columns:
            block = self.raw.X[:, first : first + len(column.features)]
            first += len(column.features)
            places = np.where(block.any(axis=1), block.argmax(axis=1), -1)
            found[column.name] = places.astype(float) if column.categories else block[:, 0]
        return found

    @property
    def missing_words(self) -> frozenset[str]:
        """Cells that say that nothing is known, in small letters."""
        return MISSING

    def encode_lines(self, lines: Iterator[str]) -> Iterator[Any]:
        plan = Plan.from_json(self.own_preparation)
        names = [c.name for c in plan.columns]
        for given in read_rows(lines, names, plan.header, plan.target, plan.delimiter):
            if given is None or isinstance(given, UserError):
                yield given
                continue
            cells = Cells(Path(given.where), names, Rows.of([given.cells], len(names)), [0])
            try:
                yield self.scaling.apply(self._encoded(cells, plan))
            except UserError as error:
                yield UserError(error.message.replace(", line 0", ""), error.hint)

    def _encoded(self, cells: Cells, plan: Plan) -> Any:
        for name, (new,) in unknown_categories(cells, plan, self.missing_words).items():
            known = next(column.categories for column in plan.columns if column.name == name)
            raise UserError(
                f"{cells.where(0, name)}: {shortened(new)} was not seen in training",
                suggest(new, known, "Known"),
            )
        return features(cells, plan, self.missing_words)[0]


def joined(parts: Sequence[Cells], where: Path) -> Cells:
    """Tables of the same columns below each other; UserError where a file has others."""
    first = parts[0]
    for part in parts:
        if part.columns != first.columns:
            raise UserError(f"{part.path} has other columns than {first.path}", "Get both again.")
    lines = [line for part in parts for line in part.lines]
    notes = [note for part in parts for note in part.notes]
    rows = Rows.joined([part.rows for part in parts])
    places = itertools.accumulate((len(part.rows) for part in parts), initial=0)
    starts = dict(zip(places, (part.path for part in parts), strict=False))
    return Cells(where, first.columns, rows, lines, notes, first.delimiter, starts)


@register(
    "dataset",
    "wine_quality",
    task="classification",
    also=("regression",),
    sources=("files",),
    files=("wine_quality/winequality-red.csv", "wine_quality/winequality-white.csv"),
    origin="https://archive.ics.uci.edu/dataset/186/wine+quality",
    holds=("rows",),
)
class WineQuality(TableDataset):
    """Wine quality (Cortez et al. 2009): 6,497 wines, 11 measurements, grades from 3 to 9."""

    @dataclass(frozen=True)
    class Config(RowOptions):
        colour: str = option("both", "which wines", choices=("both", "red", "white"))
        colour_column: bool = option(False, "tell the model the colour as well")
        target_type: str = option(
            "class", "the grade as a class or as a number", choices=("class", "number")
        )
        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("not colour_column or colour == 'both'", "colour_column needs colour=both"),
        )

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        facts, config = self.registered_facts, self.config
        paths = list(required_files(facts, self.context).paths.values())
        colours = {"red": paths[0], "white": paths[1]}
        chosen = {c: p for c, p in colours.items() if config.colour in ("both", c)}
        parts = []
        for colour, path in chosen.items():
            cells = read_cells(path, ";")
            if config.colour_column:
                cells = dataclasses.replace(
                    cells,
                    columns=["colour", *cells.columns],
                    rows=cells.rows.with_column(colour),
                )
            parts.append(cells)
        hashes = {f"wine_quality/{p.name}": sha256_of(p) for p in chosen.values()}
        provenance = Provenance("files", str(paths[0].parent), hashes)
        return self.table(
            joined(parts, paths[0].parent),
            provenance,
            kept,
            Wishes("quality", config.target_type),
        )


@register(
    "dataset",
    "boston_housing",
    task="regression",
    sources=("files",),
    files=("boston_housing/boston_housing.csv",),
    origin="http://lib.stat.cmu.edu/datasets/boston (as CSV with a header, CRIM to MEDV)",
    holds=("rows",),
)
class BostonHousing(TableDataset):
    """Boston housing (Harrison & Rubinfeld 1978): 506 districts, median price in 1,000 dollars.

    Column B of this old set encodes race; it is kept for comparison with published figures.
    """

    @dataclass(frozen=True)
    class Config(RowOptions):
        pass

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        facts = self.registered_facts
        (path,) = required_files(facts, self.context).paths.values()
        provenance = Provenance("files", str(path.parent), {facts["files"][0]: sha256_of(path)})
        return self.table(read_cells(path), provenance, kept, Wishes("MEDV", "number"))


@register(
    "dataset",
    "table",
    task="classification",
    also=("regression",),
    sources=("files",),
    holds=("rows",),
)
class OwnTable(TableDataset):
    """Your own table: a CSV file whose first line names the columns.

    Columns of numbers and of text are told apart, missing values filled, text taken as categories.
    """

    drops_columns = True

    @dataclass(frozen=True)
    class Config(RowOptions):
        path: str = option("", "the CSV file (may be packed with gzip)", path="data")
        target: str | None = option(None, "the column to predict; null: the last one")
        target_type: str = option(
            "auto",
            "auto: text and at most 20 different whole numbers are classes",
            choices=("auto", "class", "number"),
        )
        categories: list[str] = option([], "columns of numbers that are names of things")
        drop: list[str] = option([], "columns to leave out")
        missing: list[str] = option(
            ["NA", "N/A", "NaN", "null", "none", "?", "-"],
            "cells, in any case, that say that nothing is known (as empty ones do)",
        )
        decimal: str | None = option(
            None, "what parts decimals where a column leaves it open", choices=("point", "comma")
        )
        delimiter: str | None = option(
            None, "what parts cells (a character, or tab); null: found in the first line"
        )
        missing_target: str = option(
            "error", "rows whose target is missing", choices=("error", "drop")
        )

    def read(self, kept: Mapping[str, Any] | None) -> Raw:
        config = self.config
        if not config.path:
            raise UserError("table needs to know your file", "Give dataset.path=FILE.csv.")
        path = own_file(config.path, self.context.root)
        cells = read_cells(path, config.delimiter)
        target = config.target or (kept["target"] if kept else cells.columns[-1])
        cells.column(target, "target column")
        notes = [] if config.target else [f"the last column, {target!r}, is the target"]
        if config.missing_target == "drop":
            values = cells.values(target)
            rows = [i for i, v in enumerate(values) if not is_missing(v, self.missing_words)]
            if len(rows) < len(values):
                notes.append(f"{len(values) - len(rows):,} rows without a target left out")
                lines = [cells.lines[i] for i in rows]
                cells = dataclasses.replace(cells, rows=cells.rows.take(rows), lines=lines)
        raw = self.table(
            cells,
            Provenance("files", str(path), {path.name: sha256_of(path)}),
            kept,
            Wishes(
                target,
                config.target_type,
                config.categories,
                config.drop,
                self.missing_words,
                {"point": ".", "comma": ","}.get(config.decimal or ""),
            ),
        )
        raw.notes[:0] = notes
        return raw

    @property
    def missing_words(self) -> frozenset[str]:
        return frozenset(("", *(word.strip().lower() for word in self.config.missing)))
