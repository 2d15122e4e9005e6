"""Functions with the first lines of their docstrings, to be summarised or told apart.

The records depend on the versions of Python, NumPy and scikit-learn, and not on the machine.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import TypedDict

from scratchlab.data.generated.python_docs import (
    SHORT_BODY,
    STDLIB_MODULES,
    Documented,
    documented,
)
from scratchlab.data.splits.examples import near_copies, together

VERSION = 1  # raise it when the same packages give other records or splits
LIBRARIES = ("numpy", "sklearn")


class DocstringRecord(TypedDict):
    """One documented function or class; ``body`` is to be summarised by ``summary``."""

    package: str
    name: str
    body: str
    summary: str
    split: str
    group: int  # the same of near copies


def _summary_and_body(item: Documented) -> tuple[str, str] | None:
    """(first line, what it sums up), or None where there is nothing to learn from."""
    summary, _, rest = item.docstring.partition("\n")
    summary, body = summary.strip(), rest.strip()
    # A first line that runs on into the second is half a sentence and no summary.
    runs_on = bool(body) and not rest.startswith("\n")
    if runs_on or not 3 <= len(summary.split()) <= 25 or summary.startswith((">>>", "..")):
        return None
    if len(body) < SHORT_BODY:
        body = item.source
    return (summary, body) if len(body) >= SHORT_BODY else None


def _label(package: str, module: str) -> str:
    """The package that a record counts for; of NumPy and scikit-learn, the subpackage."""
    parts = module.split(".")
    return ".".join(parts[:2]) if package in LIBRARIES and len(parts) > 2 else package


@cache
def _docstring_records(
    packages: tuple[str, ...] = (*STDLIB_MODULES, *LIBRARIES),
) -> tuple[DocstringRecord, ...]:
    records: list[DocstringRecord] = []
    seen: set[str] = set()
    for package in packages:
        for item in documented(package):
            found = _summary_and_body(item) if item.name != item.module else None
            if found is None or not seen.isdisjoint(found):
                continue
            seen.update(found)
            summary, body = found
            records.append(
                DocstringRecord(
                    package=_label(package, item.module),
                    name=item.name,
                    body=body,
                    summary=summary,
                    split="",
                    group=0,
                )
            )
    groups = near_copies([record["body"] for record in records])
    return tuple(_drawn(records, groups))


def _drawn(records: list[DocstringRecord], groups: list[int]) -> list[DocstringRecord]:
    """The records with their splits, in random order with a package's spread over it evenly.

    Of each package a tenth goes to test and a tenth to val, and near copies follow the first of
    them; so the first records of any split hold all packages in their shares.
    """
    homes, places = [], []
    random_of = {r["package"]: random.Random(f"docstrings {r['package']}") for r in records}
    members = Counter(r["package"] for r in records)
    order = {p: random_of[p].sample(range(n), n) for p, n in members.items()}
    offset = {p: random_of[p].random() for p in members}
    seen: Counter[str] = Counter()
    for record in records:
        package = record["package"]
        rank = order[package][seen[package]]
        seen[package] += 1
        # Every tenth of a package, counted from a random start.
        turn = int(rank + 10 * offset[package]) % 10
        homes.append("test" if turn == 0 else "val" if turn == 1 else "train")
        places.append(((rank + offset[package]) / members[package], record["name"]))
    for record, split, group in zip(records, together(groups, homes), groups, strict=True):
        record["split"], record["group"] = split, group
    return [r for _, r in sorted(zip(places, records, strict=True), key=lambda pair: pair[0])]


def docstrings() -> list[DocstringRecord]:
    """Documented functions and classes of the standard library, NumPy and scikit-learn.

    ``summary`` is the docstring's first line; ``body`` is the rest of the docstring or, where that
    is shorter than a sentence or two, the function's source without the docstring. No summary and
    no body occurs twice. Records whose bodies share a quarter of their text are in one ``split``.
    Libraries that are not installed are left out.
    """
    return [record.copy() for record in _docstring_records()]


def docstring_splits() -> dict[str, list[DocstringRecord]]:
    """The records of :func:`docstrings` by split: "train", "val", "test"."""
    splits: dict[str, list[DocstringRecord]] = {"train": [], "val": [], "test": []}
    for record in docstrings():
        splits[record["split"]].append(record)
    return splits


def distinct_docstrings() -> list[DocstringRecord]:
    """The records of :func:`docstrings` without those whose body is a near copy of an earlier
    one's: what one of them says, no other does."""
    first: dict[int, DocstringRecord] = {}
    for record in docstrings():
        first.setdefault(record["group"], record)
    return list(first.values())
