"""Several runs side by side: one table, bars of their figures, curves in one picture.

A row of the comparison may stand for the same run with several seeds or on several folds: its
figures are then means, with the standard deviation over them (n - 1 in the denominator). Of a
single run a figure keeps the interval that its evaluator gave it: what a test set of this size
leaves open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from scratchlab.errors import suggest
from scratchlab.formatting import (
    ARROWS,
    decimals_of,
    format_measurement,
    format_number,
    title_of,
)
from scratchlab.reporting.choosing import CHOOSES, choices
from scratchlab.reporting.comparison_pictures import (
    Scatter,
    write_bars,
    write_curves,
    write_scatter,
    write_table_lines,
)
from scratchlab.reporting.results import arithmetic
from scratchlab.reporting.scores import Compared, Score, Scores, collect
from scratchlab.reporting.tables import csv_text, markdown, meanings
from scratchlab.run.atomic import write_json, write_text

CSV_COLUMNS = (
    *("run", "metric", "unit", "better", "mean", "std", "n", "values", "reference"),
    *("spread", "low", "high", "spread_meaning", "compares"),
)

# Drawn only where a suite asks for them: beside accuracy and f1_macro they show little more.
SIBLINGS = ("precision_", "recall_", "f1_weighted")


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
        over = {row.over for row in rows}
        columns.append(over.pop() if len(over) == 1 else "runs")
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
