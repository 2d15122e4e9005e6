"""Adapters through the command line: train, measure again, quantize on top, from another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

TINY = [
    "model=gpt",
    "dataset=docstrings",
    "model.d_model=16",
    "model.n_heads=2",
    "model.n_layers=2",
    "dataset.vocab_size=500",
    "dataset.max_length=64",
    "dataset.train_examples=60",
    "dataset.val_examples=8",
    "dataset.test_examples=8",
    "trainer.precision=fp32",
    "trainer.max_steps=4",
    "evaluator=[perplexity,size]",
    "threads=1",
    "name=adapters",
]


def results(folder: Path) -> dict[str, float]:
    found = json.loads((folder / "results.json").read_text())
    rows = found["measurements"] if isinstance(found, dict) else found
    return {row["name"]: row["value"] for row in rows}


@pytest.mark.slow
def test_an_adapter_on_another_run_is_trained_saved_alone_and_measured_again(
    launcher: Any, tmp_path: Path
) -> None:
    done = launcher.run("train", *TINY, "run_id=base", cwd=tmp_path)
    assert done.code == 0, done.err
    runs = tmp_path / "outputs" / "adapters"
    words = ["method=lora", "method.lora.rank=2", f"init_from={runs / 'base'}", "run_id=lora"]
    done = launcher.run("train", *TINY, *words, cwd=tmp_path)
    assert done.code == 0, done.err
    best = runs / "lora" / "checkpoints" / "best"
    with safe_open(best / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert names and all(name.endswith(("lora_a", "lora_b")) for name in names)
    assert (best / "adapter" / "adapter_config.json").is_file()
    before = results(runs / "lora")["perplexity"]
    done = launcher.run("eval", str(runs / "lora"), cwd=tmp_path)
    assert done.code == 0, done.err
    again = results(next((runs / "lora" / "evaluations").glob("2*")))["perplexity"]
    assert again == before
    done = launcher.run("eval", str(runs / "lora"), "method=[lora,nf4]", cwd=tmp_path)
    assert done.code == 0, done.err
    said = " ".join((done.out + done.err).split())
    assert "note: nf4:" in said and "stay floats: embedding and output" in said
    said = launcher.run("eval", str(runs / "lora"), "method=[int8]", cwd=tmp_path).refused()
    assert "was trained with method=[lora]" in said
    said = launcher.run("train", *TINY, "method=int8", "run_id=none", cwd=tmp_path).refused()
    assert "int8 stores the weights in fewer bits" in said
