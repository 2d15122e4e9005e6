"""Pictures of runs: what they show, and that they arrive whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scratchlab.evaluation.records import Records
from scratchlab.figures.bars import Bar, bars_figure
from scratchlab.figures.lines import Line, lines_with_bands
from scratchlab.figures.style import COLOURS, WIDTH_PIXELS, png
from scratchlab.reporting.plots import draw_curves, loss_figure, score_figure
from scratchlab.reporting.sink import FolderSink, NullSink
from scratchlab.tracking.contract import Tracker
from scratchlab.tracking.jsonl import curve


def entries() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in range(10, 101, 10):
        found.append({"step": step, "epoch": step / 50, "train/loss": 100 / step, "lr": 1e-3})
        if step % 50 == 0:
            scores = {"val/loss": 3.0 + step / 100, "val/bleu": float(step)}
            found.append({"step": step, "epoch": step / 50, **scores})
    return found


def write_run(folder: Path, lines: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in lines))
    return folder


def test_the_curves_of_a_run_are_one_readable_picture_each(tmp_path: Path) -> None:
    paths = draw_curves(write_run(tmp_path / "mt" / "r1", entries()))
    assert [p.name for p in paths] == ["loss.png", "learning_rate.png", "val_bleu.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width == WIDTH_PIXELS
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_a_run_without_metrics_has_no_pictures(tmp_path: Path) -> None:
    assert draw_curves(write_run(tmp_path / "run", [])) == []
    assert draw_curves(tmp_path) == []


def test_a_single_validation_is_a_point_in_the_loss_picture_and_no_curve_of_its_own(
    tmp_path: Path,
) -> None:
    lines = [{"step": 9, "epoch": 1.0, "val/loss": 0.5, "val/bleu": 80.0}]
    assert draw_curves(write_run(tmp_path / "mt" / "r1", lines)) == []
    trained = [{"step": s, "epoch": s / 9, "train/loss": 1 / s} for s in (3, 6)]
    paths = draw_curves(write_run(tmp_path / "mt" / "r2", [*trained, *lines]))
    assert [p.name for p in paths] == ["loss.png"]
    (axis,) = loss_figure(lines, "mt/r1").axes
    assert axis.get_xlabel().endswith("(1 epoch)")
    assert axis.texts[0].get_ha() == "right"


def test_the_loss_figure_holds_both_curves_and_marks_the_best_validation() -> None:
    figure = loss_figure(entries(), "mt/r1")
    (axis,) = figure.axes
    training, validation, best = axis.lines
    assert list(training.get_ydata()) == [100 / s for s in range(10, 101, 10)]
    assert list(zip(validation.get_xdata(), validation.get_ydata(), strict=True)) == [
        (50, 3.5),
        (100, 4.0),
    ]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (50, 3.5)
    assert axis.get_ylabel() == "loss (nats per target)"
    assert axis.get_xlabel() == "updates of the weights (2 epochs)"
    assert training.get_color() in COLOURS and validation.get_color() in COLOURS


def test_the_best_score_is_the_highest_bleu_and_the_lowest_perplexity() -> None:
    lines = [
        {"step": s, "val/bleu": b, "val/perplexity": b} for s, b in ((1, 5.0), (2, 9.0), (3, 7.0))
    ]
    for metric, step, arrow in (("bleu", 2, "↑"), ("perplexity", 1, "↓")):
        (axis,) = score_figure(lines, metric, "run").axes
        assert axis.lines[-1].get_xdata()[0] == step
        assert axis.get_ylabel().endswith(arrow)


def test_values_that_are_null_are_left_out_of_a_curve() -> None:
    lines = [{"step": 1, "x": 2.0}, {"step": 2, "x": None}, {"step": 3}, {"step": 4, "x": 1}]
    assert curve(lines, "x") == ([1, 4], [2.0, 1])


def test_bars_stand_in_the_order_given_with_their_values_from_zero() -> None:
    figure = bars_figure([Bar("greedy", 20.5), Bar("costs $5", 57.0)], "BLEU ↑", "Decoding")
    (axis,) = figure.axes
    assert [p.get_width() for p in axis.patches] == [20.5, 57.0]
    assert axis.yaxis_inverted() and axis.get_xlim()[0] == 0
    assert [t.get_text() for t in axis.texts] == ["20.50", "57.00"]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["greedy", r"costs \$5"]
    assert png(figure)[:4] == b"\x89PNG"


def test_values_that_lie_close_are_dots_with_their_intervals_on_a_scale_that_shows_them() -> None:
    rows = [Bar("a", 0.94, 0.92, 0.95, reference=0.93), Bar("b", 0.99, 0.975, 1.0)]
    (axis,) = bars_figure(rows, "accuracy ↑", "Digits").axes
    low, high = axis.get_xlim()
    assert 0.9 < low < 0.92 and 1.0 < high < 1.05 and not axis.patches
    dots, reference = axis.lines[0], axis.lines[-1]
    assert list(dots.get_xdata()) == [0.94, 0.99]
    whiskers = [c.get_segments()[0] for c in axis.collections]
    assert [[tuple(end) for end in line] for line in whiskers] == [
        [(0.92, 0), (0.95, 0)],
        [(0.975, 1), (1.0, 1)],
    ]
    # The stroke of a reference stays within its row.
    assert list(reference.get_xdata()) == [0.93, 0.93]
    assert min(reference.get_ydata()) > -0.5 and max(reference.get_ydata()) < 0.5


def test_a_long_title_stands_on_lines_that_the_picture_has_room_for() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    title = "a suite of which the name alone is long: " + "perplexity per token of " * 5
    figure = bars_figure([Bar("a row with a very long name of its own", 1.0)], "x", title)
    FigureCanvasAgg(figure).draw()
    box = figure._suptitle.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height


def test_more_lines_than_colours_still_differ() -> None:
    curves = {f"run {i}": Line([1, 2], [i + 1, 90 * i + 1], None, i) for i in range(14)}
    (axis,) = lines_with_bands(curves, "epoch", "loss", "Runs").axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axis.lines}
    assert len(looks) == len(curves)
    assert axis.get_yscale() == "log" and axis.get_xscale() == "linear"


class Watching(Tracker):
    def __init__(self) -> None:
        super().__init__(None)
        self.seen: list[Any] = []

    def start(self, run: Any) -> None: ...

    def log(self, step: int, scalars: Any, timing: Any) -> None: ...

    def image(self, step: int, name: str, path: Path) -> None:
        self.seen.append((step, name, path.read_bytes()[:4]))

    def table(self, name: str, columns: Any, rows: Any) -> None:
        self.seen.append((name, columns, rows))

    def finish(self, status: str) -> None: ...


def test_a_folder_gets_tables_pictures_and_outputs_and_the_tracker_sees_them(
    tmp_path: Path,
) -> None:
    tracker = Watching()
    sink = FolderSink(tmp_path, tracker, step=7)
    sink.table("samples", ("source",), [("a",)])
    curves = {"a": Line([1], [2], None, 0)}
    sink.figure("curve", lines_with_bands, curves, "x", "y", "One")
    records = Records("said", [0, 1])
    records.add({"said": ["é", "b\nc"]})
    written = sink.outputs(records)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    tables = ["tables/samples.csv", "tables/samples.md"]
    assert files == ["outputs/said.jsonl", "plots/curve.png", *tables]
    content = (tmp_path / "outputs/said.jsonl").read_bytes()
    lines = content.decode("utf-8").split("\n")
    assert list(map(json.loads, lines[:-1])) == [{"id": 0, "said": "é"}, {"id": 1, "said": "b\nc"}]
    assert written["sha256"] == hashlib.sha256(content).hexdigest()
    assert tracker.seen == [("samples", ("source",), [("a",)]), (7, "curve", b"\x89PNG")]


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be a file's name"):
        FolderSink(tmp_path).table("../x", ("a",), [])


def test_nowhere_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = NullSink()
    sink.table("t", ("a",), [(1,)])
    sink.figure("f", None)
    assert sink.outputs(Records("said", [])) == {}
    assert list(tmp_path.iterdir()) == []
