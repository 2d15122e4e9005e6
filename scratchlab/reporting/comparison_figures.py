"""The pictures of a comparison: bars of a figure, curves of a metric, lines of a table."""

from __future__ import annotations

import contextlib
import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.evaluation.comparable import expected, parts_of
from scratchlab.figures.style import (
    colour,
    dash,
    head,
    legend_beside,
    name_ticks,
    new_figure,
    png,
    style,
)
from scratchlab.reporting.plots import (
    LOSS_LABEL,
    LOWER_IS_BETTER,
    STEP_LABEL,
    Bar,
    bars_figure,
    counts_epochs,
    curve,
)
from scratchlab.reporting.tables import (
    ARROWS,
    BYTE_UNITS,
    format_measurement,
    title_of,
)
from scratchlab.run.atomic import write_bytes
from scratchlab.run.folder import read_config
from scratchlab.tracking.jsonl import METRICS, read_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scratchlab.reporting.comparison import Compared, Score, Scores

# What estimators and networks of one task log alike.
IN_COMMON = ("val/rmse", "val/accuracy", "val/bleu", "val/chrf", "val/perplexity")
SHARES = ("accuracy", "precision_", "recall_", "f1_", "roc_auc", "member_accuracy", "neighbours_")


def write_bars(
    folder: Path,
    title: str,
    rows: Sequence[Compared],
    figures: Sequence[Scores],
    metric: str,
) -> None:
    """One picture of a metric over the runs, with references as marks; one bar shows nothing."""
    pairs = [(r, f[metric]) for r, f in zip(rows, figures, strict=True) if metric in f]
    pairs = [(r, one) for r, one in pairs if math.isfinite(one.mean)]
    kinds = {(one.unit, parts_of(one.first.compares)[1]) for _, one in pairs}
    if len(pairs) < 2 or len(kinds) > 1:
        return  # nothing to compare, or nothing that compares
    one = pairs[0][1]
    unit, scale = one.unit, 1.0
    if unit == "bytes":
        largest = max(o.mean for _, o in pairs)
        unit = format_measurement(largest, None, unit)[1]
        scale = 1024.0 ** BYTE_UNITS.index(unit)
    heading = f"{title_of(metric)}{f' ({unit})' if unit else ''} {ARROWS[one.better]}".strip()
    said = "; ".join(dict.fromkeys(o.meaning.lstrip("±[] ") for _, o in pairs if o.meaning))
    figure = bars_figure(
        [_bar(row, one, metric, scale) for row, one in pairs],
        heading,
        f"{title}: {title_of(metric)}",
        f"whiskers: {said}" if said else "",
    )
    write_bytes(folder / "plots" / f"bars_{metric}.png", png(figure))


def _bar(row: Compared, one: Score, metric: str, scale: float) -> Bar:
    """A value with the ends of what it leaves open: never outside of what the score can be."""
    ends, given = one.ends, row.reference.get(metric)
    if ends is None and (sides := within_bounds(one, one.spread)):
        ends = one.mean - sides[0], one.mean + sides[1]
    low, high = (None, None) if ends is None else (ends[0] / scale, ends[1] / scale)
    return Bar(row.label, one.mean / scale, low, high, None if given is None else given / scale)


def within_bounds(one: Score, spread: float | None) -> tuple[float, float] | None:
    """How far ``spread`` reaches below and above a mean without leaving what the score can be."""
    if not spread:
        return None
    lowest, highest = bounds_of(one)
    return min(spread, one.mean - lowest), min(spread, highest - one.mean)


def bounds_of(one: Score) -> tuple[float, float]:
    """What the values of a metric lie between."""
    return (0.0, 100.0) if one.unit == "%" else _bounds(one.first.name)


def _bounds(metric: str) -> tuple[float, float]:
    if metric.startswith(SHARES):
        return 0.0, 1.0
    return (-math.inf, math.inf) if metric == "r2" else (0.0, math.inf)


