"""Fixtures of all tests: commands as processes, a run that was trained once, tiny models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Launcher, environment, launched

# A translation model of 10,000 weights on 300 sentence pairs: an update takes milliseconds.
TINY = [
    "model=transformer_mt",
    "model.d_model=16",
    "model.n_heads=2",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.d_ff=32",
    "dataset=phrasebook_en_fr",
    "dataset.train_pairs=300",
    "dataset.val_pairs=20",
    "dataset.test_pairs=20",
    "dataset.vocab_size=300",
    "dataset.batch_tokens=256",
    "trainer.validation_evaluators=[]",
    "trainer.precision=fp32",
    "decoding=greedy",
    "evaluator=[perplexity]",
    "threads=1",
    "name=tiny",
]


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Processes that have torch and all of scratchlab imported."""
    yield from launched(tmp_path_factory.mktemp("launcher"))


@pytest.fixture(scope="session")
def light_launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Processes that have only read the configuration's code: no torch."""
    yield from launched(tmp_path_factory.mktemp("light"), "--light")


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The words of a command that trains in a second."""
    return list(TINY)


@dataclass(frozen=True)
class TrainedRun:
    """A finished run of the tiny model and the folder that the command was given in."""

    path: Path
    cwd: Path


@pytest.fixture(scope="session")
def trained(
    launcher: Launcher, tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> TrainedRun:
    """A run that tests may read, never change."""
    cwd = tmp_path_factory.mktemp("trained")
    words = ["train", *tiny, "run_id=one", "trainer.max_steps=20", "trainer.keep_every=10"]
    done = launcher.run(*words, cwd=cwd)
    assert done.code == 0, done.err
    return TrainedRun(cwd / "outputs" / "tiny" / "one", cwd)


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """For ``subprocess``: no variable of the user's that commands react to."""
    return environment()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Models for the methods by name, from scratch and as tiny checkpoints of transformers."""
    pytest.importorskip("transformers")
    from tests.support.models import tiny_models, write_checkpoints

    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(folder)
    return tiny_models(folder)
