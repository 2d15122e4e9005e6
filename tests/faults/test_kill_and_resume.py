"""Runs that are killed or interrupted end, once resumed, with the bits of runs left alone."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

STEPS = 40
LONG = [
    f"trainer.max_steps={STEPS}",
    "trainer.log_every=1",
    "trainer.validate_every=8",
    "trainer.checkpoint_every=3",
    "trainer.keep_every=16",
    "model.dropout=0.1",
]
# Files that hold no times and so must be equal byte for byte.
COMPARED = [
    "metrics.jsonl",
    "results.json",
    "checkpoints/last/model.safetensors",
    "checkpoints/last/optimizer.safetensors",
    "checkpoints/best/model.safetensors",
    "checkpoints/best/optimizer.safetensors",
    "checkpoints/step-16/model.safetensors",
]


def assert_same_bits(run: Path, whole: Path) -> None:
    for name in COMPARED:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    validations = list(range(8, STEPS + 1, 8))
    assert steps == sorted([*range(1, STEPS + 1), *validations])
    assert json.loads((run / "status.json").read_text())["status"] == "done"


def lines(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at_random_moment(command: Any, run: Path, chance: random.Random, kind: str) -> bool:
    """SIGKILL the command at a moment of the given kind; False if it ended before."""
    if kind == "checkpoint":
        skip = chance.randrange(3)  # checkpoints to let pass
        for _ in range(skip):
            command.wait_until(lambda: any(run.glob("checkpoints/.incoming-*")))
            command.wait_until(lambda: not any(run.glob("checkpoints/.incoming-*")))
        found = command.wait_until(lambda: any(run.glob("checkpoints/.incoming-*")))
        time.sleep(chance.uniform(0, 0.01))
    elif kind == "start":
        found = command.wait_until((run / "config.yaml").exists)
        time.sleep(chance.uniform(0, 0.2))
    elif kind == "evaluation":
        found = command.wait_until(lambda: lines(run) >= STEPS + STEPS // 8)
    else:
        wanted = lines(run) + chance.randint(1, 9)
        found = command.wait_until(lambda: lines(run) >= wanted)
        time.sleep(chance.uniform(0, 0.02))
    if found and command.running():
        command.signal(signal.SIGKILL)
    return command.wait().code == -signal.SIGKILL


VARIANTS = {
    "plain": [],
    "accumulated and averaged": ["trainer.accumulate=2", "trainer.average=0.9"],
}


@pytest.mark.parametrize(
    "variant", ["accumulated and averaged", pytest.param("plain", marks=pytest.mark.slow)]
)
def test_a_run_killed_ten_times_ends_with_the_same_bits(
    launcher: Any, tiny: list[str], tmp_path: Path, variant: str
) -> None:
    words = ["train", *tiny, *LONG, *VARIANTS[variant]]
    assert launcher.run(*words, "run_id=whole", cwd=tmp_path).code == 0
    whole, run = (tmp_path / "outputs/tiny" / name for name in ("whole", "killed"))
    chance = random.Random(variant)
    kinds = ["start", *(["update", "checkpoint"] * 4), "evaluation"]
    command = launcher.start(*words, "run_id=killed", cwd=tmp_path)
    killed = []
    for kind in kinds:
        if kill_at_random_moment(command, run, chance, kind):
            killed.append(kind)
        command = launcher.start("train", f"resume={run}", cwd=tmp_path)
    done = command.wait()
    assert done.code == 0, done.err
    # A quick run may be over before the last moments come; most must have been met.
    assert len(killed) >= 6 and "checkpoint" in killed, killed
    assert_same_bits(run, whole)


@pytest.mark.slow
def test_a_process_killed_while_it_writes_a_checkpoint_leaves_one_to_go_on_from(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    words = ["train", *tiny, *LONG, "trainer.checkpoint_every=1"]
    run = tmp_path / "outputs/tiny/torn"
    caught = 0
    command = launcher.start(*words, "run_id=torn", cwd=tmp_path)
    command.wait_until((run / "checkpoints/last").exists)
    for _ in range(200):
        # Frozen, not killed, so that it is certain that the folder was being written.
        if not command.wait_until(lambda: any(run.glob("checkpoints/.incoming-*"))):
            break
        command.signal(signal.SIGSTOP)
        time.sleep(0.005)
        if any(run.glob("checkpoints/.incoming-*")):
            caught += 1
            command.signal(signal.SIGKILL)
            break
        command.signal(signal.SIGCONT)
    assert caught == 1, "the command was never met in the middle of a checkpoint"
    command.wait()
    assert launcher.run("train", f"resume={run}", cwd=tmp_path).code == 0
    assert not list(run.glob("checkpoints/.*")), "remains of the torn checkpoint"
    assert launcher.run(*words, "run_id=whole", cwd=tmp_path).code == 0
    assert_same_bits(run, tmp_path / "outputs/tiny/whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_saves_stops_and_says_how_to_go_on(
    launcher: Any, tiny: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    words = ["train", *tiny, *LONG]
    run = tmp_path / "outputs/tiny/asked"
    command = launcher.start(*words, "run_id=asked", cwd=tmp_path)
    assert command.wait_until(lambda: lines(run) >= 5)
    command.signal(number)
    done = command.wait()
    assert done.code == 130, done.err
    assert f"stopped by {number.name}; a checkpoint is saved" in done.err
    assert "Traceback" not in done.err
    assert json.loads((run / "status.json").read_text())["status"] == "stopped"
    printed = done.err.strip().splitlines()[-1].split()
    assert printed[:2] == ["scratchlab", "train"] and len(printed) == 3
    assert launcher.run(*printed[1:], cwd=tmp_path).code == 0
    assert launcher.run(*words, "run_id=whole", cwd=tmp_path).code == 0
    assert_same_bits(run, tmp_path / "outputs/tiny/whole")


def test_a_signal_before_the_first_update_is_written_down_too(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "outputs/tiny/early"
    # A vocabulary that nobody has prepared yet takes a while to make.
    words = ["train", *tiny, "run_id=early", "dataset.vocab_size=2000", "dataset.train_pairs=20000"]
    environment = {"SCRATCHLAB_CACHE": str(tmp_path / "empty")}
    command = launcher.start(*words, cwd=tmp_path, environment=environment)
    assert command.wait_until((run / "status.json").exists)
    command.signal(signal.SIGTERM)
    done = command.wait()
    assert done.code == 130, done.err
    assert "before the first checkpoint" in done.err
    assert json.loads((run / "status.json").read_text())["status"] == "stopped"


def test_resume_true_starts_a_run_or_goes_on_with_it(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    words = ["train", *tiny, *LONG, "run_id=again", "resume=true"]
    run = tmp_path / "outputs/tiny/again"
    run.mkdir(parents=True)  # as a process leaves it that was killed at its very first step
    command = launcher.start(*words, cwd=tmp_path)
    assert command.wait_until(lambda: lines(run) >= 12)
    command.signal(signal.SIGKILL)
    command.wait()
    done = launcher.run(*words, cwd=tmp_path)
    assert done.code == 0 and "goes on from update" in done.err
    finished = launcher.run(*words, cwd=tmp_path)
    assert finished.code == 0 and f"complete after {STEPS} updates" in finished.err
    assert launcher.run(*words[:-2], "run_id=whole", cwd=tmp_path).code == 0
    assert_same_bits(run, tmp_path / "outputs/tiny/whole")


def test_what_is_changed_on_resume_is_kept(launcher: Any, tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "outputs/tiny/longer"
    words = [*tiny, "run_id=longer", "trainer.max_steps=4", "scheduler=constant"]
    assert launcher.run("train", *words, cwd=tmp_path).code == 0
    done = launcher.run("train", f"resume={run}", "trainer.max_steps=6", cwd=tmp_path)
    assert done.code == 0, done.err
    assert json.loads((run / "checkpoints/last/state.json").read_text())["state"]["step"] == 6
    assert "max_steps: 6" in (run / "config.yaml").read_text()
    assert "output_dir: outputs\n" in (run / "config.yaml").read_text()


def test_a_run_cannot_go_on_with_other_weights_or_another_optimizer(
    launcher: Any, tiny: list[str], trained: Any, tmp_path: Path
) -> None:
    resume = ["train", f"resume={trained.path}"]
    message = launcher.run(*resume, "optimizer=sgd", "trainer.max_steps=30", cwd=tmp_path).refused()
    assert "trained with muon and cannot go on with sgd" in message


def test_tensorboard_curves_go_on_where_the_killed_run_left_them(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ["train", *tiny, *LONG, "run_id=curves", "tracker=[jsonl,tensorboard]"]
    run = tmp_path / "outputs/tiny/curves"
    command = launcher.start(*words, cwd=tmp_path)
    assert command.wait_until(lambda: lines(run) >= 20)
    command.signal(signal.SIGKILL)
    command.wait()
    assert launcher.run("train", f"resume={run}", cwd=tmp_path).code == 0
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("train/loss")] == list(range(1, STEPS + 1))
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [entry["train/loss"] for entry in logged if "train/loss" in entry]
    assert [e.value for e in events.Scalars("train/loss")] == pytest.approx(losses, rel=1e-6)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_the_same_run_of_wandb(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("wandb")
    words = [
        "train",
        *tiny,
        *LONG,
        "run_id=wb",
        "tracker=[jsonl,wandb]",
        "tracker.wandb.mode=offline",
    ]
    run = tmp_path / "outputs/tiny/wb"
    command = launcher.start(*words, cwd=tmp_path)
    assert command.wait_until(lambda: lines(run) >= 12)
    command.signal(signal.SIGKILL)
    command.wait()
    assert launcher.run("train", f"resume={run}", cwd=tmp_path).code == 0
    names = [p.name for p in (run / "wandb").glob("offline-run-*")]
    identity = (run / "wandb" / "run_id").read_text().strip()
    assert len(names) == 2 and all(name.endswith(f"-{identity}") for name in names)
