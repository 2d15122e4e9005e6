"""The curves of a run, drawn from its metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.figures.style import colour, new_figure, png, style
from scratchlab.formatting import ARROWS, format_number, title_of
from scratchlab.registry import is_estimator
from scratchlab.run.atomic import write_bytes
from scratchlab.tracking.jsonl import METRICS, counts_epochs, curve, read_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP_LABEL = "updates of the weights"
LOSS_LABEL = "loss (nats per target)"
LOWER_IS_BETTER = ("loss", "perplexity", "error", "rmse", "mae", "mse")
# Metrics of validation that stand in another picture already.
DRAWN_ELSEWHERE = ("val/loss",)


def loss_label(config: Mapping[str, Any]) -> str:
    """What the loss of a run counts: estimators have losses of their own."""
    if is_estimator(config):
        return "loss"
    squared = config["task"]["name"] in ("regression", "reconstruction")
    return "mean squared error" if squared else LOSS_LABEL


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
