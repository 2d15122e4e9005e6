"""Queries with the documents that are right for them, from files of the user's and in BEIR's form.

A query of its own file is a line of JSON, ``{"query": …, "relevant": NAME or [NAME, …]}``, or a row
of a CSV or TSV file with these two columns (several rows for several documents). BEIR's folders
hold ``queries.jsonl`` and, for each split, ``qrels/SPLIT.tsv`` with grades (Thakur et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.documents.reading import JSON_LINES, document_name
from scratchlab.data.sources.csv_cells import read_cells
from scratchlab.data.sources.reading import find_file, read_objects, text_field
from scratchlab.errors import UserError, nearest, number_of, shortened

QUERIES = "queries.jsonl"
MOST_COMPARED = 10_000  # names, for the one that was meant
BEIR_SPLITS = {"test": ("test",), "val": ("dev", "val", "validation", "train")}


@dataclass
class Judgement:
    """A query as read: the names of the documents that are right for it, with their grades, and
    where each is named."""

    query: str
    grades: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, grade: int, where: str) -> None:
        """Of a name that stands twice the last grade counts."""
        self.grades[name], self.places[name] = grade, where


@dataclass(frozen=True)
class Queries:
    """``texts`` [queries]; of each the numbers of its right documents, rising, and their grades."""

    texts: list[str]
    relevant: list[NDArray[np.int64]]
    grades: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, numbers: Sequence[int]) -> Queries:
        """Some of them."""
        return Queries(
            [self.texts[i] for i in numbers],
            [self.relevant[i] for i in numbers],
            [self.grades[i] for i in numbers],
        )


def read_judgements(path: Path) -> list[Judgement]:
    """The queries of a file.

    Raises:
        UserError: the file cannot be read, lacks a column or field, or a query names no document.
    """
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    found: dict[str, Judgement] = {}
    if kind in JSON_LINES:
        for number, row in read_objects(path, ("query", "relevant")):
            query = text_field(path, number, row, "query").strip()
            value = row["relevant"]
            listed = value if isinstance(value, list) else [value]
            names = [document_name(path, number, {"relevant": v}, "relevant") for v in listed]
            _add(found, path, number, query, names)
    else:
        tabs = kind != ".csv"
        columns = ("query", "relevant")
        cells = read_cells(path, "\t" if tabs else None, quoted=not tabs, wanted=columns)
        queries, documents = map(cells.values, columns)
        for number, query, name in zip(cells.lines, queries, documents, strict=True):
            _add(found, path, number, query.strip(), [name] if name else [])
    if not found:
        raise UserError(f"{path}: there is no query in it")
    return list(found.values())


def _add(
    found: dict[str, Judgement], path: Path, number: int, query: str, names: Sequence[str]
) -> None:
    where = f"{path}, line {number}"
    if not query or not names:
        what = "the name of a document" if query else "a query"
        raise UserError(f"{where}: {what} is missing", "Take the line out, or mend it.")
    for name in names:
        found.setdefault(query, Judgement(query)).add(name, 1, where)


def read_beir(folder: Path, split: str) -> list[Judgement] | None:
    """The judged queries of a split ("val", "test") of a folder of BEIR's form; None if it has no
    judgements for it."""
    names = (folder / "qrels" / f"{name}.tsv" for name in BEIR_SPLITS[split])
    path = next((p for p in map(find_file, names) if p is not None), None)
    if path is None:
        return None
    queries = find_file(folder / QUERIES)
    if queries is None:
        raise UserError(
            f"{folder} holds no {QUERIES}", f"{path} judges queries, which stand there."
        )
    texts = {
        document_name(queries, number, row, "_id"): text_field(queries, number, row, "text").strip()
        for number, row in read_objects(queries, ("_id", "text"))
    }
    columns = ("query-id", "corpus-id", "score")
    cells = read_cells(path, "\t", quoted=False, wanted=columns)
    places = [cells.column(name) for name in columns]
    found: dict[str, Judgement] = {}
    for number, row in zip(cells.lines, cells.rows, strict=True):
        query, document, grade = (row[place] for place in places)
        where = f"{path}, line {number}"
        if query not in texts:
            raise UserError(f"{where}: no query {shortened(query)} in {queries}")
        try:
            value = int(grade)
        except ValueError:
            raise UserError(f"{where}: {shortened(grade)} is no grade (a whole number)") from None
        if value > 0 and texts[query]:
            found.setdefault(query, Judgement(texts[query])).add(document, value, where)
    return list(found.values())


def attached(judged: Sequence[Judgement], numbers: Mapping[str, int], notes: list[str]) -> Queries:
    """Judgements of a collection whose documents have these ``numbers`` by name.

    What names no document of the collection is left out, with a note.

    Raises:
        UserError: nothing is left.
    """
    texts, relevant, grades = [], [], []
    strange: list[tuple[str, str]] = []
    for one in judged:
        strange += [(where, name) for name, where in one.places.items() if name not in numbers]
        known = sorted((numbers[name], g) for name, g in one.grades.items() if name in numbers)
        if known:
            texts.append(one.query)
            relevant.append(np.array([n for n, _ in known], dtype=np.int64))
            grades.append(np.array([g for _, g in known], dtype=np.int64))
    if strange:
        where, name = strange[0]
        near = nearest(name, numbers) if len(numbers) <= MOST_COMPARED else None
        hint = f"Did you mean {near!r}?" if near is not None else f"One of them is {_any(numbers)}."
        said = f"{where}: the collection has no document {shortened(name)}"
        if not texts:
            raise UserError(said, hint)
        left = number_of(len(strange), "judgement")
        notes.append(f"{said} ({left} of such documents left out). {hint}")
    return Queries(texts, relevant, grades)


def _any(numbers: Mapping[str, int]) -> str:
    return repr(next(iter(numbers), ""))


def nothing() -> Queries:
    """No queries."""
    return Queries([], [], [])
