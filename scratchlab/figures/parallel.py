"""Parallel coordinates: a line for each point through its options to its value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scratchlab.figures.style import (
    BEST,
    SEQUENTIAL,
    broken_name,
    head,
    label_text,
    new_figure,
    style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOM = 80  # characters beside each other in a picture
MARKS = 14  # of a lane that do not touch


@dataclass(frozen=True)
class Lane:
    """One upright axis: where each point crosses it (from 0 to 1), and its labelled marks."""

    name: str
    heights: Sequence[float]
    ticks: Sequence[tuple[float, str]]

    @classmethod
    def of_names(cls, name: str, names: Sequence[str], values: Sequence[str]) -> Lane:
        """A lane with a mark for each of ``names``, from below."""
        last = len(names) - 1
        places = {text: i / last if last else 0.5 for i, text in enumerate(names)}
        return cls(name, [places[v] for v in values], [(places[n], n) for n in names])

    @classmethod
    def of_numbers(cls, name: str, values: Sequence[float], log: bool) -> Lane:
        """A lane from the least to the greatest of ``values``."""
        low, high = min(values), max(values)
        if low == high:
            return cls(name, [0.5] * len(values), [(0.5, f"{low:.3g}")])
        change, back = (math.log, math.exp) if log else (float, float)
        start, reach = change(low), change(high) - change(low)
        marks = [(share, f"{back(start + share * reach):.3g}") for share in (0, 0.25, 0.5, 0.75, 1)]
        return cls(name, [(change(v) - start) / reach for v in values], marks)


@style()
def parallel_figure(lanes: Sequence[Lane], title: str) -> Figure:
    """Points through lanes, given the best first: dark is good, orange the best."""
    import matplotlib
    from matplotlib.colors import Normalize

    figure, ((axis,),) = new_figure(height=420)
    count = len(lanes[0].heights)
    ranks = Normalize(0, max(1, count - 1))
    colours: Any = matplotlib.colormaps[SEQUENTIAL]
    for rank in reversed(range(count)):
        shade = BEST if rank == 0 else colours(0.25 + 0.7 * (1 - ranks(rank)))
        heights = [lane.heights[rank] for lane in lanes]
        width = 2.2 if rank == 0 else 1.1
        axis.plot(range(len(lanes)), heights, color=shade, linewidth=width, zorder=2)
    axis.set_xlim(-0.3, len(lanes) - 0.55)
    axis.set_ylim(-0.06, 1.06)
    room = ROOM // len(lanes)
    axis.set_xticks(range(len(lanes)), [broken_name(lane.name, room) for lane in lanes])
    axis.set_yticks([])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    for place, lane in enumerate(lanes):
        axis.axvline(place, color="#999999", linewidth=0.8, zorder=1)
        for height, text in lane.ticks[:: math.ceil(len(lane.ticks) / MARKS)]:
            axis.annotate(
                label_text(text, room),
                (place, height),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
                zorder=3,
            )
    head(figure, title)
    return figure
