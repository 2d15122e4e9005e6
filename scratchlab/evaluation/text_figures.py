"""The pictures of evaluators of language models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.figures.style import SEQUENTIAL, colour, new_figure, style
from scratchlab.tracking.console import format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Heads side by side at most, by their number: with more panels in a row, no token can be read.
PANELS_PER_ROW = ((4, 2), (9, 3), (10_000, 4))
SCALE_MARKS = ("0", "0.01", "0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1")
FEW_LAYERS = 12  # of more, every fifth is named in a picture
SHARES = ("itself", "the token before", "the first token", "elsewhere")


@style()
def by_length_figure(
    labels: Sequence[str],
    lines: Sequence[int],
    perplexities: Sequence[float],
    overall: float,
    unit: str,
    title: str,
) -> Figure:
    """Perplexity of lines by their length, with the perplexity of all of them as a dashed line."""
    figure, axes = new_figure(height=430)
    axis = axes[0, 0]
    places = np.arange(len(labels))
    axis.plot(places, perplexities, marker="o", color=colour(0))
    whole = f"all lines: {format_number(overall)}"
    axis.axhline(overall, color=colour(1), linestyle="--", linewidth=1.2, label=whole)
    for place, value in zip(places, perplexities, strict=True):
        axis.annotate(
            format_number(value),
            (place, value),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )
    names = [f"{label}\n{n:,}" for label, n in zip(labels, lines, strict=True)]
    axis.set_xticks(places, names)
    axis.set_xlim(-0.5, len(labels) - 0.5)
    axis.margins(y=0.15)
    axis.set_xlabel(f"length of the line in {unit}s, its end included (below: number of lines)")
    axis.set_ylabel(f"perplexity per {unit}")
    axis.set_title(title)
    figure.legend(loc="outside upper right")
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
    columns = min(heads, next(n for most, n in PANELS_PER_ROW if heads <= most))
    rows = -(-heads // columns)
    size = 900 / columns
    figure, axes = new_figure(rows, columns, height=max(330, rows * size * 0.8 + 110))
    short = [token if len(token) <= 8 else f"{token[:7]}…" for token in tokens]
    labels = [token.replace("$", r"\$") for token in short]
    font = max(3.5, min(7.5, 0.62 * size * 72 / 150 / length))
    image: Any = None
    for index, axis in enumerate(axes.flat):
        if index >= heads:
            axis.set_visible(False)
            continue
        # Nothing is drawn above the diagonal: it is not small there, it does not exist.
        hidden = np.triu(np.ones((length, length), dtype=bool), 1)
        shown = np.ma.array(weights[index], mask=hidden & (weights[index] == 0))
        scale = PowerNorm(0.5, 0.0, 1.0)
        image = axis.imshow(shown, cmap=SEQUENTIAL, norm=scale, aspect="equal")
        axis.set_title(f"head {index + 1}", fontweight="normal", fontsize=9)
        axis.grid(False)
        left, lowest = index % columns == 0, index + columns >= heads
        axis.set_xticks(range(length), labels if lowest else [])
        axis.set_yticks(range(length), labels if left else [])
        axis.tick_params(axis="x", rotation=90)
        axis.tick_params(length=0, labelsize=font)
        axis.spines[:].set_visible(True)
        axis.spines[:].set_color("#999999")
    figure.supylabel("token that looks", fontsize=8)
    figure.supxlabel("token that is looked at", fontsize=8)
    figure.suptitle(title, fontweight="bold", fontsize=10, x=0.01, ha="left")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.01)
    bar.set_ticks([float(mark) for mark in SCALE_MARKS], labels=SCALE_MARKS)
    bar.set_label("attention weight")
    bar.outline.set_visible(False)
    return figure


@style()
def attention_share_figure(shares: NDArray[Any], title: str) -> Figure:
    """Where each head's attention goes: ``shares`` [layers, heads, 3] on itself, before, first."""
    layers, heads = shares.shape[:2]
    figure, axes = new_figure(height=430)
    axis = axes[0, 0]
    places = np.concatenate([np.arange(heads) + layer * (heads + 1) for layer in range(layers)])
    flat = shares.reshape(-1, 3)
    parts = np.concatenate([flat, 1 - flat.sum(1, keepdims=True)], axis=1)
    bottom = np.zeros(len(flat))
    colours = [colour(0), colour(1), colour(2), "#CCCCCC"]
    for part, name in enumerate(SHARES):
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
    axis.set_title(title)
    figure.legend(loc="outside lower center", ncols=4, title="the attention goes to")
    return figure
