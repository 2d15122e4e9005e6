"""The curves of runs in one picture each: plain SVG, seen without scripts and in print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scratchlab.formatting import title_of
from scratchlab.regular_files import open_regular
from scratchlab.reporting.compare.runs import Row, Run
from scratchlab.tracking.jsonl import METRICS, read_lines

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 38  # pixels around the plot
MOST = 12  # charts of a page
POINTS = 4000  # of a chart, over all of its lines
APART = ("step", "epoch")
COLOURS = 7  # of the page's style; more lines are dashed


@dataclass(frozen=True)
class Line:
    """A run in a chart; ``place`` is that of its row."""

    label: str
    place: int
    x: list[float]
    y: list[float]

    @property
    def look(self) -> str:
        """Classes of the page's style: a colour, and a dash where colours are used up."""
        return f"c{self.place % COLOURS} d{self.place // COLOURS % 4}"


@dataclass(frozen=True)
class Chart:
    """A metric over the updates, a line for each run."""

    name: str
    title: str
    lines: list[Line]
    log: bool
    ends: tuple[float, float, float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point stands in the picture, in pixels."""
        left, right, low, high = self.ends
        y = math.log10(y) if self.log else y
        across = (x - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        return LEFT + across, HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def path(self, line: Line) -> str:
        """The ``d`` of an SVG path."""
        points = [self.at(*pair) for pair in zip(line.x, line.y, strict=True)]
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        left, right, low, _ = self.ends
        base = 10**low if self.log else low
        return [(self.at(v, base)[0], f"{v:,.10g}") for v in ticks(left, right, whole=True)]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        left, _, low, high = self.ends
        if self.log:
            return [(self.at(left, v)[1], _short(v)) for v in log_ticks(low, high)]
        return [(self.at(left, v)[1], _short(v)) for v in ticks(low, high)]

    def as_json(self) -> dict[str, Any]:
        """What the page's script needs to draw the lines anew."""
        return {
            "title": self.title,
            "log": self.log,
            "ends": list(self.ends),
            "lines": [
                {"label": one.label, "look": one.look, "x": one.x, "y": one.y} for one in self.lines
            ],
        }


def charts_of(rows: Sequence[Row]) -> tuple[list[Chart], list[str]]:
    """The charts, validation first, and the names of those that are left out."""
    read = [
        (row.label, place, run, _entries(run)) for place, row in enumerate(rows) for run in row.runs
    ]
    names = dict.fromkeys(n for *_, entries in read for e in entries for n in e if n not in APART)
    found: list[Chart] = []
    drawn: list[list[Line]] = []
    for name in sorted(names, key=_order):
        lines = []
        for label, place, run, entries in read:
            x, y = points(entries, name)
            if len(x) > 1:
                several = len(rows[place].runs) > 1
                shown = f"{label}, {_repeat(run.repeat)}" if several else label
                lines.append(Line(shown, place, x, y))
        if lines and lines not in drawn:  # an objective may be the loss itself
            drawn.append(lines)
            found.append(_chart(name, lines))
    return found[:MOST], [one.title for one in found[MOST:]]


def _entries(run: Run) -> list[dict[str, Any]]:
    """The lines of a run, which may be somebody else's: a pipe or a device is no file."""
    path = run.path / METRICS
    if path.exists():
        open_regular(path).close()
    return read_lines(path)


def _short(value: float) -> str:
    """A number beside an axis, where there is little room: 1e-5."""
    if not 0 < abs(value) < 0.001:
        return f"{value:,.10g}"
    digits, _, power = f"{value:.3e}".partition("e")
    return f"{float(digits):g}e{int(power)}"


def _repeat(repeat: tuple[int, int | None]) -> str:
    seed, fold = repeat
    return f"seed {seed}" if fold is None else f"seed {seed}, fold {fold}"


def _order(name: str) -> tuple[int, str]:
    first = ("val/", "train/loss", "train/", "lr")
    return next((i for i, start in enumerate(first) if name.startswith(start)), len(first)), name


def points(entries: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Updates and values of a metric: those that are finite numbers."""
    found = [
        (float(e["step"]), float(e[name]))
        for e in entries
        if _number(e.get("step")) and _number(e.get(name))
    ]
    return [x for x, _ in found], [y for _, y in found]


def _number(value: Any) -> bool:
    """Whether a value can be drawn: a number, finite and not beyond all scales."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _chart(name: str, lines: list[Line]) -> Chart:
    most = max(20, POINTS // len(lines))
    lines = [Line(one.label, one.place, *thinned(one.x, one.y, most)) for one in lines]
    ys = [y for one in lines for y in one.y]
    log = min(ys) > 0 and max(ys) / min(ys) > 50  # one scale for the start and for the end
    low, high = (math.log10(v) if log else v for v in (min(ys), max(ys)))
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    xs = [x for one in lines for x in one.x]
    left, right = min(xs), max(xs)
    kind, _, metric = name.rpartition("/")
    words = {"val": "validation", "train": "training", "lr": "learning rate"}
    title = f"{title_of(metric)} ({words.get(kind, kind)})" if kind else words.get(name, name)
    ends = (left, right if right > left else left + 1, low - room, high + room)
    return Chart(name, title.replace("_", " "), lines, log, ends)


def thinned(x: list[float], y: list[float], most: int) -> tuple[list[float], list[float]]:
    """At most so many points: the lowest and the highest of each stretch, so that peaks stay."""
    if len(x) > most:
        stretches, kept = most // 2, set()
        for i in range(stretches):
            part = range(i * len(x) // stretches, (i + 1) * len(x) // stretches)
            kept |= {min(part, key=y.__getitem__), max(part, key=y.__getitem__)}
        places = sorted(kept | {0, len(x) - 1})
        x, y = [x[i] for i in places], [y[i] for i in places]
    return x, [float(f"{v:.6g}") for v in y]


def ticks(low: float, high: float, about: int = 6, *, whole: bool = False) -> list[float]:
    """Round numbers between two ends; ``whole``: of what is counted."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers between two powers of ten; of very many decades every second, third …"""
    decades = range(math.floor(low), math.ceil(high) + 1)
    within = [10.0**e * m for e in decades for m in (1, 2, 5) if low <= math.log10(m) + e <= high]
    if len(within) < 2:
        return [float(f"{10.0**v:.4g}") for v in ticks(low, high, 4)]
    if len(within) > most:
        powers = [10.0**e for e in decades if low <= e <= high]
        within = powers[:: -(-len(powers) // most)]
    return [float(f"{v:.10g}") for v in within]
