"""What a model said to each example of a split, kept beside its scores: ``outputs/NAME.jsonl``.

A line holds the ``id`` of an example (its place in the split), what was ``given`` and ``expected``,
what the model ``said``, and what that scored. From such a file the figures of a run are made again
without the model (:mod:`scratchlab.evaluation.rescoring`), and two runs are compared example by
example.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = Sequence[Any] | NDArray[Any]

FOLDER = "outputs"
SHOWN = 300  # characters of what was given: nothing is scored by it
MOST = 50_000  # examples; of more, evenly spread ones are kept


class Records:
    """The lines of one file, as columns: each has a value for every example of ``ids``."""

    def __init__(self, name: str, ids: Sequence[int]) -> None:
        self.name = name
        self.ids = [int(i) for i in ids]
        self.columns: dict[str, Column] = {}

    def add(self, columns: Mapping[str, Column | None]) -> None:
        """Add columns, or those of another evaluator in place of equal ones."""
        for column, values in columns.items():
            if values is None:
                continue
            if len(values) != len(self.ids):
                raise ValueError(
                    f"outputs/{self.name}: {len(values)} values of {column!r} for "
                    f"{len(self.ids)} examples"
                )
            self.columns[column] = values

    def by(self, statistic: str, **options: Any) -> dict[str, Any]:
        """How a measurement is made again from this file: a name and options of ``rescoring``."""
        return {"file": self.name, "statistic": statistic, **options}

    @property
    def kept(self) -> list[int]:
        """The places of the examples that are written."""
        total = len(self.ids)
        if total <= MOST:
            return list(range(total))
        return [i * total // MOST for i in range(MOST)]

    @property
    def cut(self) -> str:
        """What the file lacks, in words; empty if nothing."""
        lacks = []
        if len(self.ids) > MOST:
            lacks.append(f"{MOST:,} of {len(self.ids):,} examples, evenly spread")
        given = self.columns.get("given", ())
        longer = sum(isinstance(text, str) and len(text) > SHOWN for text in given)
        if longer:
            lacks.append(f"{longer:,} given texts cut to {SHOWN} characters")
        return "; ".join(lacks)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What is written, example by example."""
        for i in self.kept:
            line: dict[str, Any] = {"id": self.ids[i]}
            for column, values in self.columns.items():
                value = plain(values[i])
                if column == "given" and isinstance(value, str) and len(value) > SHOWN:
                    value = value[:SHOWN] + "…"
                line[column] = value
            yield line

    def data(self) -> str:
        """The hash of what was asked: ids with what was given and expected, nothing cut."""
        digest = hashlib.sha256()
        asked = [self.columns[c] for c in ("given", "expected") if c in self.columns]
        for i in self.kept:
            line = [self.ids[i], *(plain(values[i]) for values in asked)]
            digest.update(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        return digest.hexdigest()


def plain(value: Any) -> Any:
    """A value that JSON has: Python's numbers for NumPy's, null for what is no number."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
