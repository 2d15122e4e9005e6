"""Classifiers of texts as runs: the same bits again and after a stop, predictions, tokenizers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scratchlab.config.compose import change, compose
from scratchlab.lab import train as training
from scratchlab.lab.evaluate import evaluate
from scratchlab.lab.predict import predict
from scratchlab.run.folder import read_config

WORDS = ("good", "bad", "a", "film", "very", "plot", "long", "and")
SMALL = {
    "text_cnn": ["model.d_embedding=6", "model.maps=4", "model.max_norm=0.5"],
    "rnn_classifier": ["model.d_embedding=6", "model.d_hidden=8", "model.d_attention=4"],
}


def train(folder: Path, model: str, run_id: str, *words: str) -> Path:
    path = folder / "texts.csv"
    if not path.exists():
        rows = [f"{WORDS[i % 2]} {WORDS[2 + i // 2 % 6]} {i},{WORDS[i % 2]}" for i in range(80)]
        path.write_text("text,label\n" + "\n".join(rows) + "\n")
    own = [f"output_dir={folder}", f"name={model}", f"run_id={run_id}", "tracker=[jsonl]"]
    data = ["dataset=text_classification", f"dataset.path={path}", "dataset.batch_tokens=60"]
    more = [
        "pictures=false",
        "evaluate=false",
        "trainer.precision=fp32",
        "threads=1",
        "trainer.patience=null",
    ]
    config = compose([f"model={model}", *SMALL[model], *data, *own, *more, *words]).config
    return training.train(config, [], ["train"])


@pytest.mark.parametrize("model", SMALL)
def test_a_run_that_goes_on_ends_with_the_bits_of_one_left_alone(
    tmp_path: Path, model: str
) -> None:
    whole = train(tmp_path, model, "whole", "trainer.max_steps=9")
    train(tmp_path, model, "parts", "trainer.max_steps=4")
    parts = train(tmp_path, model, "parts", "trainer.max_steps=9", "resume=true")
    last = "checkpoints/last/model.safetensors"
    assert (parts / last).read_bytes() == (whole / last).read_bytes()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("text_cnn", []),
        ("text_cnn", ["dataset.tokenizer=char"]),
        ("rnn_classifier", ["dataset.tokenizer=bpe", "dataset.vocab_size=60", "model.cell=gru"]),
    ],
)
def test_it_learns_is_measured_again_alike_and_answers_lines(
    tmp_path: Path, model: str, words: list[str]
) -> None:
    run = train(tmp_path, model, "run", *words, "trainer.epochs=15", "optimizer.lr=0.02",
                "evaluate=true")  # fmt: skip
    results = {m["name"]: m["value"] for m in json.loads((run / "results.json").read_text())}
    assert results["accuracy"] > 0.8
    config = change(read_config(run / "config.yaml"), ["dataset.eval_batch_tokens=8"])
    found = evaluate(config, run, run, ["eval"])
    for one in found:
        if not one.timing:
            assert one.value == pytest.approx(results[one.name], abs=1e-6), one.name
    config = change(read_config(run / "config.yaml"), [])
    lines = iter(["good film", "", "bad film"])
    first, empty, second = ("".join(answer) for answer in predict(config, run, lines))
    assert empty == ""
    for answer, label in ((first, "good"), (second, "bad")):
        name, share = answer.split("\t")
        assert name == label and 0.5 < float(share) <= 1
