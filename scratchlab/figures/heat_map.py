"""A value for every combination of two lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scratchlab.figures.style import (
    BEST,
    SEQUENTIAL,
    broken_name,
    head,
    label_text,
    name_ticks,
    new_figure,
    style,
)
from scratchlab.formatting import format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Place = tuple[int, int]  # line, column


@style()
def heat_map(
    lines: Sequence[str],
    columns: Sequence[str],
    values: Mapping[Place, float],
    better: str,
    *,
    without: Mapping[Place, str],
    labels: tuple[str, str],
    title: str,
) -> Figure:
    """The values as colours and numbers, dark is good (``better``: lower or higher), the best
    framed; ``without`` says what stands where there is no value, else a cross.

    ``labels`` name the lines (down) and the columns (across).
    """
    import matplotlib
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    figure, ((axis,),) = new_figure(height=150 + 52 * len(lines))
    low, high = min(values.values()), max(values.values())
    scale = Normalize(low, high if high > low else low + 1)
    colours: Any = matplotlib.colormaps[SEQUENTIAL + ("_r" if better == "lower" else "")]
    size = max(4.5, min(9.0, 62 / len(columns)))  # points
    for y, x in ((y, x) for y in range(len(lines)) for x in range(len(columns))):
        value = values.get((y, x))
        if value is not None:
            face = colours(0.12 + 0.76 * float(scale(value)))
            text, dark = format_number(value), sum(face[:3]) < 1.6
        else:
            face, text, dark = (0.95, 0.95, 0.95, 1.0), without.get((y, x), "×"), False
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="white"))
        ink = "white" if dark else "#222222"
        axis.text(x, y, text, ha="center", va="center", color=ink, fontsize=size)
    choose = min if better == "lower" else max
    y, x = choose(values, key=lambda place: values[place])
    axis.add_patch(
        Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor=BEST, linewidth=2.4)
    )
    axis.set_xlim(-0.5, len(columns) - 0.5)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    name_ticks(axis, columns)
    axis.set_yticks(range(len(lines)), [label_text(line, 24) for line in lines])
    axis.grid(visible=False)
    axis.set_xlabel(labels[1])
    axis.set_ylabel(broken_name(labels[0], 20))
    head(figure, title)
    return figure
