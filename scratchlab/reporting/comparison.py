"""Several runs side by side: one table, bars of their figures, curves in one picture.

A row of the comparison may stand for the same run with several seeds: its figures are then means,
with the standard deviation over the seeds (n - 1 in the denominator). With one seed a figure keeps
the spread that its evaluator gave it: what a test set of this size leaves open.
"""

from __future__ import annotations

import contextlib
import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.errors import UserError, suggest
from scratchlab.evaluation.contract import Measurement
from scratchlab.figure_style import colour, dash, new_figure, png, style
from scratchlab.reporting.plots import (
    BAR_HEIGHT,
    LOSS_LABEL,
    LOWER_IS_BETTER,
    STEP_LABEL,
    Bar,
    bars_figure,
    counts_epochs,
    curve,
)
from scratchlab.reporting.results import read_results
from scratchlab.reporting.scatter import Scatter, write_scatter
from scratchlab.reporting.tables import (
    ARROWS,
    BYTE_UNITS,
    csv_text,
    format_measurement,
    markdown,
    title_of,
)
from scratchlab.run.atomic import write_bytes, write_text
from scratchlab.tracking.console import format_number
from scratchlab.tracking.jsonl import METRICS, read_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSV_COLUMNS = (
    *("run", "metric", "unit", "better", "mean", "std", "n", "values", "reference"),
    *("spread", "spread_meaning"),
)


@dataclass(frozen=True)
class Compared:
    """A row: the folders of its finished runs (one for each seed) and figures from elsewhere.

    ``note`` says what is missing (runs that failed). ``more`` holds further measurements of the
    same row, each a list of folders: where they measured what the row's own runs have as well,
    theirs is shown (what training cost stays the runs' own).
    """

    label: str
    folders: Sequence[Path]
    reference: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    more: Sequence[Sequence[Path]] = ()


@dataclass(frozen=True)
class Score:
    """One metric of one row: its values over the seeds and what they mean."""

    values: tuple[float, ...]
    unit: str
    better: str
    timing: bool
    of_one: float | None = None  # the spread within a single run …
    of_one_meaning: str = ""  # … and what it is

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def spread(self) -> float | None:
        """What stands behind ±."""
        return self.of_one if self.std is None else self.std

    @property
    def spread_meaning(self) -> str:
        if self.std is not None:
            return f"mean ± standard deviation of {len(self.values)} seeds"
        return f"± {self.of_one_meaning}" if self.of_one is not None else ""


Scores = dict[str, Score]


@dataclass(frozen=True)
class Comparison:
    """What was written: tables for the console (title, columns, rows), and what is not there."""

    tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]
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
        name: Score(
            tuple(f[name].value for f in found),
            found[0][name].unit,
            found[0][name].better,
            found[0][name].timing,
            found[0][name].spread,
            str(found[0][name].settings.get("spread", "spread within the run")),
        )
        for name in names
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
        write_text(folder / "tables" / f"{name}.md", markdown(columns, cells))
        write_text(
            folder / "tables" / f"{name}.csv", csv_text(CSV_COLUMNS, _long(rows, figures, chosen))
        )
        shown.append((title if not timed else f"{title}: cost", columns, cells))
        for metric in chosen if not timed else ():
            _write_bars(folder, title, rows, figures, metric)
    for name in curves:
        _write_curves(folder, title, rows, name)
    drawn = [name for name in tables if _write_table_lines(folder, title, rows, name)]
    missing = _missing(rows, figures, metrics, set(tables) - set(drawn))
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


