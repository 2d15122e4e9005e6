"""Curves of a run and comparisons of several, drawn from what lies in run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.figures.style import (
    colour,
    dash,
    foot,
    head,
    legend_above,
    legend_beside,
    new_figure,
    png,
    style,
)
from scratchlab.reporting.tables import (
    ARROWS,
    decimals_of,
    format_measurement,
    format_number,
    title_of,
)
from scratchlab.run.atomic import write_bytes
from scratchlab.tracking.jsonl import METRICS, read_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[Sequence[float], Sequence[float]]
STEP_LABEL = "updates of the weights"
LOSS_LABEL = "loss (nats per target)"
LOWER_IS_BETTER = ("loss", "perplexity", "error", "rmse", "mae", "mse")
# Metrics of validation that stand in another picture already.
DRAWN_ELSEWHERE = ("val/loss",)


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


def curve(entries: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of a metric in the entries of metrics.jsonl, without what is no number."""
    points = [(e["step"], e[name]) for e in entries if isinstance(e.get(name), int | float)]
    return [p[0] for p in points], [p[1] for p in points]


def counts_epochs(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the steps of a run are epochs, as those of estimators are (whose loss is their own
    kind of loss, not always nats per target)."""
    return bool(entries) and all(e.get("epoch") == e["step"] for e in entries)


def draw_curves(folder: Path, title: str = "", loss_label: str = LOSS_LABEL) -> list[Path]:
    """Draw the curves of the run in ``folder`` from its metrics.jsonl into plots/.

    ``loss``, ``learning_rate`` and one ``val_METRIC`` for each score of the validations; those with
    nothing to show are not made. Returns the pictures that were written.
    """
    entries = read_lines(folder / METRICS)
    title = title or f"{folder.parent.name}/{folder.name}"
    figures: dict[str, Figure] = {}
    # One point is a number for the table of results, and no curve.
    if any(len(curve(entries, name)[0]) > 1 for name in ("train/loss", "val/loss")):
        figures["loss"] = loss_figure(entries, title, loss_label)
    if len(curve(entries, "lr")[0]) > 1:
        figures["learning_rate"] = learning_rate_figure(entries, title)
    scores = dict.fromkeys(n for e in entries for n in e if n.startswith("val/"))
    for name in scores:
        if name not in DRAWN_ELSEWHERE and len(curve(entries, name)[0]) > 1:
            metric = name.removeprefix("val/")
            figures[f"val_{metric}"] = score_figure(entries, metric, title)
    paths = []
    for name, figure in figures.items():
        path = folder / "plots" / f"{name}.png"
        write_bytes(path, png(figure))
        paths.append(path)
    return paths


@style()
def loss_figure(
    entries: Sequence[Mapping[str, Any]], title: str, label: str = LOSS_LABEL
) -> Figure:
    """Training and validation loss over the updates, the best validation marked."""
    figure, ((axis,),) = new_figure()
    x, y = curve(entries, "train/loss")
    if x:
        axis.plot(x, y, color=colour(0), linewidth=1.0, label="training", **_points(x))
    x, y = curve(entries, "val/loss")
    if x:
        axis.plot(x, y, color=colour(1), label="validation", **_points(x, "o"))
        _mark_best(axis, x, y, "lower")
    axis.set_ylabel(label)
    _finish_steps(axis, "Training and validation loss", title, entries)
    axis.legend()
    return figure


@style()
def learning_rate_figure(entries: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """The learning rate of every logged update."""
    figure, ((axis,),) = new_figure(height=300)
    x, y = curve(entries, "lr")
    axis.plot(x, y, color=colour(0), **_points(x))
    axis.set_ylabel("learning rate")
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _finish_steps(axis, "Learning rate", title, entries)
    return figure


@style()
def score_figure(entries: Sequence[Mapping[str, Any]], metric: str, title: str) -> Figure:
    """A score of the validation split over the updates, the best one marked."""
    figure, ((axis,),) = new_figure(height=340)
    x, y = curve(entries, f"val/{metric}")
    better = "lower" if any(word in metric for word in LOWER_IS_BETTER) else "higher"
    axis.plot(x, y, color=colour(1), label="validation", **_points(x, "o"))
    _mark_best(axis, x, y, better)
    axis.set_ylabel(f"{title_of(metric)} {ARROWS[better]}")
    if metric == "perplexity":  # it starts near the vocabulary's size: only a log scale shows both
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, _: format_number(value))
        axis.yaxis.set_minor_formatter("")
    _finish_steps(axis, f"{_capital(title_of(metric))} on the validation split", title, entries)
    return figure


BAR_HEIGHT = 0.62  # of the room of a bar
CLOSE = 0.5  # least of greatest value, from which on bars would look alike


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


@style()
def lines_figure(
    curves: Mapping[str, Curve],
    x_label: str,
    y_label: str,
    title: str,
    *,
    logarithmic: Sequence[str] = (),
) -> Figure:
    """Several runs in one picture; ``logarithmic`` holds ``x``, ``y`` or both."""
    figure, ((axis,),) = new_figure(height=420)
    for index, (label, (x, y)) in enumerate(curves.items()):
        few = _points(x, "o")
        axis.plot(x, y, color=colour(index), linestyle=dash(index), label=label, **few)
    if "x" in logarithmic:
        axis.set_xscale("log")
    if "y" in logarithmic:
        axis.set_yscale("log")
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    head(figure, title)
    if len(curves) > 1:
        if len(curves) <= 4:
            axis.legend()
        else:  # beside the curves, in their order, since no corner is free any more
            legend_beside(axis)
    return figure


def _points(x: Sequence[float], marker: str | None = None) -> dict[str, Any]:
    """Markers where points are few: a line through one point cannot be seen."""
    if len(x) == 1:
        return {"marker": "o", "markersize": 4}
    return {"marker": marker, "markersize": 4} if marker and len(x) <= 40 else {}


def _mark_best(axis: Any, x: Sequence[float], y: Sequence[float], better: str) -> None:
    best = min(range(len(y)), key=lambda i: y[i] if better == "lower" else -y[i])
    axis.plot(x[best], y[best], "o", markersize=9, markerfacecolor="none", color="#000000")
    below = better == "lower"
    axis.annotate(
        f"best {format_number(y[best])}",
        (x[best], y[best]),
        xytext=(0, 9 if below else -15),
        textcoords="offset points",
        ha="right" if x[best] > axis.dataLim.x1 / 2 else "left",
        fontsize=8.5,
    )


def _finish_steps(axis: Any, what: str, run: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Title (what is shown, and of which run below it) and the axis of updates."""
    from matplotlib.ticker import MaxNLocator

    axis.set_title(what, pad=20)
    axis.text(0.0, 1.03, _fitting(run), transform=axis.transAxes, fontsize=8.5, color="#555555")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    steps = [e["step"] for e in entries]
    epochs = [e["epoch"] for e in entries if e.get("epoch")]
    axis.set_xlim(left=0, right=max(steps) * 1.02 if steps and max(steps) else None)
    passes = f" ({epochs[-1]:.3g} epoch{'s' if epochs[-1] != 1 else ''})" if epochs else ""
    if counts_epochs(entries):
        axis.set_xlabel("epochs")
    else:
        axis.set_xlabel(STEP_LABEL + passes)


def _fitting(text: str, length: int = 100) -> str:
    """Cut in the middle, where names differ least; ``$`` would start a formula."""
    if len(text) > length:
        half = (length - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return text.replace("$", r"\$")


def _capital(text: str) -> str:
    return text if text[:1].isupper() or text.startswith("chr") else text[:1].upper() + text[1:]
