"""metrics.jsonl: nothing missing, nothing doubled, exact numbers."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from scratchlab.errors import UserError
from scratchlab.tracking import jsonl
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.jsonl import Jsonl


def started(folder: Path, resumed_from: int = 0, metrics_bytes: int = 0) -> Jsonl:
    tracker = Jsonl(Jsonl.Config())
    tracker.start(
        RunInfo("name", "id", folder, resumed_from=resumed_from, metrics_bytes=metrics_bytes)
    )
    return tracker


def log_steps(tracker: Jsonl, first: int, last: int) -> None:
    for step in range(first, last + 1):
        tracker.log(step, {"train/loss": 1 / step, "epoch": step / 3}, {"tokens_per_second": step})


def test_a_line_starts_with_step_and_epoch_and_keeps_the_exact_number(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.log(7, {"train/loss": 0.1 + 0.2, "epoch": 0.5, "targets": 12}, {"seconds": 1.25})
    tracker.finish("done")
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"step": 7, "epoch": 0.5, "train/loss": 0.30000000000000004, "targets": 12}\n'
    )
    assert (tmp_path / "timings.jsonl").read_text() == '{"step": 7, "seconds": 1.25}\n'


def test_scalars_of_numpy_and_torch_are_written_as_numbers_and_nan_as_null(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.log(
        1, {"a": np.float64(0.1), "b": torch.tensor(2.5), "c": float("nan"), "d": np.int64(3)}, {}
    )
    tracker.finish("done")
    (entry,) = jsonl.read_lines(tmp_path / "metrics.jsonl")
    assert entry == {"step": 1, "a": 0.1, "b": 2.5, "c": None, "d": 3.0}


def test_a_run_killed_after_a_checkpoint_and_resumed_equals_an_uninterrupted_one(
    tmp_path: Path,
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    tracker = started(whole)
    log_steps(tracker, 1, 20)
    tracker.finish("done")

    killed = started(broken)
    log_steps(killed, 1, 10)
    killed.flush()
    at_checkpoint = (broken / "metrics.jsonl").stat().st_size
    log_steps(killed, 11, 13)  # lost with the process
    with (broken / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 14, "ep')
    again = started(broken, resumed_from=10, metrics_bytes=at_checkpoint)
    log_steps(again, 11, 20)
    again.finish("done")

    for name in ("metrics.jsonl", "timings.jsonl"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_that_starts_anew_in_its_folder_forgets_all_lines(tmp_path: Path) -> None:
    log_steps(started(tmp_path), 1, 3)
    log_steps(started(tmp_path), 1, 2)
    for name in ("metrics.jsonl", "timings.jsonl"):
        assert [e["step"] for e in jsonl.read_lines(tmp_path / name)] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [b'{"step": 2, oops\n', b'{"step": "2"}\n', b'{"step": 2, "loss": "x"}\n', b"\xff\n", b"\n"],
)
def test_a_damaged_line_is_named_and_a_torn_last_one_is_not(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 1.5}\n' + line + b'{"step": 3, "loss": null}\n{"st')
    with pytest.warns(UserWarning, match=r"metrics\.jsonl, line 2, is damaged and left out"):
        assert [e["step"] for e in jsonl.read_lines(path)] == [1, 3]
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2, is damaged"):
        jsonl.read_lines(path, whole=True)


def test_a_file_shorter_than_at_the_checkpoint_is_kept_readable_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log_steps(started(tmp_path), 1, 3)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    log_steps(started(tmp_path, resumed_from=5, metrics_bytes=1000), 6, 6)
    assert [e["step"] for e in jsonl.read_lines(path)] == [1, 2, 6]
    assert "lacks" in caplog.text
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = started(tmp_path)
    log_steps(tracker, 1, 2)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert tracker._metrics is not None
    real = tracker._metrics._file

    class Filling:
        """A disk with room for nine more bytes."""

        def __init__(self) -> None:
            self.room = 9

        def fileno(self) -> int:
            return real.fileno()

        def write(self, data: bytes) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = real.write(data[: self.room])
            self.room -= written
            return written

    monkeypatch.setattr(tracker._metrics, "_file", Filling())
    log_steps(tracker, 3, 3)
    with pytest.raises(UserError, match=r"metrics\.jsonl: the disk is full"):
        tracker.flush()
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_flush_brings_both_files_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = started(tmp_path)
    log_steps(tracker, 1, 1)
    synced: list[str] = []
    monkeypatch.setattr(
        jsonl.os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").resolve().name)
    )
    tracker.flush()
    assert synced == ["metrics.jsonl", "timings.jsonl"]
