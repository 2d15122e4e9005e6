"""The losses between two logs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import compose
from scratchlab.lab import train as experiment
from scratchlab.training import window

WORDS = ["model=gpt", "model.d_model=8", "model.n_heads=1", "model.n_layers=1", "threads=1"]
WORDS += ["dataset=text_file", "dataset.tokenizer=char", "dataset.block_size=8"]
WORDS += ["dataset.batch_size=4", "dataset.test_fraction=0.1", "evaluator=[]", "name=x"]
WORDS += ["trainer.max_steps=24", "trainer.log_every=100", "trainer.validate_every=24"]
WORDS += ["trainer.checkpoint_every=10", "trainer.precision=fp32", "tracker=[jsonl]"]


def test_losses_do_not_pile_up_in_a_run_that_never_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("a cat sees a dog and a dog sees a cat\n" * 40)
    words = [*WORDS, f"dataset.paths=[{tmp_path / 'text.txt'}]", f"output_dir={tmp_path}"]
    words.append(f"cache_dir={tmp_path / 'cache'}")

    def train(run_id: str) -> tuple[list[float], list[Any]]:
        run = experiment.train(compose([*words, f"run_id={run_id}"]).config, [], ["train"])
        entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        state = json.loads((run / "checkpoints/previous/state.json").read_text())["state"]
        return [e["train/loss"] for e in entries if "train/loss" in e], state["window"]

    whole, kept = train("whole")
    assert len(whole) == 2 and len(kept) == 19  # the first update is logged, and the last
    monkeypatch.setattr(window, "LONGEST_WINDOW", 6)
    folded, kept = train("folded")
    assert len(kept) <= 6
    assert folded == pytest.approx(whole, rel=1e-12)


def test_curves_begin_at_the_first_update_and_a_resumed_run_has_the_same_lines(
    tmp_path: Path,
) -> None:
    (tmp_path / "text.txt").write_text("a cat sees a dog and a dog sees a cat\n" * 40)
    words = [*WORDS, f"dataset.paths=[{tmp_path / 'text.txt'}]", f"output_dir={tmp_path}"]
    words += [f"cache_dir={tmp_path / 'cache'}", "run_id=one", "resume=true"]
    words += ["trainer.log_every=12", "trainer.checkpoint_every=1"]
    run = experiment.train(compose(words).config, [], ["train"])
    whole = (run / "metrics.jsonl").read_text()
    entries = [e for e in map(json.loads, whole.splitlines()) if "train/loss" in e]
    assert [e["step"] for e in entries] == [1, 12, 24]
    lines = map(json.loads, (run / "timings.jsonl").read_text().splitlines())
    speeds = {e["step"]: "targets_per_second" in e for e in lines}
    assert speeds == {1: False, 12: True, 24: True}  # a first update is no measure of speed
    for role in ("last", "best"):  # as after a kill during the last update
        shutil.rmtree(run / "checkpoints" / role)
    (run / "checkpoints/previous").rename(run / "checkpoints/last")
    experiment.train(compose(words).config, [], ["train"])
    assert (run / "metrics.jsonl").read_text() == whole
    state = json.loads((run / "checkpoints/last/state.json").read_text())["state"]
    assert state["step"] == 24
