"""The pictures of a comparison: bars of a figure, curves of a metric, lines of a table, and one
metric against another."""

from __future__ import annotations

import contextlib
import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.errors import suggest
from scratchlab.evaluation.comparable import expected, parts_of
from scratchlab.figures.bars import Bar, bars_figure
from scratchlab.figures.lines import Line, lines_with_bands
from scratchlab.figures.scatter import Point, ScatterAxis, scatter_figure
from scratchlab.figures.style import png
from scratchlab.formatting import ARROWS, BYTE_UNITS, format_measurement, format_number, title_of
from scratchlab.reporting.plots import LOSS_LABEL, LOWER_IS_BETTER, STEP_LABEL
from scratchlab.reporting.scores import Compared, Score, Scores, bounds, within_bounds
from scratchlab.run.atomic import write_bytes
from scratchlab.run.folder import read_config
from scratchlab.tracking.jsonl import METRICS, counts_epochs, curve, read_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What estimators and networks of one task log alike.
IN_COMMON = ("val/rmse", "val/accuracy", "val/bleu", "val/chrf", "val/perplexity")


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
    lines: dict[str, Line] = {}
    by_epoch = True
    metric = name.removeprefix("val/").removeprefix("train/")
    for place, row in enumerate(rows):
        entries = [read_lines(f / METRICS) for f in row.folders]
        found = [dict(zip(*curve(e, name), strict=True)) for e in entries]
        found = [f for f in found if f]
        steps = sorted(set.intersection(*(set(f) for f in found))) if found else []
        if len(steps) > 1:  # one point is a number for the table, and no curve
            values = [[f[s] for f in found] for s in steps]
            lines[row.label] = line_over(steps, values, place, metric)
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


def line_over(x: Sequence[Any], values: Sequence[Sequence[float]], place: int, metric: str) -> Line:
    """Means and deviations of ``metric`` at each x, the band within what its values lie between."""
    means, band = [statistics.fmean(v) for v in values], None
    if min(len(v) for v in values) > 1:
        lowest, highest = bounds(metric)
        if min(map(min, values)) < lowest or max(map(max, values)) > highest:
            lowest, highest = -math.inf, math.inf  # it is something else, or in other units
        spreads = zip(means, map(statistics.stdev, values), strict=True)
        band = [(max(lowest, m - s), min(highest, m + s)) for m, s in spreads]
    return Line(x, means, band, place)


def write_table_lines(folder: Path, title: str, rows: Sequence[Compared], name: str) -> bool:
    """The last column of a table that every run has, over its first column."""
    lines: dict[str, Line] = {}
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
            lines[row.label] = line_over(steps, columns, place, labels[1])
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


@dataclass(frozen=True)
class Scatter:
    """What a suite asks for: metrics ``x`` and ``y``, axes in powers of ten (``x``, ``y``), and
    the labels of rows that have no ``x`` to speak of, drawn as level ``lines``."""

    name: str
    x: str
    y: str
    log: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def write_scatter(
    folder: Path,
    title: str,
    labels: Sequence[str],
    figures: Sequence[Scores],
    picture: Scatter,
) -> list[str]:
    """plots/scatter_NAME.png, and what of it cannot be drawn."""
    known = {m for f in figures for m in f}
    where = f"scatter {picture.name}: "
    unknown = [m for m in (picture.x, picture.y) if m not in known]
    if unknown or not known:
        return [
            f"{where}no run measured {m!r}. {suggest(m, known, 'Measured were')}"
            for m in unknown
            if known
        ]
    points: list[Point] = []
    lines: list[Point] = []
    left_out: list[str] = []
    for label, found in zip(labels, figures, strict=True):
        level = label in picture.lines
        x, y = found.get(picture.x), found.get(picture.y)
        if y is None or (x is None and not level):
            continue
        point = Point(label, 0.0 if level or x is None else x.mean, y.mean, within_bounds(y, y.std))
        place = {"x": 1.0 if level else point.x, "y": point.y}
        if any(place[a] <= 0 for a in picture.log) or not math.isfinite(point.x + point.y):
            left_out.append(
                f"{where}{label} has no place ({picture.x} {format_number(point.x)}, "
                f"{picture.y} {format_number(point.y)})"
            )
        else:
            (lines if level else points).append(point)
    if not points:
        return left_out
    across, upwards = (
        next(ScatterAxis(m, f[m].unit, f[m].better) for f in figures if m in f)
        for m in (picture.x, picture.y)
    )
    heading = f"{title}: {title_of(picture.y)} and {title_of(picture.x)}"
    figure = scatter_figure(points, across, upwards, heading, log=picture.log, lines=lines)
    write_bytes(folder / "plots" / f"scatter_{picture.name}.png", png(figure))
    return left_out
