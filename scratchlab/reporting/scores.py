"""What finished runs scored: a row of a comparison, its figures over the seeds, their bounds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.reporting.results import read_results
from scratchlab.reporting.tables import ends_of

SHARES = (
    "accuracy",
    "precision_",
    "recall_",
    "f1_",
    "roc_auc",
    "member_accuracy",
    "neighbours_",
    "mrr",
    "map",
    "ndcg_",
)


@dataclass(frozen=True)
class Compared:
    """A row: the folders of its finished runs (one for each seed, fold, or seed and fold: what the
    row is a mean ``over``, "runs" for both) and figures from elsewhere.

    ``note`` says what is missing (runs that failed). ``more`` holds further measurements of the
    same row, each a list of folders: where they measured what the row's own runs have as well,
    theirs is shown (what training cost stays the runs' own). Rows of one ``choice`` compete: the
    one that does best in validation is marked. ``remarks`` stand below the table.
    """

    label: str
    folders: Sequence[Path]
    reference: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    more: Sequence[Sequence[Path]] = ()
    choice: str = ""
    remarks: Sequence[str] = ()
    over: str = "seeds"


@dataclass(frozen=True)
class Score:
    """One metric of one row: its values over seeds or folds and what they mean."""

    values: tuple[float, ...]
    first: Measurement
    over: str = "seeds"

    @property
    def unit(self) -> str:
        return self.first.unit

    @property
    def better(self) -> str:
        return self.first.better

    @property
    def timing(self) -> bool:
        return self.first.timing

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def is_fixed(self) -> bool:
        """A count that no seed changes (parameters): nothing varies, and nothing is estimated."""
        return len(set(self.values)) == 1 and self.values[0].is_integer()

    @property
    def std(self) -> float | None:
        several = len(self.values) > 1 and not self.is_fixed
        return statistics.stdev(self.values) if several else None

    @property
    def spread(self) -> float | None:
        """What stands behind ±."""
        return self.first.spread if len(self.values) == 1 else self.std

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval within a single run, where it has ends of its own."""
        return ends_of(self.first) if len(self.values) == 1 else None

    @property
    def meaning(self) -> str:
        if self.std is not None:
            return f"± standard deviation of {len(self.values)} {self.over}, around their mean"
        return self.first.meaning if len(self.values) == 1 else ""


Scores = dict[str, Score]


def collect(row: Compared) -> Scores:
    """Every metric that all finished runs of a row have, and those of its further measurements."""
    scores = _scores(row.folders, row.over)
    for folders in row.more:
        for name, score in _scores(folders, row.over).items():
            if not score.timing or name not in scores:
                scores[name] = score
    return scores


def _scores(folders: Sequence[Path], over: str) -> Scores:
    found: list[dict[str, Measurement]] = []
    for folder in folders:
        try:
            results = read_results(folder)
        except UserError:
            continue  # a run without evaluation (the first half of a pipeline)
        found.append({m.name: m for m in reversed(results)})
    names = [n for n in reversed(found[0]) if all(n in f for f in found)] if found else []
    return {
        name: Score(tuple(float(f[name].value) for f in found), found[0][name], over)
        for name in names
    }


def within_bounds(one: Score, spread: float | None) -> tuple[float, float] | None:
    """How far ``spread`` reaches below and above a mean without leaving what the score can be."""
    if not spread:
        return None
    lowest, highest = bounds_of(one)
    return min(spread, one.mean - lowest), min(spread, highest - one.mean)


def bounds_of(one: Score) -> tuple[float, float]:
    """What the values of a metric lie between."""
    return (0.0, 100.0) if one.unit == "%" else bounds(one.first.name)


def bounds(metric: str) -> tuple[float, float]:
    if metric.startswith(SHARES):
        return 0.0, 1.0
    return (-math.inf, math.inf) if metric == "r2" else (0.0, math.inf)
