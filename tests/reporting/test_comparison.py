"""Several runs in one picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab.figure_style import colour
from scratchlab.reporting.comparison import Compared, curves_figure


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
