"""Two figures of several runs against each other."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from scratchlab.evaluation.contract import Measurement
from scratchlab.figures.scatter import Point, ScatterAxis, scatter_figure
from scratchlab.figures.style import png
from scratchlab.reporting.comparison_pictures import Scatter, write_scatter
from scratchlab.reporting.scores import Score, within_bounds

# Fifteen runs of which many nearly coincide, as quantized models do.
CROWD = {
    "fp32": (513.0, 21.1), "int8 absmax per channel": (129, 21.15),
    "int8 absmax per tensor": (128.5, 21.9), "int8 zero-point per channel": (130, 21.14),
    "int8 zero-point per tensor": (128.6, 21.6), "int8 dequantized": (129, 21.15),
    "int8 MLP only": (250, 21.13), "int8 attention only": (430, 21.12),
    "int8 first half of the layers": (330, 21.13), "NF4": (95, 23.1), "NF4 double": (88, 23.2),
    "bitsandbytes int8": (240, 21.3), "bitsandbytes FP4": (98, 25.2),
    "bitsandbytes NF4": (95, 23.1), "bitsandbytes NF4 double": (88, 23.2),
}  # fmt: skip
SIZE = ScatterAxis("memory_size", "bytes", "lower")
PERPLEXITY = ScatterAxis("perplexity", "per token", "lower")


def score(value: float, unit: str = "", better: str = "lower") -> Score:
    return Score((value,), Measurement("any", value, unit, better))


def boxes(figure: Any) -> dict[str, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    return {t.get_text(): t.get_window_extent(renderer) for t in figure.axes[0].texts}


def test_names_hide_neither_each_other_nor_the_axes_and_those_of_one_spot_stand_together() -> None:
    points = [Point(name, x * 2**20, y) for name, (x, y) in CROWD.items()]
    figure = scatter_figure(points, SIZE, PERPLEXITY, "what bits cost")
    found = boxes(figure)
    assert sorted(n for text in found for n in text.split("\n")) == sorted(CROWD)
    assert "NF4\nbitsandbytes NF4" in found
    for (one, a), (other, b) in combinations(found.items(), 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(width, height) < 2, (one, other)  # pixels
    axis = figure.axes[0]
    frame = axis.get_window_extent()
    for name, box in found.items():
        assert box.x0 > frame.x0 - 20 and box.x1 < frame.x1 + 2 and box.y0 > frame.y0 - 2, name
    assert axis.get_xlabel() == "memory size (MiB) ↓"
    assert axis.get_ylabel() == "perplexity (per token) ↓"
    assert png(figure) == png(scatter_figure(points, SIZE, PERPLEXITY, "what bits cost"))


def test_runs_without_cost_are_level_lines_and_no_place_on_a_log_axis_is_said(
    tmp_path: Path,
) -> None:
    labels = ["zero-shot", "LoRA", "full", "nothing"]
    figures = [
        {"trained": score(trained), "rougeL": score(rouge, "", "higher")}
        for trained, rouge in ((0, 0.16), (1e5, 0.27), (1e8, 0.28), (0, 0.1))
    ]
    picture = Scatter("cost", "trained", "rougeL", ("x",), ("zero-shot",))
    missing = write_scatter(tmp_path, "suite", labels, figures, picture)
    assert missing == ["scatter cost: nothing has no place (trained 0, rougeL 0.1000)"]
    assert (tmp_path / "plots/scatter_cost.png").read_bytes().startswith(b"\x89PNG")
    figure = scatter_figure(
        [Point("LoRA", 1e5, 0.27), Point("full", 1e8, 0.28)],
        ScatterAxis("trained", "", "lower"),
        ScatterAxis("rougeL", "", "higher"),
        "",
        log=("x",),
        lines=[Point("zero-shot", 0, 0.16)],
    )
    axis = figure.axes[0]
    assert axis.get_xscale() == "log" and axis.get_yscale() == "linear"
    assert axis.get_ylim()[0] < 0.16 and "zero-shot" in boxes(figure)


@pytest.mark.parametrize(("x", "y"), [("sise", "perplexity"), ("size", "perplexty")])
def test_a_metric_that_nobody_measured_is_named_with_the_nearest(
    tmp_path: Path, x: str, y: str
) -> None:
    figures = [{"size": score(1), "perplexity": score(2)}] * 2
    missing = write_scatter(tmp_path, "suite", ["a", "b"], figures, Scatter("p", x, y))
    wrong, right = ("sise", "size") if x == "sise" else ("perplexty", "perplexity")
    assert missing == [
        f"scatter p: no run measured {wrong!r}. Did you mean {right!r}? "
        "Measured were: perplexity, size."
    ]
    assert not (tmp_path / "plots").exists()


def test_whiskers_end_where_the_score_does() -> None:
    near = Score((0.99, 1.0, 0.91), Measurement("accuracy", 0.99))
    below, above = within_bounds(near, near.std) or (0, 0)
    assert near.mean + above == pytest.approx(1.0) and below == near.std
    few = Score((0.1, 3.9), Measurement("bleu", 0.1))
    assert within_bounds(few, few.std) == (few.mean, few.std)
    assert within_bounds(few, None) is None
