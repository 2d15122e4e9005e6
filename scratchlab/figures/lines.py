"""Lines over updates, lengths or names: those of several runs, and one with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchlab.figures.style import (
    colour,
    dash,
    head,
    legend_above,
    legend_beside,
    name_ticks,
    new_figure,
    style,
)
from scratchlab.formatting import format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Line:
    """Points of a line, and the ends of a band around each where there are several seeds.

    ``place`` is that of its row, which has one colour in all pictures.
    """

    x: Sequence[Any]
    y: Sequence[float]
    band: Sequence[tuple[float, float]] | None
    place: int


@style()
def lines_with_bands(lines: Mapping[str, Line], x_label: str, y_label: str, title: str) -> Figure:
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


@style()
def by_length_figure(
    labels: Sequence[str],
    counts: Sequence[int],
    values: Sequence[float],
    overall: float,
    x_label: str,
    y_label: str,
    title: str,
) -> Figure:
    """A score of texts by their length, with that of all of them as a dashed line.

    ``labels`` name groups of lengths, ``counts`` say how many texts each holds.
    """
    figure, axes = new_figure(height=430)
    axis = axes[0, 0]
    places = np.arange(len(labels))
    axis.plot(places, values, marker="o", color=colour(0))
    whole = f"all: {format_number(overall)}"
    axis.axhline(overall, color=colour(1), linestyle="--", linewidth=1.2, label=whole)
    for place, value in zip(places, values, strict=True):
        axis.annotate(
            format_number(value),
            (place, value),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )
    names = [f"{label}\n{n:,}" for label, n in zip(labels, counts, strict=True)]
    axis.set_xticks(places, names)
    axis.set_xlim(-0.5, len(labels) - 0.5)
    axis.margins(y=0.15)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    head(figure, title)
    legend_above(axis)
    return figure
