"""The pictures that evaluators draw themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchlab.figures.style import SEQUENTIAL, WIDTH_PIXELS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL_CHARACTERS = 12  # longer words are cut: an axis of labels must leave room for the map
PIXELS_PER_TOKEN = 25.0
PANELS_PER_ROW = 3


@style()
def attention_figure(
    weights: np.ndarray[Any, Any],
    source: Sequence[str],
    target: Sequence[str],
    title: str,
) -> Figure:
    """Maps of attention side by side: one for each head and one for their mean.

    ``weights`` [heads, target, source], rows sum to 1; the labels name the tokens that are read
    (``source``, across) and the tokens that are written (``target``, down).
    """
    heads = weights.shape[0]
    panels = [(f"head {i + 1}", weights[i]) for i in range(heads)]
    if heads > 1:
        panels.append(("mean of all heads", weights.mean(axis=0)))
    columns = min(PANELS_PER_ROW, len(panels))
    rows = -(-len(panels) // columns)
    label_width = 7 * max(len(_short(t)) for t in target)
    label_height = 7 * max(len(_short(t)) for t in source)
    width = max(WIDTH_PIXELS, columns * PIXELS_PER_TOKEN * len(source) + label_width + 180)
    height = rows * (PIXELS_PER_TOKEN * len(target) + 45) + label_height + 90
    figure, axes = new_figure(rows, columns, height=max(330, height), width=width)
    # All panels share one scale, so that a sharp head looks sharper than a blurred one.
    top = max(float(weights.max()), 1e-6)
    image: Any = None
    for index, axis in enumerate(axes.flat):
        if index >= len(panels):
            axis.set_visible(False)
            continue
        name, values = panels[index]
        image = axis.imshow(values, cmap=SEQUENTIAL, vmin=0.0, vmax=top, aspect="auto")
        axis.set_title(name, fontweight="normal", fontsize=9)
        axis.grid(False)
        left, lowest = index % columns == 0, index + columns >= len(panels)
        axis.set_xticks(range(len(source)), [_short(t) for t in source] if lowest else [])
        axis.set_yticks(range(len(target)), [_short(t) for t in target] if left else [])
        axis.tick_params(axis="x", rotation=90)
        axis.tick_params(length=0, labelsize=8)
        axis.spines[:].set_visible(True)
        axis.spines[:].set_color("#999999")
        if left:
            axis.set_ylabel("written (target)")
        if lowest:
            axis.set_xlabel("read (source)")
    figure.suptitle(title, fontweight="bold", fontsize=10, x=0.01, ha="left")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.01)
    bar.set_label("attention weight")
    bar.outline.set_visible(False)
    return figure


def _short(token: str) -> str:
    """A label of at most ``LABEL_CHARACTERS``; ``$`` is shown as it is, not read as a formula."""
    cut = token if len(token) <= LABEL_CHARACTERS else token[: LABEL_CHARACTERS - 1] + "…"
    return cut.replace("$", r"\$")
