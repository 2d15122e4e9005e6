"""A recurrent translator from the command line: trained, stopped, resumed, measured, asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import change, compose
from scratchlab.errors import UserError
from scratchlab.lab import predict as predicting
from scratchlab.lab import train as training
from scratchlab.lab.evaluate import evaluate
from scratchlab.run.folder import read_config
from tests.conftest import TINY

SMALL = [w for w in TINY if w.startswith(("dataset", "trainer", "evaluator", "decoding"))]
SMALL += ["model=rnn_seq2seq", "model.d_model=16", "scheduler=constant", "trainer.max_steps=8"]
SMALL += ["trainer.validate_every=4", "trainer.log_every=1"]


def train(folder: Path, run_id: str, *words: str) -> Path:
    own = [f"output_dir={folder}", "name=x", f"run_id={run_id}", "tracker=[jsonl]"]
    config = compose([*SMALL, *own, *words]).config
    return training.train(config, [*words], ["train"])


@pytest.mark.parametrize(
    "words",
    [
        ["model.attention=none", "model.cell=rnn"],
        ["model.attention=additive", "model.cell=gru"],
        ["model.attention=multiplicative", "model.input_feeding=true"],
    ],
    ids=["none", "additive", "feeding"],
)
def test_a_run_that_goes_on_ends_with_the_bits_of_one_that_was_never_stopped(
    tmp_path: Path, words: list[str]
) -> None:
    words = [*words, "model.dropout=0.3", "evaluate=false"]
    whole = train(tmp_path, "whole", *words)
    short = train(tmp_path, "short", *words, "trainer.max_steps=4")
    config = change(read_config(short / "config.yaml"), ["trainer.max_steps=8", "resume=true"])
    assert training.train(config, [], ["train"]) == short
    for name in ("model", "optimizer"):
        file = f"checkpoints/last/{name}.safetensors"
        assert (whole / file).read_bytes() == (short / file).read_bytes()


def test_a_run_is_measured_drawn_and_asked_like_any_translator(tmp_path: Path) -> None:
    looks = ["evaluator=[bleu,chrf,perplexity,size,samples,attention_maps,bleu_by_length]"]
    run = train(tmp_path, "one", *looks, "decoding=beam", "decoding.max_length_factor=0.5")
    for picture in ("attention", "bleu_by_length", "loss"):
        assert (run / f"plots/{picture}.png").is_file()
    results = json.loads((run / "results.json").read_text())
    assert {"bleu", "chrf", "perplexity", "parameters"} <= {m["name"] for m in results}
    config = change(read_config(run / "config.yaml"), [])
    again = evaluate(config, run, run, ["eval"])
    assert {m.name: m.value for m in again if not m.timing} == {
        m["name"]: m["value"] for m in results
    }
    answers = predicting.predict(config, run, iter(["The dog is eating.", ""]))
    found = ["".join(answer) for answer in answers]
    assert len(found) == 2 and found[1] == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.d_model=15"], "both directions need half of d_model each"),
        (["model.input_feeding=true"], "input_feeding goes with attention=multiplicative"),
        (["model.attention=bahdanau"], "Choices: additive, multiplicative, none"),
        (["model.cell=lstmm"], "Did you mean 'lstm'?"),
        (["model.n_heads=2"], "model.n_heads: no such option"),
        (["dataset=python_docs"], "rnn_seq2seq"),
        (["evaluator=[bleu_by_length]", "evaluator.bleu_by_length.groups=0"], "at least 1"),
        (["evaluator=[bleu_by_length]", "decoding=null"], "no decoding is chosen"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    tmp_path: Path, words: list[str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        train(tmp_path, "bad", *words)
    error: Any = caught.value
    assert message in f"{error} {getattr(error, 'hint', '')}"
    assert not (tmp_path / "x").exists()
