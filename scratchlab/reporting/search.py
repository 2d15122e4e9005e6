"""A search over options: what was tried, how well each point did, and the table of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.formatting import ARROWS, decimals_of, format_measurement, title_of
from scratchlab.reporting.tables import csv_text, markdown
from scratchlab.run.atomic import write_text

TRIALS = Path("tables/trials.md")  # in the folder of a search


@dataclass(frozen=True)
class Tried:
    """One point: the name of its run, its options, its value, how it ended and why.

    Of a point with several runs (seeds, folds) the value is their mean, ``values`` holds all.
    """

    run: str
    params: Mapping[str, Any]
    value: float | None
    status: str
    reason: str = ""
    log: str = ""
    seconds: float = 0.0
    values: tuple[float, ...] = ()

    @property
    def spread(self) -> float | None:
        """The standard deviation of the values, if there are several."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def number(self) -> float:
        """The value of a point that ended well."""
        assert self.value is not None
        return self.value


@dataclass(frozen=True)
class Search:
    """All points, the metric they are compared by (``better``: lower or higher), and the keys.

    ``logarithmic`` keys were searched by their logarithm, ``listed`` ones have given values only.
    ``importance`` is each key's share in the differences between points, if it is known.
    """

    title: str
    metric: str
    better: str
    keys: Sequence[str]
    tried: Sequence[Tried]
    logarithmic: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    importance: Mapping[str, float] | None = None
    notes: Sequence[str] = ()  # below the table

    @property
    def label(self) -> str:
        return f"{title_of(self.metric)} {ARROWS[self.better]}"

    def ranked(self) -> list[Tried]:
        """What ended well, the best first."""
        good = [t for t in self.tried if t.status == "done" and t.value is not None]
        return sorted(good, key=lambda t: t.number if self.better == "lower" else -t.number)


def write_trials(folder: Path, search: Search) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Write tables/trials.{csv,md}; returns the table for the console."""
    columns, rows = search_table(search)
    write_text(folder / TRIALS, markdown(columns, rows, search.notes))
    several = any(t.values for t in search.tried)
    exact = []
    for t in search.tried:
        spread = [t.spread, " ".join(map(repr, t.values))] if several else []
        params = [t.params.get(k) for k in search.keys]
        exact.append([t.run, t.status, t.value, *spread, *params, t.reason, t.log])
    of_several = ("std", "values") if several else ()
    names = ("trial", "status", search.metric, *of_several, *search.keys, "reason", "log")
    write_text(folder / "tables" / "trials.csv", csv_text(names, exact))
    return columns, rows


def search_table(search: Search) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """For people: the best first, then what was pruned, failed or is still to be run."""
    ranked = search.ranked()
    rest = [t for t in search.tried if t not in ranked]
    columns = ("trial", search.label, *search.keys, "status", "reason")
    rows = []
    spreads = [t.spread for t in search.tried if t.spread is not None]
    decimals = decimals_of((t.value for t in search.tried if t.value is not None), spreads)
    for t in [*ranked, *rest]:
        value = ""
        if t.value is not None:
            value = format_measurement(t.value, t.spread, "", None, decimals)[0]
        params = (shown_value(t.params.get(k)) for k in search.keys)
        reason = f"{t.reason} (log: {t.log})" if t.status == "failed" else ""
        rows.append((t.run, value, *params, t.status, reason))
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return columns, rows


def shown_value(value: Any) -> str:
    """The value of an option as people read it: four digits are enough."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
