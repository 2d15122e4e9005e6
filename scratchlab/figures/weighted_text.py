"""Texts whose words are shaded by their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from scratchlab.figures.style import SEQUENTIAL, WIDTH_PIXELS, head, label_text, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 88  # characters of a line
FONT = 7.5  # points
LINE_PIXELS, GAP_PIXELS = 24, 12
LONGEST_WORD = 24


@dataclass(frozen=True)
class WeightedText:
    """What stands above a text, its words, and their weights: 1 for an even share of all."""

    caption: str
    words: Sequence[str]
    weights: NDArray[Any]


@style()
def weighted_texts_figure(texts: Sequence[WeightedText], title: str) -> Figure:
    """One text below the other, all in one scale: a text whose words weigh alike has one colour."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    lines = [broken([label_text(w, LONGEST_WORD) for w in text.words]) for text in texts]
    gap = GAP_PIXELS / LINE_PIXELS
    height = sum(1 + len(rows) + gap for rows in lines)  # in lines
    figure, ((axis,),) = new_figure(height=height * LINE_PIXELS + 130, width=WIDTH_PIXELS)
    heaviest = max(float(text.weights.max()) for text in texts)
    scale, colours = Normalize(0, heaviest), matplotlib.colormaps[SEQUENTIAL]
    mono: Any = {"family": "DejaVu Sans Mono", "fontsize": FONT, "va": "center"}
    top = 0.0
    for text, rows in zip(texts, lines, strict=True):
        caption = label_text(text.caption, COLUMNS)
        axis.text(0, top + 0.5, caption, va="center", fontsize=FONT, color="#555555")
        weights = iter(text.weights.tolist())
        for number, row in enumerate(rows, 1):
            for left, word in row:
                face = colours(0.85 * scale(next(weights)))
                box = Rectangle((left - 0.4, top + number + 0.05), shown(word) + 0.8, 0.9, fc=face)
                axis.add_patch(box)
                ink = "white" if sum(face[:3]) < 1.6 else "#222222"
                axis.text(left, top + number + 0.5, word, color=ink, **mono)
        top += 1 + len(rows) + gap
    axis.set_xlim(-0.5, COLUMNS + 0.5)
    axis.set_ylim(top, 0)
    axis.axis("off")
    bar = figure.colorbar(
        ScalarMappable(scale, colours), ax=axis, orientation="horizontal", aspect=50, pad=0.02
    )
    bar.set_label("weight of a word (1: an even share of its text)")
    bar.outline.set_visible(False)
    head(figure, title)
    return figure


def broken(words: Sequence[str]) -> list[list[tuple[float, str]]]:
    """Lines of words, each with the column it begins in."""
    lines: list[list[tuple[float, str]]] = [[]]
    column = 0.0
    for word in words:
        if lines[-1] and column + shown(word) > COLUMNS:
            lines.append([])
            column = 0.0
        lines[-1].append((column, word))
        column += shown(word) + 1.5
    return lines


def shown(word: str) -> int:
    """The characters of a word in the picture, where a dollar sign is written with a stroke."""
    return len(word.replace(r"\$", "$"))
