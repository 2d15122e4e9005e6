"""Which of the settings that were tried is chosen: by validation, never by the test."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.reporting.scores import Compared
from scratchlab.tracking.jsonl import METRICS, curve, read_lines

CHOOSES = "val/loss"


@dataclass(frozen=True)
class Choice:
    """Rows of a suite that compete: the least validation loss of each, and the one that wins.

    ``chosen`` is None while a row has no figure yet: the best of some is not the best.
    """

    name: str
    tried: dict[str, float | None]

    @property
    def chosen(self) -> str | None:
        found = {label: value for label, value in self.tried.items() if value is not None}
        if len(found) < len(self.tried):
            return None
        return min(found, key=lambda label: found[label])

    def as_dict(self) -> dict[str, Any]:
        return {"by": f"least {CHOOSES}", "tried": self.tried, "chosen": self.chosen}


def choices(rows: Sequence[Compared]) -> list[Choice]:
    """The choices among the rows, in their order."""
    names = dict.fromkeys(row.choice for row in rows if row.choice)
    return [
        Choice(name, {row.label: least_loss(row.folders) for row in rows if row.choice == name})
        for name in names
    ]


def least_loss(folders: Sequence[Path]) -> float | None:
    """The validation loss of a row's best checkpoints, a mean over its seeds."""
    found = [curve(read_lines(folder / METRICS, whole=True), CHOOSES)[1] for folder in folders]
    return statistics.fmean(map(min, found)) if found and all(found) else None
