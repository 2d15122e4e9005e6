"""TensorBoard's curves, also those of a run that was interrupted."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from scratchlab.errors import MissingPackageError
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.tensorboard import TensorBoard


def started(folder: Path, resumed_from: int = 0) -> TensorBoard:
    tracker = TensorBoard(TensorBoard.Config())
    tracker.start(RunInfo("mt", "r1", folder, resumed_from=resumed_from))
    return tracker


def log_steps(tracker: TensorBoard, first: int, last: int) -> None:
    for step in range(first, last + 1):
        tracker.log(step, {"train/loss": 1 / step}, {"tokens_per_second": 100.0})


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {t: [(e.step, e.value) for e in events.Scalars(t)] for t in events.Tags()["scalars"]}


def test_a_resumed_run_continues_its_curves_without_gap_or_double_point(tmp_path: Path) -> None:
    killed = started(tmp_path)
    log_steps(killed, 1, 10)
    killed.flush()
    log_steps(killed, 11, 15)  # after the checkpoint: these steps are done again
    killed.flush()
    again = started(tmp_path, resumed_from=10)
    log_steps(again, 11, 20)
    again.finish("done")
    loss = curves(tmp_path)["train/loss"]
    assert [step for step, _ in loss] == list(range(1, 21))
    assert np.allclose([value for _, value in loss], [1 / s for s in range(1, 21)])


def test_a_run_that_starts_anew_in_its_folder_shows_only_the_new_curve(tmp_path: Path) -> None:
    first = started(tmp_path)
    log_steps(first, 1, 9)
    first.finish("failed")
    second = started(tmp_path)
    log_steps(second, 1, 4)
    second.finish("done")
    assert [step for step, _ in curves(tmp_path)["timing/tokens_per_second"]] == [1, 2, 3, 4]


def test_pictures_and_tables_arrive(tmp_path: Path) -> None:
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Image.new("RGBA", (8, 6), (255, 0, 0, 255)).save(tmp_path / "map.png")
    tracker = started(tmp_path)
    tracker.image(3, "attention", tmp_path / "map.png")
    tracker.table("results", ["metric", "value"], [["a|b", 41.5], ["none", None]])
    tracker.finish("done")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (image,) = events.Images("attention")
    assert (image.step, image.width, image.height) == (3, 8, 6)
    (text,) = events.Tensors("results/text_summary")
    assert b"| a\\|b | 41.5 |" in text.tensor_proto.string_val[0]


def test_without_the_package_there_is_one_line_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(MissingPackageError, match="pip install tensorboard"):
        started(tmp_path)
