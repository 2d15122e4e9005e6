"""A language model that trains in half a second, and suites of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = ("the", "a", "small", "big", "cat", "dog", "bird", "sees", "likes", "hears", "and")

MODEL = [
    "model=gpt",
    "model.d_model=16",
    "model.n_heads=2",
    "model.n_layers=1",
    "dataset=text_file",
    "dataset.tokenizer=char",
    "dataset.block_size=16",
    "dataset.batch_size=8",
    "trainer.max_steps=20",
    "trainer.validate_every=5",
    "trainer.checkpoint_every=3",
    "trainer.log_every=1",
    "trainer.precision=fp32",
    "evaluator=[perplexity]",
]


def write_text_file(folder: Path) -> Path:
    """Made-up sentences: the model has something to learn and little to read."""
    lines = [
        " ".join(WORDS[(i * step + i // 7) % len(WORDS)] for step in range(1, 9))
        for i in range(160)
    ]
    path = folder / "text.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def model_words(tmp_path: Path) -> list[str]:
    """The words that train the tiny model on a text of this test's folder."""
    return [*MODEL, f"dataset.paths=[{write_text_file(tmp_path)}]", "dataset.test_fraction=0.1"]


@pytest.fixture
def suite(tmp_path: Path, model_words: list[str]) -> Callable[..., str]:
    """Writes NAME.yaml with runs of the tiny model and returns its path."""

    def write(name: str = "tiny", **content: Any) -> str:
        path = tmp_path / f"{name}.yaml"
        whole = {"overrides": model_words, "threads": 1, **content}
        path.write_text(json.dumps(whole), encoding="utf-8")  # JSON is YAML
        return str(path)

    return write


def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """How the runs of a study ended, by name."""
    return {entry["name"]: entry for entry in json.loads((folder / "runs.json").read_text())}
