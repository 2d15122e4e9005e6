"""A search over options as tables and pictures: what was tried, how well each point did."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.figures.style import (
    SEQUENTIAL,
    colour,
    head,
    label_text,
    legend_above,
    name_ticks,
    new_figure,
    png,
    style,
)
from scratchlab.reporting.plots import Bar, bars_figure
from scratchlab.reporting.scatter import plain_numbers
from scratchlab.reporting.tables import (
    ARROWS,
    csv_text,
    decimals_of,
    format_measurement,
    markdown,
    title_of,
)
from scratchlab.run.atomic import write_bytes, write_text
from scratchlab.tracking.console import format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEST = "#D55E00"
ROOM = 80  # characters beside each other in a picture
MARKS = 14  # of a lane that do not touch


@dataclass(frozen=True)
class Tried:
    """One point: the name of its run, its options, its value, how it ended and why."""

    run: str
    params: Mapping[str, Any]
    value: float | None
    status: str
    reason: str = ""
    log: str = ""
    seconds: float = 0.0


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
        return sorted(good, key=lambda t: _number(t) if self.better == "lower" else -_number(t))


def _number(point: Tried) -> float:
    assert point.value is not None
    return point.value


def write_search(folder: Path, search: Search) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Write tables/trials.{csv,md} and plots/*.png; returns the table for the console."""
    columns, rows = search_table(search)
    write_text(folder / "tables" / "trials.md", markdown(columns, rows, search.notes))
    exact = [
        [t.run, t.status, t.value, *(t.params.get(k) for k in search.keys), t.reason, t.log]
        for t in search.tried
    ]
    names = ("trial", "status", search.metric, *search.keys, "reason", "log")
    write_text(folder / "tables" / "trials.csv", csv_text(names, exact))
    for name, figure in search_figures(search).items():
        write_bytes(folder / "plots" / f"{name}.png", png(figure))
    return columns, rows


def search_table(search: Search) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """For people: the best first, then what was pruned, failed or is still to be run."""
    ranked = search.ranked()
    rest = [t for t in search.tried if t not in ranked]
    columns = ("trial", search.label, *search.keys, "status", "reason")
    rows = []
    decimals = decimals_of(t.value for t in search.tried if t.value is not None)
    for t in [*ranked, *rest]:
        value = "" if t.value is None else format_measurement(t.value, None, "", None, decimals)[0]
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


def search_figures(search: Search) -> dict[str, Figure]:
    """The pictures that there is something to show in."""
    ranked = search.ranked()
    figures: dict[str, Figure] = {}
    if len(ranked) < 2:
        return figures
    figures["history"] = history_figure(search)
    if len(search.keys) > 1:
        figures["parallel_coordinates"] = parallel_figure(search)
    shares = search.importance
    if shares and len(shares) > 1:
        bars = [Bar(k, v) for k, v in sorted(shares.items(), key=lambda item: -item[1])]
        figures["importance"] = bars_figure(
            bars,
            f"share in the differences of {title_of(search.metric)} ({len(ranked)} trials)",
            f"{search.title}: importance of each option (fANOVA)",
        )
    if len(search.keys) == 2:
        listed = all(k in search.listed for k in search.keys)
        name = "heat_map" if listed else "map"
        figures[name] = heat_map(search) if listed else map_figure(search)
    return figures


