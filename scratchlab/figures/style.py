"""One look for all pictures: size, type, and colours that colour-blind people can tell apart.

matplotlib is imported inside the functions only, and its global state (pyplot, rcParams) is left
alone: figures are plain objects that are drawn into bytes.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito (2008), without yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Lines differ in more than their colour, for grey print and for seven or more of them.
DASHES = ("-", "--", "-.", ":")
BEST = "#D55E00"  # of several points
SEQUENTIAL = "Blues"  # one hue from white to dark: what matters stands out on white paper

TITLE_CHARACTERS = 64  # of a line
FOOT_CHARACTERS = 100
TICK_CHARACTERS = 24  # of a name at an axis
ROOM_FOR_TICKS = 70  # characters below a picture
MOST_TICKS = 24
LINE_INCHES = 0.19  # of height that a line of text takes
SLANTED_INCHES = 0.038  # of height that a character takes
SCREEN = ("backend", "interactive", "toolbar", "webagg", "tk.")  # settings that draw nothing

WIDTH_PIXELS = 900  # what a README shows without shrinking
DPI = 150

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "scratchlab",
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the house's style within the block (also a decorator: ``@style()``).

    Alike everywhere: a file ``matplotlibrc`` of the user or of the current folder changes nothing.
    """
    import matplotlib

    usual = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith(SCREEN)}
    with matplotlib.rc_context({**usual, **STYLE}):
        yield


def new_figure(
    rows: int = 1, columns: int = 1, *, height: float = 400, width: float = WIDTH_PIXELS
) -> tuple[Figure, Any]:
    """A figure of ``width`` × ``height`` pixels and its axes [rows, columns] (a 2-D array).

    To be called, like all that is then drawn, within :func:`style`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def head(figure: Figure, title: str) -> None:
    """The title of a figure: at its left edge, on as many lines as it needs."""
    room = min(1.0, figure.get_figwidth() * DPI / WIDTH_PIXELS)
    lines = textwrap.wrap(title, int(TITLE_CHARACTERS * room)) or [""]
    text = "\n".join(lines).replace("$", r"\$")
    _heighten(figure, LINE_INCHES * (len(lines) - 1))
    figure.suptitle(text, fontweight="bold", fontsize=10, x=0.01, ha="left")


def foot(figure: Figure, text: str) -> None:
    """A remark at the lower edge of a figure, on as many lines as it needs."""
    lines = textwrap.wrap(text, FOOT_CHARACTERS)
    wrapped = "\n".join(lines).replace("$", r"\$")
    _heighten(figure, LINE_INCHES * len(lines))
    figure.supxlabel(wrapped, fontsize=8, x=0.01, ha="left", color="#555555")


def _heighten(figure: Figure, inches: float) -> None:
    """More height, so that what stands around the axes does not make them smaller."""
    figure.set_figheight(figure.get_figheight() + inches)


def label_text(text: str, longest: int) -> str:
    """A name for a picture: cut if it is too long; ``$`` as it is, not read as a formula."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut.replace("$", r"\$")


def broken_name(key: str, room: int) -> str:
    """A long key on lines of ``room`` characters, broken where its words end."""
    lines = [""]
    for word in re.split(r"(?<=[._ ])", key):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > room:
            lines.append("")
        lines[-1] += word
    return "\n".join(label_text(line.rstrip(), room) for line in lines)


def name_ticks(axis: Any, names: Sequence[str]) -> None:
    """Names at 0, 1, 2 … of a horizontal axis: slanted where they would run into each other, of
    very many only every second, third …"""
    shown = [label_text(name, TICK_CHARACTERS) for name in names]
    longest = max(map(len, shown), default=0)
    slanted: Any = {}
    if len(shown) * (longest + 2) > ROOM_FOR_TICKS:
        slanted = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        _heighten(axis.figure, SLANTED_INCHES * longest)
    step = math.ceil(len(shown) / MOST_TICKS) or 1
    axis.set_xticks(range(0, len(shown), step), shown[::step], **slanted)


def legend_above(axis: Any) -> None:
    """What marks mean, between the title and the axes, where it hides neither."""
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4)
    _heighten(axis.figure, LINE_INCHES)


def legend_beside(axis: Any) -> None:
    """Names of many lines in their order, right of the axes and below the title."""
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def colour(index: int) -> str:
    """The colour of the ``index``-th series."""
    return COLOURS[index % len(COLOURS)]


def dash(index: int) -> str:
    """The dash pattern of the ``index``-th series: a new one when the colours begin again."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


def png(figure: Figure) -> bytes:
    """The figure as PNG; equal figures give equal bytes (no date or version is written)."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
