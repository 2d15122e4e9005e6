"""Damaged checkpoints, full disks, folders without permission, too little memory, broken losses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scratchlab.run.checkpoint import verify

STEPS = 12
SHORT = [f"trainer.max_steps={STEPS}", "trainer.log_every=1", "trainer.checkpoint_every=4"]


def step(checkpoint: Path) -> int:
    """The update of a checkpoint all of whose files are as they were saved."""
    return verify(checkpoint)["state"]["step"]


@dataclass(frozen=True)
class Whole:
    """A run of twelve updates that nothing happened to, and its words without a run_id."""

    run: Path
    words: list[str]

    def assert_equal(self, run: Path) -> None:
        for name in ("metrics.jsonl", "results.json", "checkpoints/last/model.safetensors"):
            assert (run / name).read_bytes() == (self.run / name).read_bytes(), name


@pytest.fixture(scope="module")
def whole(launcher: Any, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Whole:
    cwd = tmp_path_factory.mktemp("whole")
    words = ["train", *tiny, *SHORT]
    done = launcher.run(*words, "run_id=whole", cwd=cwd)
    assert done.code == 0, done.err
    return Whole(cwd / "outputs/tiny/whole", words)


@pytest.fixture
def copy(whole: Whole, tmp_path: Path) -> Path:
    """A copy of the run, to be spoilt."""
    return Path(shutil.copytree(whole.run, tmp_path / "outputs/tiny/copy"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "file"),
    [
        (truncate, "model.safetensors"),
        (flip_a_bit, "optimizer.safetensors"),
        (flip_a_bit, "state.json"),
        (os.unlink, "config.yaml"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    launcher: Any, whole: Whole, copy: Path, harm: Callable[[Path], None], file: str
) -> None:
    for role in ("last", "best"):  # both of the last update
        harm(copy / "checkpoints" / role / file)
    done = launcher.run("train", f"resume={copy}", cwd=copy.parent)
    assert done.code == 0, done.err
    assert "goes on from update 8 (previous)" in done.err
    named = [line for line in done.err.splitlines() if "is damaged" in line]
    for role in ("last", "best"):
        path = copy / "checkpoints" / role
        assert any(str(path) in line and file in line for line in named), done.err
    assert "Traceback" not in done.err
    whole.assert_equal(copy)


def test_where_every_checkpoint_is_damaged_the_run_does_not_go_on(
    launcher: Any, copy: Path
) -> None:
    for folder in (copy / "checkpoints").iterdir():
        flip_a_bit(folder / "model.safetensors")
    message = launcher.run("train", f"resume={copy}", cwd=copy.parent).refused()
    assert f"every checkpoint in {copy / 'checkpoints'} is damaged" in message


def test_a_damaged_checkpoint_is_not_measured_and_others_are_offered(
    launcher: Any, copy: Path
) -> None:
    flip_a_bit(copy / "checkpoints/best/model.safetensors")
    message = launcher.run("eval", str(copy), cwd=copy.parent).refused()
    assert f"{copy / 'checkpoints/best'} is damaged: model.safetensors" in message
    assert "Others of this run: last, previous (evaluate_checkpoint=last)" in message
    done = launcher.run("eval", str(copy), "evaluate_checkpoint=last", cwd=copy.parent)
    assert done.code == 0, done.err


def test_a_file_that_cannot_grow_is_one_line_and_costs_no_earlier_checkpoint(
    launcher: Any, whole: Whole, tmp_path: Path
) -> None:
    words = [*whole.words, "run_id=full"]
    run = tmp_path / "outputs/tiny/full"
    command = launcher.start(*words, cwd=tmp_path)
    assert command.wait_until((run / "checkpoints/last").exists)
    command.signal(9)
    command.wait()
    before = step(run / "checkpoints/last")
    # Logs and the configuration fit; the weights do not.
    done = launcher.run("train", f"resume={run}", cwd=tmp_path, limits={"file": 20_000})
    message = done.refused()
    assert f"Cannot write {run / 'checkpoints/last'}: the file is larger than allowed" in message
    assert step(run / "checkpoints/last") == before
    assert not list(run.glob("checkpoints/.*"))
    assert json.loads((run / "status.json").read_text())["status"] == "failed"
    assert launcher.run("train", f"resume={run}", cwd=tmp_path).code == 0
    whole.assert_equal(run)


def test_a_full_disk_is_one_line_and_costs_no_earlier_checkpoint(
    launcher: Any, whole: Whole, tmp_path: Path, small_disk: Path
) -> None:
    words = [*whole.words, "run_id=full", f"output_dir={small_disk}", "trainer.keep_every=1"]
    message = launcher.run(*words, cwd=tmp_path).refused()
    assert "the disk is full" in message and len(message.split("error: ")) == 2, message
    kept = sorted((small_disk / "tiny/full/checkpoints").glob("[!.]*"))
    assert {"last", "step-1", "step-2"} <= {p.name for p in kept}
    assert all(step(p) >= 1 for p in kept)
    for path in kept[1:]:
        shutil.rmtree(path)  # room is made
    assert kept[0].name == "last"
    run = kept[0].parents[1]
    more = ["trainer.keep_every=null"]
    done = launcher.run("train", f"resume={run}", *more, cwd=tmp_path)
    assert done.code == 0, done.err
    whole.assert_equal(run)


def test_a_folder_without_permission_is_one_line_and_nothing_is_lost(
    launcher: Any, whole: Whole, copy: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    words = [*whole.words, f"output_dir={locked}"]
    message = launcher.run(*words, cwd=tmp_path, powerless=True).refused()
    assert "cannot be made: Permission denied" in message and "output_dir=FOLDER" in message
    (copy / "checkpoints").chmod(0o555)
    more = ["train", f"resume={copy}", "trainer.max_steps=14", "scheduler=constant"]
    message = launcher.run(*more, cwd=tmp_path, powerless=True).refused()
    assert f"Cannot write {copy / 'checkpoints/last'}: permission denied" in message
    assert step(copy / "checkpoints/last") == STEPS
    (copy / "checkpoints").chmod(0o755)


def test_a_run_that_may_only_be_read_is_measured_into_the_current_folder(
    launcher: Any, copy: Path, tmp_path: Path
) -> None:
    copy.chmod(0o555)
    here = tmp_path / "here"
    here.mkdir()
    done = launcher.run("eval", str(copy), cwd=here, powerless=True)
    copy.chmod(0o755)
    assert done.code == 0, done.err
    assert (here / "evaluations/latest/results.json").is_file()
    assert "written to" in done.err


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_broken_loss_stops_with_update_learning_rate_and_advice(
    launcher: Any, whole: Whole, tmp_path: Path, optimizer: str
) -> None:
    words = [*whole.words, "run_id=bad", f"optimizer={optimizer}", "optimizer.lr=1e30"]
    words += ["trainer.clip_norm=null", "scheduler=constant", "scheduler.warmup=0.0"]
    done = launcher.run(*words, cwd=tmp_path)
    assert done.code == 1 and "Traceback" not in done.err
    assert "error: the loss of update 2 is nan" in done.err
    assert "learning rate there 1e+30" in done.err
    assert "optimizer.lr=1e+29" in done.err and "trainer.clip_norm=1.0" in done.err
    run = tmp_path / "outputs/tiny/bad"
    assert json.loads((run / "status.json").read_text())["status"] == "failed"
    assert not (run / "checkpoints/last").exists()  # of weights that are no numbers


def test_a_loss_that_breaks_later_keeps_the_checkpoints_from_before(
    launcher: Any, copy: Path, tmp_path: Path
) -> None:
    more = ["trainer.max_steps=40", "optimizer.lr=1e30", "scheduler=constant"]
    done = launcher.run("train", f"resume={copy}", *more, cwd=tmp_path)
    assert done.code == 1 and f"the loss of update {STEPS + 2} is nan" in done.err
    assert step(copy / "checkpoints/last") == STEPS


def test_running_out_of_memory_says_what_to_change_and_by_how_much(
    launcher: Any, whole: Whole, tmp_path: Path
) -> None:
    big = ["dataset.batch_tokens=20000", "model.d_ff=4096"]
    limits = {"memory": 200 << 20}
    done = launcher.run(*whole.words, *big, "run_id=big", cwd=tmp_path, limits=limits)
    assert done.code == 1 and "Traceback" not in done.err
    assert "error: out of memory in update 1: there was no room for " in done.err
    assert "Try dataset.batch_tokens=10000 trainer.accumulate=2: half the memory" in done.err
    status = json.loads((tmp_path / "outputs/tiny/big/status.json").read_text())
    assert status["status"] == "failed" and "out of memory" in status["reason"][0]
    # The failed run is in nobody's way.
    again = [*whole.words, "run_id=big", "dataset.batch_tokens=128", "trainer.accumulate=2"]
    assert launcher.run(*again, cwd=tmp_path).code == 0


def test_runs_that_start_in_the_same_second_do_not_collide(
    launcher: Any, whole: Whole, tmp_path: Path
) -> None:
    words = [w for w in whole.words if not w.startswith("run_id")]
    started = [launcher.start(*words, cwd=tmp_path) for _ in range(2)]
    assert [command.wait().code for command in started] == [0, 0]
    runs = [p for p in (tmp_path / "outputs/tiny").iterdir() if not p.is_symlink()]
    assert len(runs) == 2
    for run in runs:
        whole.assert_equal(run)


def test_two_processes_do_not_train_into_the_same_folder(
    launcher: Any, whole: Whole, copy: Path
) -> None:
    more = ["trainer.max_steps=1000000", "scheduler=constant"]
    first = launcher.start("train", f"resume={copy}", *more, cwd=copy.parent)
    assert first.wait_until(lambda: step_or_zero(copy / "checkpoints/last") > STEPS)
    message = launcher.run("train", f"resume={copy}", cwd=copy.parent).refused()
    assert f"{copy} is in use by another process" in message
    first.signal(9)
    first.wait()


def step_or_zero(checkpoint: Path) -> int:
    try:
        return json.loads((checkpoint / "state.json").read_text())["state"]["step"]
    except OSError:
        return 0


def test_a_command_with_a_mistake_may_be_repeated_and_takes_no_place(
    launcher: Any, whole: Whole, copy: Path
) -> None:
    cwd = copy.parents[2]
    (copy.parent / "latest").symlink_to("copy")
    words = [*whole.words, "run_id=again"]
    message = launcher.run(*words, "init_from=nowhere", cwd=cwd).refused()
    assert "there is no run 'nowhere'" in message
    assert (copy.parent / "latest").resolve() == copy
    done = launcher.run(*words, cwd=cwd)
    assert done.code == 0, done.err
    assert (copy.parent / "latest").resolve().name == "again"
    message = launcher.run(*words, cwd=cwd).refused()
    assert "exists already" in message and "resume=true" in message
