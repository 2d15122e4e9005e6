"""decoding.shortlist: a run keeps what its searches look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import compose
from scratchlab.data.kinds.pairs import PairDataset
from scratchlab.lab import train as training
from scratchlab.lab.parts import load_trained
from scratchlab.run.folder import read_config

WORDS = [
    *("model=transformer_mt", "model.n_heads=2", "model.d_ff=32", "model.encoder_layers=1"),
    *("model.decoder_layers=1", "model.d_model=16", "dataset.train_pairs=150", "pictures=false"),
    *("dataset.val_pairs=10", "dataset.test_pairs=10", "dataset.vocab_size=300", "threads=1"),
    *("trainer.validation_evaluators=[bleu]", "evaluator=[bleu]", "trainer.max_steps=4"),
    *("decoding.shortlist=3", "decoding.max_length_factor=1", "trainer.precision=fp32"),
]


def test_it_translates_where_its_data_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*WORDS, f"output_dir={tmp_path / 'outputs'}", f"cache_dir={tmp_path / 'cache'}"]
    run = training.train(compose(words).config, words, ["train", *words])
    (kept,) = run.glob("shortlist-*.npz")
    config = read_config(run / "config.yaml")
    first = load_trained(config, run).decoder.shortlist
    assert first.candidates.shape[1] == 3

    def absent(self: Any, split: str) -> Any:
        raise AssertionError("the pairs are read again")

    with monkeypatch.context() as now:
        now.setattr(PairDataset, "ids", absent)
        again = load_trained(config, run).decoder.shortlist
        assert again.candidates.equal(first.candidates)
        config["decoding"]["shortlist"] = None
        assert load_trained(config, run).decoder.shortlist is None
    config["decoding"]["shortlist"] = 3
    kept.write_bytes(kept.read_bytes()[:-40])  # damaged: learned again
    assert load_trained(config, run).decoder.shortlist.frequent.equal(first.frequent)
