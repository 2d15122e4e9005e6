"""Where attention goes: a map for each head, and how much of it stays near."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.figures.style import (
    SEQUENTIAL,
    WIDTH_PIXELS,
    colour,
    head,
    label_text,
    new_figure,
    style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL_CHARACTERS = 12  # longer words are cut: an axis of labels must leave room for the map
PIXELS_PER_TOKEN = 25.0
PANELS_PER_ROW = 3
# Heads of one text side by side at most, by their number: with more, no token can be read.
HEADS_PER_ROW = ((4, 2), (9, 3), (10_000, 4))
SCALE_MARKS = ("0", "0.01", "0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1")
FEW_LAYERS = 12  # of more, every fifth is named in a picture
SHARES = ("itself", "the token before", "the first token", "elsewhere")


@style()
def attention_figure(
    weights: NDArray[Any], source: Sequence[str], target: Sequence[str], title: str
) -> Figure:
    """Maps of attention side by side: one for each head and one for their mean.

    ``weights`` [heads, target, source], rows sum to 1; the labels name the tokens that are read
    (``source``, across) and the tokens that are written (``target``, down).
    """
    panels = {f"head {i + 1}": values for i, values in enumerate(weights)}
    if len(weights) > 1:
        panels["mean of all heads"] = weights.mean(axis=0)
    across = [label_text(token, LABEL_CHARACTERS) for token in source]
    down = [label_text(token, LABEL_CHARACTERS) for token in target]
    columns = min(PANELS_PER_ROW, len(panels))
    rows = -(-len(panels) // columns)
    width = columns * PIXELS_PER_TOKEN * len(source) + 7 * max(map(len, down)) + 180
    height = rows * (PIXELS_PER_TOKEN * len(target) + 45) + 7 * max(map(len, across)) + 90
    size = {"height": max(330, height), "width": max(WIDTH_PIXELS, width)}
    figure, axes = new_figure(rows, columns, **size)
    # All panels share one scale, so that a sharp head looks sharper than a blurred one.
    scale: dict[str, Any] = {"vmin": 0.0, "vmax": max(float(weights.max()), 1e-6), "aspect": "auto"}
    for axis, left, lowest in _maps(figure, axes, panels, across, down, 8, **scale):
        if left:
            axis.set_ylabel("written (target)")
        if lowest:
            axis.set_xlabel("read (source)")
    head(figure, title)
    return figure


@style()
def self_attention_figure(weights: NDArray[Any], tokens: Sequence[str], title: str) -> Figure:
    """The attention of each head over one text, side by side.

    The scale of the colours is that of the square root, or else attention that is spread over many
    tokens would be as pale as none.

    ``weights`` [heads, T, T]: row i is where token i looks; ``tokens`` [T] are labels.
    """
    from matplotlib.colors import PowerNorm

    heads, length = weights.shape[:2]
    columns = min(heads, next(n for most, n in HEADS_PER_ROW if heads <= most))
    rows = -(-heads // columns)
    size = 900 / columns
    figure, axes = new_figure(rows, columns, height=max(330, rows * size * 0.8 + 110))
    labels = [label_text(token, 8) for token in tokens]
    font = max(3.5, min(7.5, 0.62 * size * 72 / 150 / length))
    # Nothing is drawn above the diagonal: it is not small there, it does not exist.
    hidden = np.triu(np.ones((length, length), dtype=bool), 1)
    panels = {
        f"head {i + 1}": np.ma.array(values, mask=hidden & (values == 0))
        for i, values in enumerate(weights)
    }
    scale: dict[str, Any] = {"norm": PowerNorm(0.5, 0.0, 1.0), "aspect": "equal"}
    for _ in _maps(figure, axes, panels, labels, labels, font, SCALE_MARKS, **scale):
        pass
    figure.supylabel("token that looks", fontsize=8)
    figure.supxlabel("token that is looked at", fontsize=8)
    head(figure, title)
    return figure


def _maps(
    figure: Figure,
    axes: Any,
    panels: dict[str, Any],
    across: Sequence[str],
    down: Sequence[str],
    font: float,
    marks: Sequence[str] = (),
    **scale: Any,
) -> Iterator[tuple[Any, bool, bool]]:
    """Draw a map on each of the axes, labels at the outer ones, and the scale of all; gives each
    axis, and whether it stands at the left and lowest."""
    columns = axes.shape[1]
    for index, axis in enumerate(axes.flat):
        if index >= len(panels):
            axis.set_visible(False)
            continue
        name, values = list(panels.items())[index]
        image = axis.imshow(values, cmap=SEQUENTIAL, **scale)
        axis.set_title(name, fontweight="normal", fontsize=9)
        axis.grid(False)
        left, lowest = index % columns == 0, index + columns >= len(panels)
        axis.set_xticks(range(len(across)), across if lowest else [])
        axis.set_yticks(range(len(down)), down if left else [])
        axis.tick_params(axis="x", rotation=90)
        axis.tick_params(length=0, labelsize=font)
        axis.spines[:].set_visible(True)
        axis.spines[:].set_color("#999999")
        yield axis, left, lowest
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.01)
    if marks:
        bar.set_ticks([float(mark) for mark in marks], labels=marks)
    bar.set_label("attention weight")
    bar.outline.set_visible(False)


@style()
def attention_share_figure(
    shares: NDArray[Any], title: str, names: Sequence[str] = SHARES
) -> Figure:
    """Where each head's attention goes: ``shares`` [layers, heads, 3], on what ``names`` tell; the
    last of these is the rest."""
    layers, heads = shares.shape[:2]
    figure, axes = new_figure(height=430)
    axis = axes[0, 0]
    places = np.concatenate([np.arange(heads) + layer * (heads + 1) for layer in range(layers)])
    flat = shares.reshape(-1, 3)
    parts = np.concatenate([flat, 1 - flat.sum(1, keepdims=True)], axis=1)
    bottom = np.zeros(len(flat))
    colours = [colour(0), colour(1), colour(2), "#CCCCCC"]
    for part, name in enumerate(names):
        axis.bar(places, parts[:, part], bottom=bottom, width=0.85, color=colours[part], label=name)
        bottom += parts[:, part]
    axis.set_xticks(places, [str(i % heads + 1) for i in range(len(flat))])
    if len(flat) > 48:
        axis.set_xticks([])
    for layer in range(layers):
        if layers > FEW_LAYERS and layer % 5 != 4:
            continue
        middle = layer * (heads + 1) + (heads - 1) / 2
        axis.annotate(
            f"layer {layer + 1}",
            (middle, 1.0),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
    axis.set_ylim(0, 1.08)
    axis.set_yticks(np.arange(0, 1.01, 0.2), [f"{v:.0%}" for v in np.arange(0, 1.01, 0.2)])
    axis.set_xlabel("head" if len(flat) <= 48 else "heads, layer after layer")
    axis.set_ylabel("share of the attention")
    axis.grid(axis="x", visible=False)
    head(figure, title)
    figure.legend(loc="outside lower center", ncols=4, title="the attention goes to")
    return figure
