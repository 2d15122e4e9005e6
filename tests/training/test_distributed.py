"""Several processes train as one would, stop together, and one of them tells of a failure."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.data.contract import ArrayBatch, TokenBatch
from scratchlab.errors import UserError
from scratchlab.run.checkpoint import load
from scratchlab.run.processes import Place, place
from scratchlab.training.parallel.distributed import dealt
from tests.support.commands import Launcher
from tests.support.several import ended, run_several, start_several

RUN = ["threads=1", "pictures=false", "trainer.log_every=1", "trainer.precision=fp32"]
RUN += ["trainer.validation_evaluators=[]", "tracker=[jsonl]", "name=x", "device=cpu"]
TEXT = ["dataset=text_file", "dataset.paths=[text.txt]", "dataset.tokenizer=char", "name=x"]
TEXT += ["dataset.block_size=8", "dataset.batch_size=7", "dataset.test_fraction=0.1"]
SMALL = ["model.d_model=8", "model.n_heads=1", "model.n_layers=1"]
GPT = ["model=gpt", *SMALL, *TEXT, "evaluator=[perplexity]", "model.dropout=0"]
RNN = ["model=rnn_lm", "model.d_model=8", "model.n_layers=1", "model.dropout=0", *TEXT]
CNN = ["model=cnn", "dataset=digits", "model.batch_norm=true", "model.channels=[3,4]", "name=x"]
CNN += ["model.dropout=0", "model.dense=8", "dataset.batch_size=10", "trainer.monitor=val/loss"]
CNN += ["evaluator=[classification]", "optimizer=sgd", "optimizer.lr=0.1"]
RNN += ["evaluator=[perplexity]", "model.input_dropout=0", "scheduler=constant"]
ENCODER = ["model=text_encoder", *SMALL, "dataset=docstring_topics", "model.dropout=0", "name=x"]
ENCODER += ["dataset.vocab_size=300", "evaluator=[classification]", "trainer.monitor=val/loss"]
BERT = ["model=text_encoder_pretraining", *SMALL, *TEXT, "model.dropout=0", "trainer.accumulate=2"]
BERT += ["evaluator=[masked_lm]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("a cat sees a dog and a dog sees a cat\n" * 60)
    return tmp_path


def numbers(run: Path) -> list[dict[str, float]]:
    """What was logged, then what was measured."""
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    results: Any = json.loads((run / "results.json").read_text())
    return [*logged, {m["name"]: m["value"] for m in results if not m["timing"]}]


def same(one: Path, other: Path) -> None:
    """The same log and results, losses to 1e-6."""
    expected, found = numbers(one), numbers(other)
    assert len(expected) == len(found) > 2
    for a, b in zip(expected, found, strict=True):
        # None where fp16 was too narrow: that update is left out
        norms = [entry.pop("gradient_norm", 0.0) or 0.0 for entry in (a, b)]
        assert norms[1] == pytest.approx(norms[0], rel=1e-4)  # a sum of squares of sums
        assert b == pytest.approx(a, rel=1e-6)


def same_bits(one: Path, other: Path) -> None:
    """The same log and the same last checkpoint, to the bit."""
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    states = [load(run / "checkpoints/last") for run in (one, other)]
    numbers = [state.model | state.optimizer for state in states]
    assert numbers[0].keys() == numbers[1].keys()
    for name, tensor in numbers[0].items():
        assert torch.equal(tensor, numbers[1][name]), name


def train(
    launcher: Launcher, count: int, folder: Path, name: str, *words: str, precision: str = "fp32"
) -> Path:
    words = (*words, *RUN, f"trainer.precision={precision}", f"run_id={name}")
    run_several(launcher, count, "train", *words, cwd=folder)
    return folder / "outputs/x" / name


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_one_process_and_several_make_the_same_updates(
    launcher: Launcher, folder: Path, tiny: list[str], count: int
) -> None:
    words = [*tiny, "model.dropout=0", "trainer.max_steps=50", "trainer.validate_every=25"]
    words += ["trainer.accumulate=2", "dataset.batch_tokens=128"]
    one = train(launcher, 1, folder, "one", *words)
    same(one, train(launcher, count, folder, "several", *words))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 8])  # 8: a process without a row
@pytest.mark.parametrize(
    "words",
    [
        GPT,
        [*GPT, "method=lora", "method.lora.dropout=0"],
        RNN,
        CNN,
        ENCODER,
        BERT,
    ],
    ids=["gpt", "lora", "rnn_lm", "cnn", "text_encoder", "bert"],
)  # fmt: skip
def test_other_models_make_the_same_updates(
    launcher: Launcher, folder: Path, words: list[str], count: int
) -> None:
    words = [*words, "trainer.max_steps=50", "trainer.validate_every=25"]
    same(train(launcher, 1, folder, "one", *words), train(launcher, count, folder, "n", *words))


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(launcher: Launcher, folder: Path) -> None:
    words = [*RNN, "trainer.validate_every=4"]
    alone = train(launcher, 1, folder, "alone", *words, "trainer.max_steps=12")
    for count, steps in ((2, 4), (1, 8), (2, 12)):
        more = ["resume=true", f"trainer.max_steps={steps}"]
        mixed = train(launcher, count, folder, "mixed", *words, *more)
    same(alone, mixed)
    states = [load(run / "checkpoints/last").optimizer for run in (alone, mixed)]
    carried = [name for name in states[0] if name.startswith("carried.")]
    assert carried
    for name in carried:
        torch.testing.assert_close(states[1][name], states[0][name], rtol=1e-4, atol=1e-6)
    assert "rank1.rng.cpu" in states[1]


@pytest.mark.slow
def test_a_run_of_two_processes_that_goes_on_has_the_bits_of_one_left_alone(
    launcher: Launcher, folder: Path
) -> None:
    words = [*GPT, "model.dropout=0.3", "trainer.validate_every=4", "scheduler=constant"]
    whole = train(launcher, 2, folder, "whole", *words, "trainer.max_steps=8")
    for steps in (4, 8):
        more = ["resume=true", f"trainer.max_steps={steps}"]
        stopped = train(launcher, 2, folder, "stopped", *words, *more)
    same_bits(whole, stopped)
    found = load(whole / "checkpoints/last").optimizer
    assert not torch.equal(found["rng.cpu"], found["rank1.rng.cpu"])  # each drops other units


@pytest.mark.slow
def test_each_number_of_processes_goes_on_as_it_would_alone(
    launcher: Launcher, folder: Path
) -> None:
    """From 2 processes to 1 and back: what a number of processes makes of a checkpoint does not
    depend on whether they are stopped on the way."""
    words = [*GPT, "model.dropout=0.3", "trainer.validate_every=2", "scheduler=constant"]
    for name, legs in {
        "straight": ((2, 4), (1, 8), (2, 12)),
        "halting": ((2, 2), (2, 4), (1, 6), (1, 8), (2, 10), (2, 12)),
    }.items():
        for count, steps in legs:
            more = ["resume=true", f"trainer.max_steps={steps}"]
            train(launcher, count, folder, name, *words, *more)
    same_bits(folder / "outputs/x/straight", folder / "outputs/x/halting")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_update(
    launcher: Launcher, folder: Path
) -> None:
    words = ["train", *GPT, *RUN, "trainer.max_steps=100000", "run_id=stopped", "resume=true"]
    commands = start_several(launcher, 2, *words, cwd=folder)
    run = folder / "outputs/x/stopped"
    metrics = run / "metrics.jsonl"
    assert commands[0].wait_until(lambda: metrics.exists() and metrics.stat().st_size > 2000)
    commands[1].signal(signal.SIGTERM)
    first, second = ended(commands)
    assert (first.code, second.code) == (130, 130)
    assert "a checkpoint is saved" in first.err and "resume=" in first.err
    assert second.err + second.out == ""
    status = json.loads((run / "status.json").read_text())
    assert status["status"] == "stopped" and status["reason"] == "SIGTERM"
    step = load(run / "checkpoints/last").state["step"]
    run_several(launcher, 2, *words, f"trainer.max_steps={step + 2}", cwd=folder)
    assert load(run / "checkpoints/last").state["step"] == step + 2


@pytest.mark.skipif(os.geteuid() != 0, reason="one process must be allowed more than another")
def test_what_fails_in_one_process_is_said_by_that_one(launcher: Launcher, folder: Path) -> None:
    (folder / "text.txt").chmod(0)
    words = ["train", *GPT, *RUN, "run_id=failed"]
    commands = start_several(launcher, 2, *words, cwd=folder, settings={1: {"powerless": True}})
    first, second = ended(commands)
    assert second.code == 2 and second.err.startswith("process 1 of 2: error: ")
    assert "text.txt" in second.err and "Traceback" not in second.err
    assert first.code in (2, -signal.SIGTERM) and "error" not in first.err
    assert not (folder / "outputs/x/failed").exists()  # nothing was learned


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_process_that_is_killed_ends_the_run(
    launcher: Launcher, folder: Path, strategy: str
) -> None:
    words = ["train", *GPT, *RUN, "trainer.max_steps=100000", "run_id=killed"]
    words += [f"trainer.strategy={strategy}"]
    commands = start_several(launcher, 2, *words, cwd=folder)
    metrics = folder / "outputs/x/killed/metrics.jsonl"
    assert commands[0].wait_until(lambda: metrics.exists() and metrics.stat().st_size > 500)
    commands[1].signal(signal.SIGKILL)
    first = commands[0].wait()
    assert first.code == 1
    assert "another process of this run has ended" in first.err and "Traceback" not in first.err


def test_mistakes_are_said_once(launcher: Launcher, folder: Path) -> None:
    for words, said in (
        (["train", "model=gtp"], "gpt"),
        (["sweep", "model=gpt", "seed=0,1"], "torchrun"),
        (["train", "model=ngram", "dataset=text_file", "dataset.paths=[text.txt]"], "one process"),
    ):
        commands = start_several(launcher, 2, *words, cwd=folder)
        assert said in commands[0].wait().refused()
        other = ended(commands)[1]
        assert other.code != 0 and other.err + other.out == ""


def test_rows_are_dealt_without_a_rest_or_a_double() -> None:
    tokens = torch.arange(10).view(5, 2)
    batch = TokenBatch(tokens, tokens + 1, torch.arange(9), segments=tokens * 0)  # packed
    parts = [dealt(batch, rank, 3) for rank in range(3)]
    assert [part.tokens[:, 0].tolist() for part, _ in parts] == [[0, 6], [2, 8], [4]]
    assert all(counts and len(part.indices) == 9 for part, counts in parts)
    assert parts[1][0].segments.shape == (2, 2) and parts[1][0].positions is None
    rows = ArrayBatch(torch.ones(1, 3), torch.zeros(1), torch.arange(1))
    assert [counts for _, counts in (dealt(rows, rank, 2) for rank in range(2))] == [True, False]
    assert len(dealt(rows, 1, 2)[0].inputs) == 1


def test_the_environment_tells_the_place() -> None:
    said = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    assert place(said | {"LOCAL_RANK": "0"}) == Place(1, 2, 0)
    assert place({"RANK": "1", "WORLD_SIZE": "2"}) == Place()  # some other program's
    with pytest.raises(UserError, match="RANK=x"):
        place(said | {"RANK": "x"})
    with pytest.raises(UserError, match="counted from 0"):
        place(said | {"RANK": "2"})