def write_curves(folder: Path, title: str, rows: Sequence[Compared], name: str) -> str:
    """One picture of a metric over the updates, where any run has more than one point.

    Where it counts different things in the rows (losses of unlike models), a figure that all have
    in common is drawn in its place. Returns what is not drawn as asked, and why; else "".
    """
    said, taken = "", name
    apart = _unlike_curves(rows, name)
    if len(apart) > 1:
        listed = "; ".join(f"{', '.join(labels)}: {what}" for what, labels in apart.items())
        taken = next((n for n in IN_COMMON if len(_unlike_curves(rows, n)) == 1), "")
        instead = f"{taken} is drawn" if taken else "set curves: [val/NAME] to what all measure"
        said = f"curves of {name} would show different things ({listed}): {instead}"
    figure = curves_figure(title, rows, taken) if taken else None
    if figure is not None:
        write_bytes(folder / "plots" / f"curves_{taken.replace('/', '_')}.png", png(figure))
    return said


def _unlike_curves(rows: Sequence[Compared], name: str) -> dict[str, list[str]]:
    """The rows by what a logged metric counts in them, as their configurations say; a key of its
    own for rows that were trained and do not log it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for folder in row.folders[:1]:
            if not (folder / METRICS).is_file() or not (folder / "config.yaml").is_file():
                continue
            metric = expected(read_config(folder / "config.yaml"))[0].get(name)
            how = parts_of(metric.like)[1] if metric else "not measured"
            found.setdefault(how, []).append(row.label)
    return found


def curves_figure(title: str, rows: Sequence[Compared], name: str) -> Figure | None:
    """A metric over the updates, a line for each run; over seeds the mean and a band around it."""
    lines: dict[str, _Line] = {}
    by_epoch = True
    metric = name.removeprefix("val/").removeprefix("train/")
    for place, row in enumerate(rows):
        entries = [read_lines(f / METRICS) for f in row.folders]
        found = [dict(zip(*curve(e, name), strict=True)) for e in entries]
        found = [f for f in found if f]
        steps = sorted(set.intersection(*(set(f) for f in found))) if found else []
        if len(steps) > 1:  # one point is a number for the table, and no curve
            values = [[f[s] for f in found] for s in steps]
            lines[row.label] = _Line.over(steps, values, place, metric)
            by_epoch = by_epoch and all(map(counts_epochs, entries))
    if not lines:
        return None
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
    """Points of a line, and the ends of a band around each where there are several seeds.

    ``place`` is that of its row, which has one colour in all pictures.
    """

    x: Sequence[Any]
    y: Sequence[float]
    band: Sequence[tuple[float, float]] | None
    place: int

    @classmethod
    def over(
        cls, x: Sequence[Any], values: Sequence[Sequence[float]], place: int, metric: str
    ) -> _Line:
        """Means and deviations of ``metric``, the band within what its values lie between."""
        means, band = [statistics.fmean(v) for v in values], None
        if min(len(v) for v in values) > 1:
            lowest, highest = _bounds(metric)
            if min(map(min, values)) < lowest or max(map(max, values)) > highest:
                lowest, highest = -math.inf, math.inf  # it is something else, or in other units
            spreads = zip(means, map(statistics.stdev, values), strict=True)
            band = [(max(lowest, m - s), min(highest, m + s)) for m, s in spreads]
        return cls(x, means, band, place)


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
        if line.band is not None:
            low, high = zip(*line.band, strict=True)
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
    else:
        name_ticks(axis, list(dict.fromkeys(x for line in lines.values() for x in line.x)))
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    head(figure, title)
    if len(lines) <= 4 and sum(map(len, lines)) + 8 * len(lines) <= 90:
        figure.legend(loc="outside lower center", ncols=len(lines))
    else:
        legend_beside(axis)
    return figure


def write_table_lines(folder: Path, title: str, rows: Sequence[Compared], name: str) -> bool:
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
            columns = [[f[x] for f in found] for x in steps]
            lines[row.label] = _Line.over(steps, columns, place, labels[1])
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