def _wide(
    rows: Sequence[Compared], figures: Sequence[Scores], metrics: Sequence[str], notes: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """For people: a row for each run, a column for each metric, references beside their metric."""
    columns, cells = ["run"], [[row.label] for row in rows]
    for metric in metrics:
        one = next(f[metric] for f in figures if metric in f)
        unit = "" if one.unit == "bytes" else f" ({one.unit})" if one.unit else ""
        columns.append(f"{title_of(metric)}{unit} {ARROWS[one.better]}".rstrip())
        for line, found in zip(cells, figures, strict=True):
            line.append(_cell(found[metric], one.unit) if metric in found else "")
        if any(metric in row.reference for row in rows):
            columns.append(f"reference {title_of(metric)}")
            for line, row in zip(cells, rows, strict=True):
                given = row.reference.get(metric)
                line.append("" if given is None else format_number(given))
    if any(len(row.folders) > 1 for row in rows):
        columns.append("seeds")
        for line, row in zip(cells, rows, strict=True):
            line.append(str(len(row.folders)))
    if notes and any(row.note for row in rows):
        columns.append("missing")
        for line, row in zip(cells, rows, strict=True):
            line.append(row.note)
    return tuple(columns), [tuple(line) for line in cells]


def _cell(one: Score, heading: str) -> str:
    """The value; with its unit where that is another than the heading's."""
    value, unit = format_measurement(one.mean, one.spread, one.unit)
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
                one.spread_meaning,
            ]


def _write_bars(
    folder: Path,
    title: str,
    rows: Sequence[Compared],
    figures: Sequence[Scores],
    metric: str,
) -> None:
    """One picture of a metric over the runs, with references as marks; one bar shows nothing."""
    pairs = [(r, f[metric]) for r, f in zip(rows, figures, strict=True) if metric in f]
    pairs = [(r, one) for r, one in pairs if math.isfinite(one.mean)]
    if len(pairs) < 2 or len({one.unit for _, one in pairs}) > 1:
        return  # nothing to compare, or nothing that compares
    one = pairs[0][1]
    unit, scale = one.unit, 1.0
    if unit == "bytes":
        largest = max(o.mean for _, o in pairs)
        unit = format_measurement(largest, None, unit)[1]
        scale = 1024.0 ** BYTE_UNITS.index(unit)
    heading = f"{title_of(metric)}{f' ({unit})' if unit else ''} {ARROWS[one.better]}".strip()
    meanings = dict.fromkeys(o.spread_meaning for _, o in pairs if o.spread_meaning)
    spread = f"\n{'; '.join(meanings)}" if meanings else ""
    figure = bars_figure(
        [Bar(r.label, o.mean / scale, o.spread and o.spread / scale) for r, o in pairs],
        heading + spread,
        f"{title}: {title_of(metric)}",
    )
    given = [row.reference.get(metric) for row, _ in pairs]
    _mark_references(figure, [None if g is None else g / scale for g in given])
    write_bytes(folder / "plots" / f"bars_{metric}.png", png(figure))


@style()
def _mark_references(figure: Figure, references: Sequence[float | None]) -> None:
    # On the lower edge of its bar: the number written beside the bar stays free.
    edge = BAR_HEIGHT / 2
    points = [(value, place + edge) for place, value in enumerate(references) if value is not None]
    if not points:
        return
    axis = figure.axes[0]
    x, y = zip(*points, strict=True)
    axis.plot(x, y, "D", color=colour(1), markersize=6, linestyle="none", label="reference")
    figure.legend(loc="outside upper right")


def _write_curves(folder: Path, title: str, rows: Sequence[Compared], name: str) -> None:
    if (figure := curves_figure(title, rows, name)) is not None:
        write_bytes(folder / "plots" / f"curves_{name.replace('/', '_')}.png", png(figure))


def curves_figure(title: str, rows: Sequence[Compared], name: str) -> Figure | None:
    """A metric over the updates, a line for each run; over seeds the mean and a band around it."""
    lines: dict[str, _Line] = {}
    by_epoch = True
    for place, row in enumerate(rows):
        entries = [read_lines(f / METRICS) for f in row.folders]
        found = [dict(zip(*curve(e, name), strict=True)) for e in entries]
        found = [f for f in found if f]
        steps = sorted(set.intersection(*(set(f) for f in found))) if found else []
        if len(steps) > 1:  # one point is a number for the table, and no curve
            lines[row.label] = _Line.over(steps, [[f[s] for f in found] for s in steps], place)
            by_epoch = by_epoch and all(map(counts_epochs, entries))
    if not lines:
        return None
    metric = name.removeprefix("val/").removeprefix("train/")
    where = {"val": " on the validation split", "train": " in training"}.get(name.split("/")[0], "")
    better = "lower" if any(word in metric for word in LOWER_IS_BETTER) else "higher"
    what = LOSS_LABEL if metric == "loss" and not by_epoch else title_of(metric)
    return lines_with_bands(
        lines,
        "epochs" if by_epoch else STEP_LABEL,
        f"{what} {ARROWS[better]}",
        f"{title}: {title_of(metric)}{where}",
    )


