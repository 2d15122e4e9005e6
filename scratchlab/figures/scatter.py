"""Two figures of several runs against each other: what is paid and what is got for it.

Each run is one point with its name beside it; runs in the same spot share a list of names. Names
are put where they hide neither a point nor another name; one that had to move away keeps a thin
line to its point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from scratchlab.figures.style import colour, head, new_figure, style
from scratchlab.formatting import ARROWS, BYTE_UNITS, format_number, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Where a name may stand: directions in quarters of a right angle, distances in points.
DIRECTIONS = (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11)
DISTANCES = (7.0, 16.0, 28.0, 44.0, 64.0, 90.0)
LINE_FROM = 12.0  # points; nearer names need no line
ROUNDS = 4  # of looking for better places
SAME_SPOT = 4.0  # points; so near, runs cannot be told apart

Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels


@dataclass(frozen=True)
class Point:
    """One run; ``spread`` is the standard deviation of y over its seeds, downwards and upwards as
    far as the score can go."""

    label: str
    x: float
    y: float
    spread: tuple[float, float] | None = None


@dataclass(frozen=True)
class ScatterAxis:
    """What an axis shows: metric, unit and which direction is better."""

    metric: str
    unit: str
    better: str

    def label(self, unit: str) -> str:
        shown = f" ({unit})" if unit else ""
        return f"{title_of(self.metric)}{shown} {ARROWS[self.better]}".strip()


@style()
def scatter_figure(
    points: Sequence[Point],
    x: ScatterAxis,
    y: ScatterAxis,
    title: str,
    *,
    log: Sequence[str] = (),
    lines: Sequence[Point] = (),
) -> Figure:
    """Points with their names; of ``lines`` only y counts. A log axis needs positive figures."""
    figure, ((axis,),) = new_figure(height=480 if len(points) <= 8 else 620)
    x_scale, x_unit = _scale(x, [p.x for p in points])
    y_scale, y_unit = _scale(y, [p.y for p in [*points, *lines]])
    for index, point in enumerate(points):
        place = (point.x / x_scale, point.y / y_scale)
        spread = None if point.spread is None else [[s / y_scale] for s in point.spread]
        axis.errorbar(*place, yerr=spread, fmt="o", color=colour(index), markersize=6, capsize=3)
    for index, line in enumerate(lines):
        level = line.y / y_scale
        axis.axhline(level, color="#555555", linestyle=("--", ":", "-.")[index % 3], linewidth=1)
    for letter, set_scale in (("x", axis.set_xscale), ("y", axis.set_yscale)):
        if letter in log:
            set_scale("log")
    axis.margins(0.12, 0.18)
    plain_numbers(axis.xaxis, "x" in log)
    plain_numbers(axis.yaxis, "y" in log)
    axis.set_xlabel(x.label(x_unit))
    axis.set_ylabel(y.label(y_unit))
    head(figure, title)
    figure.draw_without_rendering()  # from here on places are known in pixels
    figure.set_layout_engine("none")
    shown = [
        Point(
            p.label,
            p.x / x_scale,
            p.y / y_scale,
            p.spread and (p.spread[0] / y_scale, p.spread[1] / y_scale),
        )
        for p in points
    ]
    _write_names(figure, axis, shown, [(p.y / y_scale, p.label) for p in lines])
    return figure


def _scale(axis: ScatterAxis, values: Sequence[float]) -> tuple[float, str]:
    """What values are divided by, and the unit that they then have."""
    if axis.unit != "bytes":
        return 1.0, axis.unit
    largest = max(map(abs, values), default=1.0)
    power = min(int(math.log(largest, 1024)), len(BYTE_UNITS) - 1) if largest >= 1 else 0
    return 1024.0**power, BYTE_UNITS[power]


def plain_numbers(axis: Any, log: bool) -> None:
    """Plain numbers at the ticks; a log axis of less than two decades also has some between."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if not log:
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        return
    axis.set_major_formatter(lambda value, _: format_number(value))
    low, high = axis.get_view_interval()
    few = high < 100 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axis.set_minor_formatter(NullFormatter())


