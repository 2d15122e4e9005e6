"""Several runs side by side: one table, bars of their figures, curves in one picture.

A row of the comparison may stand for the same run with several seeds: its figures are then means,
with the standard deviation over the seeds (n - 1 in the denominator). With one seed a figure keeps
the interval that its evaluator gave it: what a test set of this size leaves open.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scratchlab.errors import UserError, suggest
from scratchlab.evaluation.contract import Measurement
from scratchlab.reporting.choosing import CHOOSES, choices
from scratchlab.reporting.comparison_figures import write_bars, write_curves, write_table_lines
from scratchlab.reporting.results import arithmetic, read_results
from scratchlab.reporting.scatter import Scatter, write_scatter
from scratchlab.reporting.tables import (
    ARROWS,
    csv_text,
    decimals_of,
    ends_of,
    format_measurement,
    markdown,
    meanings,
    title_of,
)
from scratchlab.run.atomic import write_json, write_text
from scratchlab.tracking.console import format_number

CSV_COLUMNS = (
    *("run", "metric", "unit", "better", "mean", "std", "n", "values", "reference"),
    *("spread", "low", "high", "spread_meaning", "compares"),
)

# Drawn only where a suite asks for them: beside accuracy and f1_macro they show little more.
SIBLINGS = ("precision_", "recall_", "f1_weighted")


@dataclass(frozen=True)
class Compared:
    """A row: the folders of its finished runs (one for each seed) and figures from elsewhere.

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


@dataclass(frozen=True)
class Score:
    """One metric of one row: its values over the seeds and what they mean."""

    values: tuple[float, ...]
    first: Measurement

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
            return f"± standard deviation of {len(self.values)} seeds, around their mean"
        return self.first.meaning if len(self.values) == 1 else ""


Scores = dict[str, Score]