@dataclass(frozen=True)
class _Line:
    """Points of a line; ``place`` is that of its row, which has one colour in all pictures."""

    x: Sequence[Any]
    y: Sequence[float]
    spread: Sequence[float] | None
    place: int

    @classmethod
    def over(cls, x: Sequence[Any], values: Sequence[Sequence[float]], place: int) -> _Line:
        several = min(len(v) for v in values) > 1
        return cls(
            x,
            [statistics.fmean(v) for v in values],
            [statistics.stdev(v) for v in values] if several else None,
            place,
        )


@style()
def lines_with_bands(lines: Mapping[str, _Line], x_label: str, y_label: str, title: str) -> Figure:
    """Lines of several runs; a band of one standard deviation where there are several seeds."""
    from matplotlib.ticker import MaxNLocator

    figure, ((axis,),) = new_figure(height=420)
    for label, line in lines.items():
        index = line.place
        few = {"marker": "o", "markersize": 4} if len(line.x) <= 40 else {}
        shown = label.replace("$", r"\$")
        axis.plot(line.x, line.y, color=colour(index), linestyle=dash(index), label=shown, **few)
        if line.spread is not None:
            low = [y - s for y, s in zip(line.y, line.spread, strict=True)]
            high = [y + s for y, s in zip(line.y, line.spread, strict=True)]
            axis.fill_between(line.x, low, high, color=colour(index), alpha=0.18, linewidth=0)
    values = [y for line in lines.values() for y in line.y]
    if min(values) > 0 and max(values) > 50 * min(values):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter("")
    if all(isinstance(x, int | float) for line in lines.values() for x in line.x):
        axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.set_xlim(left=0)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.set_title(title)
    if len(lines) <= 4 and sum(map(len, lines)) <= 80:
        figure.legend(loc="outside lower center", ncols=len(lines))
    else:
        figure.legend(loc="outside right upper")
    return figure


def _write_table_lines(folder: Path, title: str, rows: Sequence[Compared], name: str) -> bool:
    """The last column of a table that every run has, over its first column."""
    lines: dict[str, _Line] = {}
    labels = ("", "")
    for place, row in enumerate(rows):
        found: list[dict[str, float]] = []
        for runs in (row.folders, *row.more):
            paths = [run / "tables" / f"{name}.csv" for run in runs]
            read = [_first_and_last(path) for path in paths if path.is_file()]
            if read:
                labels, found = read[0][0], [values for _, values in read]
        steps = [x for x in found[0] if all(x in f for f in found)] if found else []
        if steps:
            lines[row.label] = _Line.over(steps, [[f[x] for f in found] for x in steps], place)
    if lines:
        figure = lines_with_bands(lines, *labels, f"{title}: {name.replace('_', ' ')}")
        write_bytes(folder / "plots" / f"{name}.png", png(figure))
    return bool(lines)


def _first_and_last(path: Path) -> tuple[tuple[str, str], dict[str, float]]:
    """Headings and values of the outer columns; lines whose last cell is no number are left out."""
    values: dict[str, float] = {}
    with path.open(encoding="utf-8", newline="") as file:
        columns, *rows = [row for row in csv.reader(file) if row] or [[""]]
        for row in rows:
            with contextlib.suppress(ValueError):
                values[row[0]] = float(row[-1])
    return (columns[0], columns[-1]), values
