"""The pictures of a search: trials in their order, through their options, and over two of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.figures.bars import Bar, bars_figure
from scratchlab.figures.heat_map import heat_map
from scratchlab.figures.parallel import Lane, parallel_figure
from scratchlab.figures.scatter import plain_numbers
from scratchlab.figures.style import (
    BEST,
    SEQUENTIAL,
    broken_name,
    colour,
    head,
    label_text,
    legend_above,
    name_ticks,
    new_figure,
    png,
    style,
)
from scratchlab.formatting import format_number, title_of
from scratchlab.reporting.search import Search, shown_value
from scratchlab.run.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_pictures(folder: Path, search: Search) -> None:
    """plots/*.png of what there is something to show of."""
    for name, figure in search_figures(search).items():
        write_bytes(folder / "plots" / f"{name}.png", png(figure))


def search_figures(search: Search) -> dict[str, Figure]:
    """The pictures that there is something to show in."""
    ranked = search.ranked()
    figures: dict[str, Figure] = {}
    if len(ranked) < 2:
        return figures
    figures["history"] = history_figure(search)
    if len(search.keys) > 1:
        figures["parallel_coordinates"] = coordinates(search)
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
        figures[name] = grid(search) if listed else map_figure(search)
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
        [t.number for t in done],
        "o",
        color=colour(0),
        markersize=5,
        label="done",
    )
    several = [t for t in done if t.spread is not None]
    if several:
        axis.errorbar(
            [places[t.run] for t in several],
            [t.number for t in several],
            [t.spread for t in several],
            fmt="none",
            ecolor=colour(0),
            elinewidth=1,
            label="± standard deviation",
        )
    choose = min if search.better == "lower" else max
    best = [choose(t.number for t in done[: i + 1]) for i in range(len(done))]
    steps = [*(places[t.run] for t in done), len(search.tried)]
    axis.step(steps, [*best, best[-1]], where="post", color=BEST, label="best so far")
    if pruned:
        axis.plot(
            [places[t.run] for t in pruned],
            [t.number for t in pruned],
            "v",
            color="#777777",
            markerfacecolor="none",
            markersize=6,
            label="pruned (value so far)",
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
    values = [t.number for t in [*done, *pruned]]
    if min(values) > 0 and max(values) > 20 * min(values):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, _: format_number(value))
    axis.set_xlabel("trial, in the order in which they began")
    axis.set_ylabel(search.label)
    head(figure, f"{search.title}: trials")
    legend_above(axis)
    return figure


def coordinates(search: Search) -> Figure:
    """A line for each trial through its options to its value."""
    ranked = search.ranked()
    lanes = []
    for key in search.keys:
        values = [t.params.get(key) for t in ranked]
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < len(values) or (key in search.listed and len(set(values)) <= 8):
            names = [shown_value(v) for v in _values(search, key)]
            lanes.append(Lane.of_names(key, names, [shown_value(v) for v in values]))
        else:
            lanes.append(Lane.of_numbers(key, numbers, key in search.logarithmic))
    found = [t.number for t in ranked]
    wide = min(found) > 0 and max(found) > 20 * min(found)
    lanes.append(Lane.of_numbers(search.label, found, wide))
    title = f"{search.title}: {len(ranked)} trials (darker is better, orange the best)"
    return parallel_figure(lanes, title)


def grid(search: Search) -> Figure:
    """The value of every combination of two lists; the best framed, what is missing crossed."""
    names = {key: [shown_value(v) for v in _values(search, key)] for key in search.keys}
    places = {}
    for t in search.tried:
        line, column = (names[key].index(shown_value(t.params[key])) for key in search.keys)
        places[t.run] = line, column
    down, across = search.keys
    ranked = search.ranked()
    return heat_map(
        names[down],
        names[across],
        {places[t.run]: t.number for t in ranked},
        search.better,
        without={places[t.run]: t.status for t in search.tried if t not in ranked},
        labels=(down, across),
        title=f"{search.title}: {search.label} (the best framed)",
    )


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
            axis.set(**{f"{name}scale": "log"})
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
        c=[t.number for t in ranked],
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
        label=f"best: {format_number(ranked[0].number)}",
        linestyle="none",
        zorder=4,
    )
    figure.colorbar(points, ax=axis, label=search.label)
    axis.margins(0.07)
    for key, scale in ((x_key, axis.xaxis), (y_key, axis.yaxis)):
        if key in search.logarithmic:
            plain_numbers(scale, log=True)
    axis.set_xlabel(x_key)
    axis.set_ylabel(broken_name(y_key, 20))
    head(figure, f"{search.title}: {len(ranked)} trials")
    legend_above(axis)
    return figure


def _values(search: Search, key: str) -> list[Any]:
    """The values of a key: numbers in their order, others as they came."""
    found = list({shown_value(t.params[key]): t.params[key] for t in search.tried}.values())
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)
    return sorted(found) if numbers else found
