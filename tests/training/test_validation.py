"""How much of the validation split makes the loss that is watched."""

from __future__ import annotations

import json
from pathlib import Path

from scratchlab.config.compose import compose
from scratchlab.lab.train import train


def validation_loss(tiny: list[str], folder: Path, batches: str) -> float:
    """Of a run that trains nothing."""
    own = [f"output_dir={folder}", f"run_id={batches}", "tracker=[jsonl]", "evaluate=false"]
    words = [*tiny, *own, "pictures=false", "trainer.max_steps=0", "dataset.eval_batch_tokens=64"]
    config = compose([*words, f"trainer.validation_batches={batches}"]).config
    lines = (train(config, words, ["train"]) / "metrics.jsonl").read_text().splitlines()
    return float(json.loads(lines[-1])["val/loss"])


def test_a_number_of_batches_or_all_of_them_make_the_validation_loss(
    tiny: list[str], tmp_path: Path
) -> None:
    first, whole, more = (validation_loss(tiny, tmp_path, n) for n in ("1", "null", "1000"))
    assert first != whole == more
