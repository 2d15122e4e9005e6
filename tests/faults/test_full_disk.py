"""A disk that is full for a while costs nothing; one that stays full is never called done."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import compose
from scratchlab.errors import UserError, system_reason
from scratchlab.lab import train as experiment
from scratchlab.run.record import log_file
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.guard import Trackers
from scratchlab.tracking.jsonl import Jsonl, read_lines


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    path = disk / "filling"
    with path.open("ab", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    return path


def started(folder: Path) -> Trackers:
    trackers = Trackers([Jsonl(Jsonl.Config())])
    trackers.start(RunInfo("name", "id", folder))
    return trackers


def test_metrics_logged_while_the_disk_is_full_are_written_when_there_is_room(
    small_disk: Path,
) -> None:
    trackers = started(small_disk)
    trackers.log(1, {"loss": 3.0}, {"seconds": 1.0})
    filling = fill(small_disk)
    for step in range(2, 300):  # more than the rest of the file's last block
        trackers.log(step, {"loss": 1 / step}, {"seconds": 1.0 * step})
    written = read_lines(small_disk / "metrics.jsonl")
    assert 1 <= len(written) < 299
    filling.unlink()
    trackers.log(300, {"loss": 0.5}, {"seconds": 300.0})
    trackers.finish("done")
    for name in ("metrics.jsonl", "timings.jsonl"):
        assert [e["step"] for e in read_lines(small_disk / name)] == list(range(1, 301))


def test_a_checkpoint_is_not_written_and_a_run_not_done_while_metrics_wait(
    small_disk: Path,
) -> None:
    trackers = started(small_disk)
    fill(small_disk)
    for step in range(1, 300):
        trackers.log(step, {"loss": 1 / step}, {})
    with pytest.raises(UserError, match=r"Cannot write .*metrics\.jsonl: the disk is full"):
        trackers.flush()
    with pytest.raises(UserError, match="the disk is full"):
        trackers.finish("done")
    trackers.finish("failed")


def test_a_run_on_a_disk_that_fills_up_goes_on_once_there_is_room(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "model=logistic",
        "dataset=wine_cultivars",
        "model.epochs=400",
        "trainer.checkpoint_every=50",
    ]
    words += ["tracker=[jsonl]", "name=x", "run_id=one", "resume=true"]
    log = Jsonl.log
    filled: list[Path] = []

    def logged(self: Jsonl, step: int, *values: Any) -> None:
        if step == 120 and not filled:
            filled.append(fill(small_disk))
        log(self, step, *values)

    monkeypatch.setattr(Jsonl, "log", logged)
    config = compose([*words, f"output_dir={small_disk}"]).config
    with pytest.raises(UserError, match="the disk is full"):
        experiment.train(config, [], ["train"])
    filled[0].unlink()
    run = experiment.train(config, [], ["train"])
    whole = experiment.train(compose([*words, f"output_dir={tmp_path}"]).config, [], ["train"])
    assert json.loads((run / "status.json").read_text())["status"] == "done"
    for name in ("metrics.jsonl", "results.json", "checkpoints/last/model.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_log_without_room_says_nothing_and_its_lines_come_later(
    small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("scratchlab")
    filling = None
    with log_file(small_disk / "train.log"):
        filling = fill(small_disk)
        logger.info("while it was full")
        filling.unlink()
        logger.info("with room again")
    assert "while it was full" in (small_disk / "train.log").read_text()
    fill(small_disk)
    with log_file(small_disk / "other.log"):
        logger.info("never written")
    assert capfd.readouterr().err == ""


def test_a_reason_is_never_none() -> None:
    assert system_reason(OSError("3 requested and 0 written")) == "3 requested and 0 written"
    assert system_reason(OSError()) == "OSError"
    assert system_reason(FileNotFoundError(2, "No such file")) == "No such file"