def _write_names(
    figure: Any, axis: Any, points: Sequence[Point], levels: Sequence[tuple[float, str]]
) -> None:
    """Put every name at the best of the places around its point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer: Any = FigureCanvasAgg(figure).get_renderer()
    pixels = figure.dpi / 72
    frame: Box = axis.get_window_extent(renderer).extents
    to_pixels = axis.transData.transform
    spots = [tuple(map(float, to_pixels((p.x, p.y)))) for p in points]
    radius = 5 * pixels
    taken: list[Box] = [(u - radius, v - radius, u + radius, v + radius) for u, v in spots]
    for (u, _), p in zip(spots, points, strict=True):
        if p.spread:
            low, high = (float(to_pixels((p.x, p.y + s))[1]) for s in (-p.spread[0], p.spread[1]))
            taken.append((u - radius, low, u + radius, high))
    for level, label in levels:
        text = axis.annotate(
            _plain(label), (1, level), xycoords=("axes fraction", "data"), xytext=(-4, 3),
            textcoords="offset points", ha="right", va="bottom", fontsize=8, color="#333333",
        )  # fmt: skip
        taken.append(tuple(text.get_window_extent(renderer).extents))
        v = float(to_pixels((1, level))[1])
        taken.append((frame[0], v - pixels, frame[2], v + pixels))

    groups = _same_spots(spots, SAME_SPOT * pixels)
    labels = ["\n".join(_plain(points[i].label) for i in group) for group in groups]
    sizes = []
    for label in labels:
        sized = axis.text(0, 0, label, fontsize=8, transform=None)
        left, bottom, right, top = sized.get_window_extent(renderer).extents
        sized.remove()
        sizes.append((right - left, top - bottom))
    chosen: dict[int, _Place] = {}
    for _ in range(ROUNDS):  # again, now that the places of the others are known
        for index in sorted(range(len(groups)), key=lambda i: -len(groups[i])):
            group = groups[index]
            names = [chosen[i].box for i in chosen if i != index]
            others = [s for i, s in enumerate(spots) if i not in group]
            chosen[index] = _best_place(
                spots[group[0]], sizes[index], [*taken, *names], others, frame, pixels
            )
    for index, group in enumerate(groups):
        place, spot, first = chosen[index], spots[group[0]], points[group[0]]
        away = ((place.box[0] - spot[0]) / pixels, (place.box[1] - spot[1]) / pixels)
        line = {"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkB": 3}
        axis.annotate(
            labels[index], (first.x, first.y), xytext=away, textcoords="offset points",
            ha="left", va="bottom", fontsize=8,
            arrowprops=line if place.distance >= LINE_FROM else None,
        )  # fmt: skip


def _same_spots(spots: Sequence[tuple[float, ...]], near: float) -> list[list[int]]:
    """Indices of the spots, those together that are nearer than ``near`` to the first of them."""
    groups: list[list[int]] = []
    for index, spot in enumerate(spots):
        own = next((g for g in groups if math.dist(spots[g[0]], spot) < near), None)
        if own is None:
            groups.append([index])
        else:
            own.append(index)
    return groups


class _Place(NamedTuple):
    box: Box
    distance: float


def _best_place(
    spot: tuple[float, ...],
    size: tuple[float, float],
    taken: Sequence[Box],
    others: Sequence[tuple[float, ...]],
    frame: Box,
    pixels: float,
) -> _Place:
    """The place of a name around ``spot`` that covers least, near ones first."""
    best, least = None, math.inf
    for distance in DISTANCES:
        for direction in DIRECTIONS:
            angle = direction * math.pi / 8
            cos, sin = math.cos(angle), math.sin(angle)
            # The name's side that faces the point stands at this distance from it.
            u = spot[0] + distance * pixels * cos + size[0] * (cos - 1) / 2
            v = spot[1] + distance * pixels * sin + size[1] * (sin - 1) / 2
            box = (u, v, u + size[0], v + size[1])
            covered = sum(_overlap(box, other) for other in taken)
            outside = size[0] * size[1] - _overlap(box, frame)
            middle = (u + size[0] / 2, v + size[1] / 2)
            crossed = distance >= LINE_FROM and (
                any(_distance_to_line(other, spot, middle) < 4 * pixels for other in others)
                or any(_cuts(spot, middle, other, box) for other in taken if not _in(spot, other))
            )
            cost = round(covered + 4 * outside + (3 * distance + 300 * crossed) * pixels, 2)
            if cost < least:
                best, least = _Place(box, distance), cost
    assert best is not None
    return best


def _distance_to_line(p: tuple[float, ...], a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Of a point from the stretch between a and b."""
    along = (b[0] - a[0], b[1] - a[1])
    length = along[0] ** 2 + along[1] ** 2
    share = ((p[0] - a[0]) * along[0] + (p[1] - a[1]) * along[1]) / length if length else 0.0
    share = min(1.0, max(0.0, share))
    return math.dist(p, (a[0] + share * along[0], a[1] + share * along[1]))


def _cuts(spot: tuple[float, ...], end: tuple[float, ...], box: Box, own: Box) -> bool:
    """Whether the line from a point to its name goes through ``box``."""
    places = [
        (spot[0] + k / 16 * (end[0] - spot[0]), spot[1] + k / 16 * (end[1] - spot[1]))
        for k in range(1, 16)
    ]
    return any(_in(p, box) for p in places if not _in(p, own))


def _in(p: tuple[float, ...], box: Box) -> bool:
    return box[0] <= p[0] <= box[2] and box[1] <= p[1] <= box[3]


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, float(width)) * max(0.0, float(height))


def _plain(label: str) -> str:
    return label.replace("$", r"\$")
