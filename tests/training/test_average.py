"""Moving averages of the weights and the weights themselves in one checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

WORDS = ["trainer.average=0.9", "trainer.checkpoint_every=3", "trainer.log_every=1"]


def test_a_checkpoint_holds_the_average_and_beside_it_the_weights_in_training(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    words = ["train", *tiny, *WORDS, "trainer.max_steps=6", "trainer.keep_every=3"]
    assert launcher.run(*words, "run_id=one", cwd=tmp_path).code == 0
    run = tmp_path / "outputs/tiny/one"
    saved = run / "checkpoints/step-3"
    averages = load_file(saved / "model.safetensors")
    raw = load_file(saved / "optimizer.safetensors")
    names = [name for name in averages if f"raw.{name}" in raw]
    assert names
    for name in names:
        assert not raw[f"raw.{name}"].equal(averages[name]), name


def test_a_resumed_run_goes_on_from_the_weights_not_from_their_average(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    words = ["train", *tiny, *WORDS, "run_id=one", "resume=true", "scheduler=constant"]
    for folder, steps in (("whole", [8]), ("parts", [4, 8])):
        (tmp_path / folder).mkdir()
        for last in steps:
            done = launcher.run(*words, f"trainer.max_steps={last}", cwd=tmp_path / folder)
            assert done.code == 0, done.err
    found = [
        [
            json.loads(line)["train/loss"]
            for line in (tmp_path / folder / "outputs/tiny/one/metrics.jsonl").open()
            if "train/loss" in line
        ]
        for folder in ("whole", "parts")
    ]
    assert found[0] == found[1] and len(found[0]) == 8