@style()
def history_figure(search: Search) -> Figure:
    """The value of every trial in the order in which they began, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    figure, ((axis,),) = new_figure(height=380)
    places = {t.run: number for number, t in enumerate(search.tried, 1)}
    done = [t for t in search.tried if t.status == "done" and t.value is not None]
    pruned = [t for t in search.tried if t.status == "pruned" and t.value is not None]
    lost = [t for t in search.tried if t.status == "failed"]
    axis.plot(
        [places[t.run] for t in done],
        [_number(t) for t in done],
        "o",
        color=colour(0),
        markersize=5,
        label="done",
    )
    choose = min if search.better == "lower" else max
    best = [choose(_number(t) for t in done[: i + 1]) for i in range(len(done))]
    steps = [*(places[t.run] for t in done), len(search.tried)]
    axis.step(steps, [*best, best[-1]], where="post", color=BEST, label="best so far")
    if pruned:
        axis.plot(
            [places[t.run] for t in pruned],
            [_number(t) for t in pruned],
            "v",
            color="#777777",
            markerfacecolor="none",
            markersize=6,
            label="pruned (last validation)",
        )
    if lost:
        axis.plot(
            [places[t.run] for t in lost],
            [0.02] * len(lost),
            "x",
            color="#000000",
            transform=axis.get_xaxis_transform(),
            label="failed",
        )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    values = [_number(t) for t in [*done, *pruned]]
    if min(values) > 0 and max(values) > 20 * min(values):
        _log_axis(axis, "y")
    axis.set_xlabel("trial, in the order in which they began")
    axis.set_ylabel(search.label)
    head(figure, f"{search.title}: trials")
    legend_above(axis)
    return figure


@style()
def parallel_figure(search: Search) -> Figure:
    """A line for each trial through its options to its value: dark is good, orange the best."""
    import matplotlib
    from matplotlib.colors import Normalize

    figure, ((axis,),) = new_figure(height=420)
    ranked = search.ranked()
    scales = [_Scale.of(search, key) for key in search.keys]
    values = [_number(t) for t in ranked]
    value_scale = _Scale.numbers(values, min(values) > 0 and max(values) > 20 * min(values))
    lanes = [*scales, value_scale]
    ranks = Normalize(0, max(1, len(ranked) - 1))
    colours = matplotlib.colormaps[SEQUENTIAL]
    for rank, t in reversed(list(enumerate(ranked))):
        heights = [s.place(t.params.get(k)) for s, k in zip(scales, search.keys, strict=True)]
        heights.append(value_scale.place(t.value))
        shade = BEST if rank == 0 else colours(0.25 + 0.7 * (1 - ranks(rank)))
        width = 2.2 if rank == 0 else 1.1
        axis.plot(range(len(lanes)), heights, color=shade, linewidth=width, zorder=2)
    axis.set_xlim(-0.3, len(lanes) - 0.55)
    axis.set_ylim(-0.06, 1.06)
    room = ROOM // len(lanes)
    axis.set_xticks(range(len(lanes)), [_broken(k, room) for k in (*search.keys, search.label)])
    axis.set_yticks([])
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)
    for lane, scale in enumerate(lanes):
        axis.axvline(lane, color="#999999", linewidth=0.8, zorder=1)
        for height, text in scale.ticks[:: math.ceil(len(scale.ticks) / MARKS)]:
            axis.annotate(
                label_text(text, room),
                (lane, height),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
                zorder=3,
            )
    head(figure, f"{search.title}: {len(ranked)} trials (darker is better, orange the best)")
    return figure


@style()
def heat_map(search: Search) -> Figure:
    """The value of every combination of two lists; the best framed, what is missing crossed."""
    import matplotlib
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    across, down = search.keys[1], search.keys[0]
    columns = _values(search, across)
    lines = _values(search, down)
    figure, ((axis,),) = new_figure(height=150 + 52 * len(lines))
    found = {(shown_value(t.params[down]), shown_value(t.params[across])): t for t in search.tried}
    ranked = search.ranked()
    numbers = [_number(t) for t in ranked]
    low, high = min(numbers), max(numbers)
    # Dark is good, whatever the direction.
    scale = Normalize(low, high if high > low else low + 1)
    colours: Any = matplotlib.colormaps[SEQUENTIAL + ("_r" if search.better == "lower" else "")]
    size = max(4.5, min(9.0, 62 / len(columns)))  # points
    for y, line in enumerate(lines):
        for x, column in enumerate(columns):
            t = found.get((shown_value(line), shown_value(column)))
            if t is not None and t in ranked:
                face = colours(0.12 + 0.76 * float(scale(_number(t))))
                text, dark = format_number(_number(t)), sum(face[:3]) < 1.6
            else:
                face, text, dark = (0.95, 0.95, 0.95, 1.0), t.status if t else "×", False
            axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="white"))
            ink = "white" if dark else "#222222"
            axis.text(x, y, text, ha="center", va="center", color=ink, fontsize=size)
    best = ranked[0]
    x = [shown_value(c) for c in columns].index(shown_value(best.params[across]))
    y = [shown_value(c) for c in lines].index(shown_value(best.params[down]))
    axis.add_patch(
        Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor=BEST, linewidth=2.4)
    )
    axis.set_xlim(-0.5, len(columns) - 0.5)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    name_ticks(axis, [shown_value(c) for c in columns])
    axis.set_yticks(range(len(lines)), [label_text(shown_value(c), 24) for c in lines])
    axis.grid(visible=False)
    axis.set_xlabel(across)
    axis.set_ylabel(_broken(down, 20))
    head(figure, f"{search.title}: {search.label} (the best framed)")
    return figure


@style()
def map_figure(search: Search) -> Figure:
    """Trials as points over two options, coloured by their value."""
    figure, ((axis,),) = new_figure(height=440)
    ranked = search.ranked()
    pruned = [t for t in search.tried if t.status == "pruned"]
    x_key, y_key = search.keys
    colours = SEQUENTIAL + ("_r" if search.better == "lower" else "")
    places = {t.run: [0.0, 0.0] for t in search.tried}
    for index, (key, name) in enumerate(((x_key, "x"), (y_key, "y"))):
        values = _values(search, key)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        labels = [shown_value(v) for v in values]
        for t in search.tried:
            value = t.params[key]
            places[t.run][index] = value if numbers else labels.index(shown_value(value))
        if key in search.logarithmic:
            getattr(axis, f"set_{name}scale")("log")
        elif not numbers:
            if name == "x":
                name_ticks(axis, labels)
            else:
                axis.set_yticks(range(len(labels)), [label_text(label, 24) for label in labels])
    if pruned:
        x, y = zip(*(places[t.run] for t in pruned), strict=True)
        axis.plot(x, y, "v", color="#777777", markerfacecolor="none", label="pruned")
    x, y = zip(*(places[t.run] for t in ranked), strict=True)
    points = axis.scatter(
        x,
        y,
        c=[_number(t) for t in ranked],
        cmap=colours,
        edgecolors="#555555",
        linewidths=0.6,
        s=46,
        zorder=3,
    )
    axis.plot(
        x[0],
        y[0],
        "o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor=BEST,
        markeredgewidth=2,
        label=f"best: {format_number(_number(ranked[0]))}",
        linestyle="none",
        zorder=4,
    )
    figure.colorbar(points, ax=axis, label=search.label)
    axis.margins(0.07)
    for key, scale in ((x_key, axis.xaxis), (y_key, axis.yaxis)):
        if key in search.logarithmic:
            plain_numbers(scale, log=True)
    axis.set_xlabel(x_key)
    axis.set_ylabel(_broken(y_key, 20))
    head(figure, f"{search.title}: {len(ranked)} trials")
    legend_above(axis)
    return figure


@dataclass(frozen=True)
class _Scale:
    """Heights between 0 and 1 for the values of one option, and labelled marks."""

    low: float
    high: float
    log: bool
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, search: Search, key: str) -> _Scale:
        values = [t.params.get(key) for t in search.ranked()]
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < len(values) or (key in search.listed and len(set(values)) <= 8):
            return cls(0, 1, False, tuple(shown_value(v) for v in _values(search, key)))
        return cls.numbers(numbers, key in search.logarithmic)

    @classmethod
    def numbers(cls, values: Sequence[float], log: bool) -> _Scale:
        return cls(min(values), max(values), log)

    def place(self, value: Any) -> float:
        if self.names:
            count = len(self.names)
            return self.names.index(shown_value(value)) / (count - 1) if count > 1 else 0.5
        if self.high == self.low:
            return 0.5
        change = math.log if self.log else float
        return (change(value) - change(self.low)) / (change(self.high) - change(self.low))

    @property
    def ticks(self) -> list[tuple[float, str]]:
        if self.names:
            count = len(self.names)
            return [(i / (count - 1) if count > 1 else 0.5, n) for i, n in enumerate(self.names)]
        shares = (0.0, 0.25, 0.5, 0.75, 1.0) if self.high > self.low else (0.5,)
        marks = []
        for share in shares:
            if self.log:
                value = math.exp(
                    math.log(self.low) + share * (math.log(self.high) - math.log(self.low))
                )
            else:
                value = self.low + share * (self.high - self.low)
            marks.append((share, f"{value:.3g}"))
        return marks


def _values(search: Search, key: str) -> list[Any]:
    """The values of a key: numbers in their order, others as they came."""
    found = list({shown_value(t.params[key]): t.params[key] for t in search.tried}.values())
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)
    return sorted(found) if numbers else found


def _broken(key: str, room: int) -> str:
    """A long key on lines of ``room`` characters, broken where its words end."""
    lines = [""]
    for word in re.split(r"(?<=[._ ])", key):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > room:
            lines.append("")
        lines[-1] += word
    return "\n".join(label_text(line.rstrip(), room) for line in lines)


def _log_axis(axis: Any, name: str) -> None:
    getattr(axis, f"set_{name}scale")("log")
    ticks = axis.yaxis if name == "y" else axis.xaxis
    ticks.set_major_formatter(lambda value, _: format_number(value))
