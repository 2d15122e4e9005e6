"""Values below each other, as bars or as dots with what they leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scratchlab.figures.style import colour, foot, head, legend_above, new_figure, style
from scratchlab.formatting import decimals_of, format_measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAR_HEIGHT = 0.62  # of the room of a bar
CLOSE = 0.5  # least of greatest value, from which on bars would look alike


@dataclass(frozen=True)
class Bar:
    """One row of a comparison: its value, a whisker from ``low`` to ``high``, and a value from
    elsewhere that is marked."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    reference: float | None = None

    @property
    def end(self) -> float:
        """The greatest of what is drawn."""
        drawn = (self.value, self.high, self.reference)
        return max(v for v in drawn if v is not None)

    @property
    def start(self) -> float:
        """The least of what is drawn."""
        drawn = (self.value, self.low, self.reference)
        return min(v for v in drawn if v is not None)


@style()
def bars_figure(bars: Sequence[Bar], value_label: str, title: str, remark: str = "") -> Figure:
    """Values below each other, each written beside its mark, in the order given from the top.

    Bars from 0 where lengths tell something; dots on a scale of their own where values lie close
    together or have intervals.
    """
    from matplotlib.ticker import MaxNLocator

    figure, ((axis,),) = new_figure(height=130 + 44 * len(bars))
    places = range(len(bars))
    low, high = min(bar.start for bar in bars), max(bar.end for bar in bars)
    open_ended = any(bar.low is not None for bar in bars)
    dots = low < high and low > 0 and (open_ended or low > CLOSE * high)
    if dots:
        axis.plot([b.value for b in bars], places, "o", color=colour(0), markersize=7, zorder=3)
        room = 0.06 * (high - low)
        axis.set_xlim(low - room, high + 3 * room)
    else:
        axis.barh(places, [bar.value for bar in bars], height=BAR_HEIGHT, color=colour(0))
        axis.margins(x=0.14)
    for place, bar in zip(places, bars, strict=True):
        if bar.low is not None and bar.high is not None:
            axis.errorbar(
                bar.value,
                place,
                xerr=[[max(0.0, bar.value - bar.low)], [max(0.0, bar.high - bar.value)]],
                fmt="none",
                ecolor="#333333",
                elinewidth=1.0,
                capsize=3,
                zorder=2,
            )
    _mark_references(axis, bars)
    axis.set_yticks(places, [bar.label.replace("$", r"\$") for bar in bars])
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    decimals = decimals_of(bar.value for bar in bars)
    for place, bar in zip(places, bars, strict=True):
        axis.annotate(
            format_measurement(bar.value, None, "", None, decimals)[0],
            (max(bar.end, 0.0) if not dots else bar.end, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    if max(abs(bar.value) for bar in bars) >= 10_000:
        axis.margins(x=0.2)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_xlabel(value_label)
    head(figure, title)
    if remark:
        foot(figure, remark)
    return figure


def _mark_references(axis: Any, bars: Sequence[Bar]) -> None:
    """A stroke over the height of the row whose reference it is."""
    given = [(bar.reference, i) for i, bar in enumerate(bars) if bar.reference is not None]
    for number, (value, place) in enumerate(given):
        axis.plot(
            [value, value],
            [place - BAR_HEIGHT / 2, place + BAR_HEIGHT / 2],
            color=colour(1),
            linewidth=2.4,
            solid_capstyle="butt",
            label="reference" if number == 0 else None,
            zorder=4,
        )
    if given:
        legend_above(axis)
