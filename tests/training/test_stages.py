"""Batches and lengths that grow over training, and averages of the last weights."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scratchlab.config.compose import compose
from scratchlab.data.contract import Spec, TokenBatch
from scratchlab.errors import Stopped, UserError
from scratchlab.lab.train import train
from scratchlab.models.gpt import GPT
from scratchlab.run.checkpoint import load
from scratchlab.tasks.language_modeling import LanguageModeling
from scratchlab.training.gradient import Gradient
from scratchlab.training.stages import cut, mean_accumulate, stage
from scratchlab.training.updates.average import WeightAverage, moving, of_the_last

GPT_WORDS = [
    *("model=gpt", "model.d_model=16", "model.n_heads=2", "model.n_layers=1", "threads=1"),
    *("dataset=text_file", "dataset.paths=[text.txt]", "dataset.tokenizer=char", "name=stages"),
    *("dataset.block_size=16", "dataset.batch_size=4", "dataset.batching=shuffled"),
    *("tracker=[jsonl]", "pictures=false", "evaluate=false", "trainer.precision=fp32"),
]


def test_stages_are_equal_shares_of_the_updates() -> None:
    assert [stage([1, 2, 4], step, 7) for step in range(7)] == [1, 1, 1, 2, 2, 4, 4]
    assert [stage([3], step, 2) for step in range(4)] == [3] * 4
    assert [stage([1, 2, 3], step, 2) for step in range(2)] == [1, 2]
    assert mean_accumulate({"accumulate": 3}) == 3
    assert mean_accumulate({"accumulate": 1, "accumulate_stages": [1, 2, 3, 4]}) == 2.5


def test_a_batch_that_is_cut_has_the_loss_of_its_pieces() -> None:
    torch.manual_seed(0)
    spec = Spec(task="language_modeling", vocab_size=11, max_length=8)
    model = GPT(GPT.Config(d_model=8, n_heads=2, n_layers=1), spec)
    task = LanguageModeling(LanguageModeling.Config(), spec)
    text = torch.randint(0, 11, (3, 9))
    batch = TokenBatch(text[:, :-1], text[:, 1:], torch.tensor([5, 7, 9]))
    found = cut(batch, 4)
    assert found.indices.tolist() == [5, 5, 7, 7, 9, 9] and found.tokens.shape == (6, 4)
    places = [(row, at) for row in range(3) for at in (0, 4)]
    pieces = [
        task.loss(
            model, TokenBatch(text[[r], a : a + 4], text[[r], a + 1 : a + 5], torch.tensor([0]))
        )
        for r, a in places
    ]
    loss = task.loss(model, found)
    assert loss.count == 24
    torch.testing.assert_close(loss.total, torch.stack([p.total for p in pieces]).sum())
    assert cut(batch, 8) is batch and cut(batch, 16) is batch


def watched(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *more: str, stop_after: int = 0
) -> tuple[Path, list[list[Any]]]:
    """A run and the batches of each of its updates, as the loss sees them."""
    monkeypatch.chdir(folder)
    text = "".join(chr(97 + (i * i // 3 + i) % 17) for i in range(1500))
    Path("text.txt").write_text(text)
    seen: list[list[Any]] = []
    plain_update, plain_loss = Gradient.update, LanguageModeling.loss

    def update(self: Any, state: Any, group: list[Any]) -> None:
        seen.append([])
        plain_update(self, state, group)
        if len(seen) == stop_after:
            signal.raise_signal(signal.SIGTERM)

    def loss(self: Any, model: Any, batch: Any) -> Any:
        if model.training:
            seen[-1].append(batch)
        return plain_loss(self, model, batch)

    monkeypatch.setattr(Gradient, "update", update)
    monkeypatch.setattr(LanguageModeling, "loss", loss)
    words = [*GPT_WORDS, f"run_id={name}", f"output_dir={folder / 'runs'}", *more]
    return train(compose(words).config, words, ["train"]), seen


def test_updates_take_more_batches_and_longer_texts_stage_by_stage_also_after_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ["trainer.accumulate_stages=[1,2,3]", "trainer.length_stages=[4,16]"]
    stages += ["trainer.max_steps=6", "trainer.validate_every=2", "trainer.keep_every=2"]
    whole, seen = watched(tmp_path, monkeypatch, "whole", *stages)
    assert [len(group) for group in seen] == [1, 1, 2, 2, 3, 3]
    assert [group[0].tokens.shape[1] for group in seen] == [4, 4, 4, 16, 16, 16]
    assert [group[0].tokens.numel() for group in seen] == [64] * 6
    texts = [b.tokens.flatten() for group in seen for b in group]
    _, kept = watched(tmp_path, monkeypatch, "plain", "trainer.max_steps=12")
    for mine, theirs in zip(texts, (b.tokens.flatten() for g in kept for b in g), strict=False):
        assert torch.equal(mine, theirs)  # the same text in the same order

    with pytest.raises(Stopped):
        watched(tmp_path, monkeypatch, "parts", *stages, stop_after=3)
    again, rest = watched(tmp_path, monkeypatch, "parts", *stages, "resume=true")
    assert [len(group) for group in rest] == [2, 3, 3]
    ours, theirs = (load(p / "checkpoints/last").model for p in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_epochs_count_the_batches_that_stages_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("trainer.accumulate_stages=[1,3]", "trainer.epochs=2", "evaluate=false")
    _, seen = watched(tmp_path, monkeypatch, "one", *more)
    taken = sum(len(group) for group in seen)
    batches = -(-(1500 * 9 // 10 // 16) // 4)
    assert abs(taken - 2 * batches) <= 4


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.length_stages=[5,16]", "blocks of 16 tokens cannot be cut into pieces of 5"),
        ("dataset.batching=stream", "is for running text in blocks"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        watched(tmp_path, monkeypatch, "one", "trainer.length_stages=[8,16]", word)


def test_the_mean_of_the_last_weights_is_their_mean_and_before_that_the_weights_themselves() -> (
    None
):
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    average = WeightAverage(layer, of_the_last(0.4, 10))
    kept = []
    for step in range(1, 11):
        with torch.no_grad():
            layer.weight.add_(torch.randn(2, 3))
        average.update(step)
        kept.append(layer.weight.detach().clone())
        wanted = torch.stack(kept[6:]).mean(0) if step > 6 else kept[-1]
        torch.testing.assert_close(average.values["weight"], wanted)
    assert of_the_last(0.01, 10)(10) == 1


def test_a_moving_average_forgets_the_start_first_and_then_keeps_its_decay() -> None:
    share = moving(0.9)
    assert share(1) == pytest.approx(1 - 2 / 11) and share(5) == pytest.approx(1 - 6 / 15)
    assert share(80) == pytest.approx(1 - 0.9) and share(10_000) == pytest.approx(0.1)


def test_a_run_saves_the_mean_of_its_last_weights_beside_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("trainer.max_steps=4", "trainer.average_last=0.5", "trainer.keep_every=1")
    run, _ = watched(tmp_path, monkeypatch, "one", *words)
    last = load(run / "checkpoints/last")
    raws = []
    for step in (3, 4):
        kept = load(run / f"checkpoints/step-{step}")
        raws.append(
            {n: kept.optimizer[f"raw.{n}"] for n in kept.model if f"raw.{n}" in kept.optimizer}
        )
    for name in raws[0]:
        mean = (raws[0][name] + raws[1][name]) / 2
        torch.testing.assert_close(last.model[name], mean)
    assert any(not torch.equal(a, raws[1][n]) for n, a in raws[0].items())
