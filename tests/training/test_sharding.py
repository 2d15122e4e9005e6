"""Processes that share the weights out (FSDP2) train as one would, and keep whole checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule

from scratchlab.errors import UserError
from scratchlab.methods.adapted import Adapted
from scratchlab.models.layers.block import Block
from scratchlab.run.checkpoint import load
from scratchlab.run.processes import Group, Place
from scratchlab.tasks.contract import Loss, Task
from scratchlab.training.loss_module import LossModule
from scratchlab.training.parallel.sharding import Sharded, layers, split
from scratchlab.training.updates.shards import local, whole
from tests.support.commands import Launcher
from tests.support.models import Tiny, tiny_models, write_checkpoints
from tests.training.test_distributed import (
    BERT,
    CNN,
    ENCODER,
    GPT,
    RNN,
    RUN,
    folder,
    same,
    same_bits,
    train,
)

FSDP = ["trainer.strategy=fsdp"]
LORA = [*GPT, "method=lora", "method.lora.dropout=0", "method.lora.rank=2"]
AVERAGED = [*GPT, "optimizer=muon", "trainer.average=0.9", "model.tie_embeddings=true"]
__all__ = ["folder"]


def test_a_run_is_shared_out_and_goes_on_alone(launcher: Launcher, folder: Path) -> None:
    words = [*AVERAGED, "trainer.validate_every=4", "scheduler=constant"]
    alone = train(launcher, 1, folder, "alone", *words, "trainer.max_steps=8")
    more = ["resume=true", "trainer.max_steps=4"]
    train(launcher, 2, folder, "mixed", *words, *more, *FSDP)
    mixed = train(launcher, 1, folder, "mixed", *words, "resume=true", "trainer.max_steps=8")
    same(alone, mixed)
    one, other = (load(run / "checkpoints/last") for run in (alone, mixed))
    assert set(one.optimizer) == {n for n in other.optimizer if not n.startswith("rank1.")}
    for name, tensor in one.model.items():
        torch.testing.assert_close(other.model[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_one_process_and_several_make_the_same_updates(
    launcher: Launcher, folder: Path, tiny: list[str], count: int
) -> None:
    words = [*tiny, "model.dropout=0", "trainer.max_steps=50", "trainer.validate_every=25"]
    words += ["trainer.accumulate=2", "dataset.batch_tokens=128"]
    words += ["trainer.validation_evaluators=[bleu]"]  # process 0 alone writes translations
    one = train(launcher, 1, folder, "one", *words)
    same(one, train(launcher, count, folder, "several", *words, *FSDP))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        GPT,
        LORA,
        [*LORA, "method.lora.orthogonality=0.1"],
        [*LORA, "method=[nf4,lora]"],
        AVERAGED,
        [*GPT, "optimizer=sgd", "optimizer.momentum=0.9"],
        # the words of the last cluster are not in every batch: its weights are left alone then
        [*GPT, "model.output=adaptive", "model.cutoffs=[4,7,10]"],
        RNN,
        CNN,
        ENCODER,
        BERT,
    ],
    ids=["gpt", "lora", "penalty", "qlora", "average", "sgd", "adaptive", "rnn_lm", "cnn",
         "text_encoder", "bert"],
)  # fmt: skip
def test_other_models_make_the_same_updates(
    launcher: Launcher, folder: Path, words: list[str]
) -> None:
    words = [*words, "trainer.max_steps=50", "trainer.validate_every=25"]
    one = train(launcher, 1, folder, "one", *words)
    for count in (2, 3):
        same(one, train(launcher, count, folder, f"n{count}", *words, *FSDP))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precision_means_the_same(launcher: Launcher, folder: Path, precision: str) -> None:
    words = [*GPT, "trainer.max_steps=20", "model.positions=rotary"]
    copied = train(launcher, 2, folder, "copied", *words, precision=precision)
    same(copied, train(launcher, 2, folder, "shared", *words, *FSDP, precision=precision))


@pytest.mark.slow
def test_a_run_that_goes_on_has_the_bits_of_one_left_alone(
    launcher: Launcher, folder: Path
) -> None:
    words = [*AVERAGED, *FSDP, "model.dropout=0.3", "trainer.validate_every=4"]
    words += ["scheduler=constant"]
    whole = train(launcher, 2, folder, "whole", *words, "trainer.max_steps=8")
    for steps in (4, 8):
        more = ["resume=true", f"trainer.max_steps={steps}"]
        stopped = train(launcher, 2, folder, "stopped", *words, *more)
    same_bits(whole, stopped)


@pytest.mark.slow
def test_the_only_process_says_that_it_shares_nothing_out(launcher: Launcher, folder: Path) -> None:
    words = ["train", *GPT, *RUN, *FSDP, "trainer.max_steps=2", "tracker=[console]"]
    done = launcher.run(*words, cwd=folder)
    assert done.code == 0 and "shares nothing out" in done.out + done.err


@pytest.fixture
def group() -> Iterator[Group]:
    """A group of this process alone, in which weights are shared out as among many."""
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield Group(Place(), store)
    distributed.destroy_process_group()


class Asked(Task):
    """The loss of a tiny model."""

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny

    def loss(self, model: Any, batch: Any) -> Loss:
        total = self.tiny.loss(model)
        return Loss(total, 1, total.detach())

    def example_batch(self, batch_size: int, length: int, device: str = "cpu") -> Any:
        raise NotImplementedError


def test_weights_of_every_architecture_are_together_where_they_are_used(
    group: Group, tmp_path: Path
) -> None:
    write_checkpoints(tmp_path)
    for name, tiny in tiny_models(tmp_path).items():
        plain: Any = tiny.build()
        plain.embedding_left_alone = nn.Embedding(2, 2)  # no loss depends on it
        loss = LossModule(Adapted(copy.deepcopy(plain)), Asked(tiny))
        sharded = Sharded(loss, torch.device("cpu"), group)
        parts = sum(isinstance(module, FSDPModule) for module in sharded.loss.modules())
        pairs = tiny.context.spec.task == "seq2seq"
        assert parts == (5 if pairs else 4 if name == "bert" else 3), name  # layers and the rest
        for _ in range(2):
            plain.zero_grad(), sharded.loss.zero_grad()
            tiny.loss(plain).backward()
            sharded(None).total.backward()
            sharded.forget_unused()
            own = dict(sharded.model.named_parameters())
            for key, parameter in plain.named_parameters():
                expected, found = parameter.grad, own[key].grad
                assert (found is None) == (expected is None), (name, key)
                if expected is not None:
                    torch.testing.assert_close(whole(found), expected, rtol=1e-4, atol=1e-6)
        with torch.no_grad():
            assert torch.equal(sharded(None).total, tiny.loss(plain)), name
            for parameter in own.values():
                local(parameter).mul_(0.5)
        with sharded.measured():
            for key, parameter in loss.model.named_parameters():
                assert torch.equal(parameter, plain.get_parameter(key) / 2), (name, key)


def test_a_weight_without_rows_is_named() -> None:
    module = nn.Module()
    module.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(UserError, match=r"(?s)scale is a single number.*strategy=ddp"):
        split(module, [], torch.device("cpu"), 2)


def test_layers_apart_hold_weights_of_their_own() -> None:
    """The embedding of a model of transformers may be tied to its output: it stays outside."""

    class Layer(nn.Linear):
        """One that the model names."""

    class Inner(nn.Module):
        _no_split_modules = ("Layer",)

        def __init__(self) -> None:
            super().__init__()
            self.tied, self.free = Layer(2, 2), Layer(2, 2)
            self.output = nn.Linear(2, 2)
            self.output.weight = self.tied.weight

    block = Block("pre", 0.0, feed_forward=Layer(2, 2))
    loss = nn.ModuleList([Inner(), block])
    loss.adapted = Adapted(nn.Module())  # type: ignore[assignment,arg-type]
    assert layers(loss) == [block.feed_forward, block, loss[0].free]