class Shown(NamedTuple):
    """A table for the console, and what stands below it."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


@dataclass(frozen=True)
class Comparison:
    """What was written: tables for the console, and what is not there."""

    tables: list[Shown]
    missing: list[str]


def collect(row: Compared) -> Scores:
    """Every metric that all finished runs of a row have, and those of its further measurements."""
    scores = _scores(row.folders)
    for folders in row.more:
        for name, score in _scores(folders).items():
            if not score.timing or name not in scores:
                scores[name] = score
    return scores


def _scores(folders: Sequence[Path]) -> Scores:
    found: list[dict[str, Measurement]] = []
    for folder in folders:
        try:
            results = read_results(folder)
        except UserError:
            continue  # a run without evaluation (the first half of a pipeline)
        found.append({m.name: m for m in reversed(results)})
    names = [n for n in reversed(found[0]) if all(n in f for f in found)] if found else []
    return {
        name: Score(tuple(float(f[name].value) for f in found), found[0][name]) for name in names
    }


def write_comparison(
    folder: Path,
    title: str,
    rows: Sequence[Compared],
    *,
    metrics: Sequence[str] = (),
    curves: Sequence[str] = ("val/loss",),
    tables: Sequence[str] = (),
    scatter: Sequence[Scatter] = (),
) -> Comparison:
    """Write tables/comparison.{csv,md} (what was timed apart from the rest) and plots/*.png.

    ``metrics`` chooses and orders the columns (empty: all). Equal runs give equal files, except
    those of timed figures.
    """
    figures = [collect(row) for row in rows]
    shown = []
    for timed, name in ((False, "comparison"), (True, "comparison_timed")):
        known = list(dict.fromkeys(m for f in figures for m in f if f[m].timing == timed))
        chosen = [m for m in metrics if m in known] if metrics else known
        if timed and not chosen:
            chosen = [m for m in ("training_time", "peak_memory") if m in known]
        if timed and not chosen:
            continue
        columns, cells = _wide(rows, figures, chosen, notes=not timed)
        notes = _notes(rows, figures, chosen)
        if not timed:
            notes += [*_remarks(rows), *arithmetic({row.label: row.folders for row in rows})]
        write_text(folder / "tables" / f"{name}.md", markdown(columns, cells, notes))
        write_text(
            folder / "tables" / f"{name}.csv", csv_text(CSV_COLUMNS, _long(rows, figures, chosen))
        )
        shown.append(Shown(title if not timed else f"{title}: cost", columns, cells, notes))
        for metric in chosen if not timed else ():
            if metric.startswith(SIBLINGS) and metric not in metrics:
                continue  # of two classes ten pictures would look the same
            write_bars(folder, title, rows, figures, metric)
    if made := choices(rows):
        write_json(folder / "choices.json", {choice.name: choice.as_dict() for choice in made})
    missing = [line for name in curves if (line := write_curves(folder, title, rows, name))]
    drawn = [name for name in tables if write_table_lines(folder, title, rows, name)]
    missing += _missing(rows, figures, metrics, set(tables) - set(drawn))
    labels = [row.label for row in rows]
    for picture in scatter:
        missing += write_scatter(folder, title, labels, figures, picture)
    return Comparison(shown, missing)


def _missing(
    rows: Sequence[Compared],
    figures: Sequence[Scores],
    metrics: Sequence[str],
    tables: Iterable[str],
) -> list[str]:
    """Metrics, references and tables that a suite names and no run has (perhaps misspelled)."""
    known = {m for f in figures for m in f}
    if not known:
        return []
    measured = f"Measured were {', '.join(sorted(known))}."
    lines = [
        f"no run measured {m!r}. {suggest(m, known, 'Measured were')}"
        for m in metrics
        if m not in known
    ]
    for row, found in zip(rows, figures, strict=True):
        lines += [
            f"{row.label}: there is a reference for {m!r}, which was not measured. {measured}"
            for m in row.reference
            if found and m not in found
        ]
    return lines + [f"no run has a table of numbers {name!r}" for name in sorted(tables)]


def _notes(
    rows: Sequence[Compared], figures: Sequence[Scores], metrics: Sequence[str]
) -> list[str]:
    """What ± and [ ] mean, and which figures of a column must not be ranked."""
    said = [(m, f[m].meaning) for m in metrics for f in figures if m in f]
    lines: dict[str, list[str]] = {}
    for metric in metrics:
        apart = unlike(rows, figures, metric)
        if len(apart) > 1:
            listed = "; ".join(f"{', '.join(labels)}: {what}" for what, labels in apart.items())
            lines.setdefault(listed, []).append(title_of(metric))
    apart_lines = [f"not all rows compare in {', '.join(m)} ({h})" for h, m in lines.items()]
    return [*meanings(said), *apart_lines]


def _remarks(rows: Sequence[Compared]) -> list[str]:
    return list(dict.fromkeys(remark for row in rows for remark in row.remarks))


def unlike(
    rows: Sequence[Compared], figures: Sequence[Scores], metric: str
) -> dict[str, list[str]]:
    """The rows by what a metric counts in them: data, tokens, loss, settings."""
    found: dict[str, list[str]] = {}
    for row, scores in zip(rows, figures, strict=True):
        if metric in scores and scores[metric].first.compares:
            found.setdefault(scores[metric].first.compares, []).append(row.label)
    return found


def _wide(
    rows: Sequence[Compared], figures: Sequence[Scores], metrics: Sequence[str], notes: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """For people: a row for each run, a column for each metric, references beside their metric."""
    columns, cells = ["run"], [[row.label] for row in rows]
    for metric in metrics:
        scores = [f[metric] for f in figures if metric in f]
        given = [row.reference[metric] for row in rows if metric in row.reference]
        one, spreads = scores[0], [s.spread or 0.0 for s in scores]
        decimals = decimals_of([*(s.mean for s in scores), *given], spreads)
        if decimals == 0:  # whole numbers, but their intervals need not end at such
            decimals = decimals_of(end for s in scores for end in (s.mean, *(s.ends or ())))
        unit = "" if one.unit == "bytes" else f" ({one.unit})" if one.unit else ""
        columns.append(f"{title_of(metric)}{unit} {ARROWS[one.better]}".rstrip())
        for line, found in zip(cells, figures, strict=True):
            line.append(_cell(found[metric], one.unit, decimals) if metric in found else "")
        if given:
            columns.append(f"reference {title_of(metric)}")
            for line, row in zip(cells, rows, strict=True):
                known = row.reference.get(metric)
                shown = ("", "")
                if known is not None:
                    shown = format_measurement(known, None, one.unit, None, decimals)
                line.append(shown[0])
    if made := choices(rows):
        columns += [f"least {CHOOSES} {ARROWS['lower']}", "chosen by it"]
        for line, row in zip(cells, rows, strict=True):
            choice = next((c for c in made if c.name == row.choice), None)
            value = choice.tried[row.label] if choice else None
            line.append("" if value is None else format_number(value))
            line.append("yes" if choice and choice.chosen == row.label else "")
    if any(len(row.folders) > 1 for row in rows):
        columns.append("seeds")
        for line, row in zip(cells, rows, strict=True):
            line.append(str(len(row.folders)))
    if notes and any(row.note for row in rows):
        columns.append("missing")
        for line, row in zip(cells, rows, strict=True):
            line.append(row.note)
    return tuple(columns), [tuple(line) for line in cells]


def _cell(one: Score, heading: str, decimals: int | None) -> str:
    """The value; with its unit where that is another than the heading's."""
    value, unit = format_measurement(one.mean, one.spread, one.unit, one.ends, decimals)
    return f"{value} {unit}".strip() if one.unit == "bytes" or one.unit != heading else value


def _long(
    rows: Sequence[Compared], figures: Sequence[Scores], metrics: Sequence[str]
) -> Iterable[list[Any]]:
    """For programs: a line for each figure, nothing rounded."""
    for row, found in zip(rows, figures, strict=True):
        for metric in metrics:
            one, given = found.get(metric), row.reference.get(metric)
            if one is None:
                continue
            yield [
                row.label,
                metric,
                one.unit,
                one.better,
                one.mean,
                one.std,
                len(one.values),
                " ".join(repr(v) for v in one.values),
                given,
                one.spread,
                *(one.ends or (None, None)),
                one.meaning,
                one.first.compares,
            ]
