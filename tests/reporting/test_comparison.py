"""Several runs in one picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab.evaluation.contract import Measurement
from scratchlab.figure_style import colour
from scratchlab.reporting.comparison import Compared, write_comparison
from scratchlab.reporting.comparison_figures import curves_figure
from scratchlab.reporting.plots import Bar, bars_figure
from scratchlab.reporting.results import write_results


def row(label: str, *folders: Path) -> Compared:
    return Compared(label=label, folders=folders)


def run(folder: Path, losses: Sequence[float], step: int = 1) -> Path:
    lines: list[dict[str, Any]] = [
        {"step": step * (i + 1), "epoch": i + 1, "train/loss": loss}
        for i, loss in enumerate(losses)
    ]
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in lines))
    return folder


def test_curves_of_estimators_count_epochs_and_leave_out_models_made_in_one_step(
    tmp_path: Path,
) -> None:
    rows = [
        row("MLP", run(tmp_path / "a0", [3.0, 2.0, 1.0]), run(tmp_path / "a1", [5.0, 4.0, 2.0])),
        row("forest", run(tmp_path / "b", [0.2])),
    ]
    figure = curves_figure("wine", rows, "train/loss")
    assert figure is not None
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == ["MLP"]
    assert list(axis.lines[0].get_ydata()) == [4.0, 3.0, 1.5]
    assert axis.get_xlabel() == "epochs"
    assert axis.get_ylabel() == "loss ↓"


def test_curves_of_trained_networks_count_updates_and_name_the_unit(tmp_path: Path) -> None:
    rows = [row("gpt", run(tmp_path / "a", [3.0, 2.0], step=50))]
    figure = curves_figure("text", rows, "train/loss")
    assert figure is not None
    (axis,) = figure.axes
    assert axis.get_xlabel() == "updates of the weights"
    assert axis.get_ylabel() == "loss (nats per target) ↓"


def test_no_picture_is_made_of_single_points(tmp_path: Path) -> None:
    assert curves_figure("text", [row("forest", run(tmp_path / "a", [3.0]))], "train/loss") is None


def test_a_row_keeps_its_colour_where_another_has_no_line(tmp_path: Path) -> None:
    rows = [
        row("5-gram", run(tmp_path / "a", [3.0])),
        row("LSTM", run(tmp_path / "b", [3.0, 2.0], step=50)),
    ]
    figure = curves_figure("text", rows, "train/loss")
    assert figure is not None
    assert figure.axes[0].lines[0].get_color() == colour(1)


def measured(folder: Path, *measurements: Measurement) -> Path:
    write_results(folder, measurements)
    return folder


def test_one_seed_keeps_the_spread_that_its_evaluator_gave(tmp_path: Path) -> None:
    half = {"spread": "95 % interval, half width"}
    rows = []
    for name, value in (("before", 21.4), ("after", 28.3)):
        score = Measurement("rouge1", value, "%", spread=3.3, settings=half)
        rows.append(row(name, measured(tmp_path / name, score)))
    write_comparison(tmp_path / "all", "summaries", rows)
    assert "28.30 ± 3.30" in (tmp_path / "all/tables/comparison.md").read_text()
    lines = list(csv.DictReader((tmp_path / "all/tables/comparison.csv").open()))
    assert [line["std"] for line in lines] == ["", ""]  # no second seed, so no deviation over seeds
    assert {line["spread_meaning"] for line in lines} == {"± 95 % interval, half width"}


def test_with_several_seeds_the_spread_is_the_deviation_over_them(tmp_path: Path) -> None:
    folders = [
        measured(tmp_path / str(value), Measurement("rouge1", value, "%", spread=9.0))
        for value in (20.0, 22.0)
    ]
    write_comparison(tmp_path / "all", "summaries", [row("after", *folders)])
    assert "21 ± 1" in (tmp_path / "all/tables/comparison.md").read_text()


def test_bars_of_bytes_are_in_the_unit_of_the_largest(tmp_path: Path, monkeypatch: Any) -> None:
    drawn: list[tuple[list[Bar], str]] = []

    def draw(bars: Sequence[Bar], label: str, title: str) -> Any:
        drawn.append((list(bars), label))
        return bars_figure(bars, label, title)

    monkeypatch.setattr("scratchlab.reporting.comparison_figures.bars_figure", draw)
    rows = [
        row(name, measured(tmp_path / name, Measurement("size", value, "bytes", "lower")))
        for name, value in (("small", 2**19), ("large", 3 * 2**20))
    ]
    write_comparison(tmp_path / "all", "sizes", rows)
    ((bars, label),) = drawn
    assert [bar.value for bar in bars] == [0.5, 3.0]
    assert label == "size (MiB) ↓"


def test_of_the_rows_of_a_choice_the_one_that_validates_best_is_marked(tmp_path: Path) -> None:
    def validated(name: str, losses: Sequence[float], accuracy: float) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lines = [{"step": i, "epoch": i, "val/loss": loss} for i, loss in enumerate(losses, 1)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in lines))
        write_results(folder, [Measurement("accuracy", accuracy, split="test")])
        return folder

    # "b" is best in the test and "a" in validation (its second epoch); "other" is no candidate.
    a = Compared("a", [validated("a0", [0.9, 0.2, 0.7], 0.5)], choice="rate")
    b = Compared("b", [validated("b0", [0.5, 0.4], 0.9)], choice="rate")
    other = Compared("other", [validated("c0", [0.1], 0.7)])
    found = write_comparison(tmp_path / "out", "rates", [a, b, other])
    _, columns, rows = found.tables[0]
    assert columns[-2:] == ("least val/loss ↓", "chosen by it")
    assert [line[-2:] for line in rows] == [("0.2000", "yes"), ("0.4000", ""), ("", "")]
    assert json.loads((tmp_path / "out" / "choices.json").read_text()) == {
        "rate": {"by": "least val/loss", "tried": {"a": 0.2, "b": 0.4}, "chosen": "a"}
    }
    # While one candidate has not ended, nothing is chosen.
    unfinished = [a, Compared("b", [], choice="rate")]
    rows = write_comparison(tmp_path / "x", "rates", unfinished).tables[0][2]
    assert [line[-1] for line in rows] == ["", ""]
