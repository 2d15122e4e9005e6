"""Faults that are really made, each planted into the house for a moment: verify finds them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scratchlab.config.compose import compose
from scratchlab.data.kinds.base import Kind
from scratchlab.decoding import contract as decoding
from scratchlab.methods import contract as methods
from scratchlab.methods.lora import LoRALinear
from scratchlab.models.layers import dropout
from scratchlab.models.layers.cache import KeyValueCache
from scratchlab.models.transformer_mt import TransformerMT
from scratchlab.tasks.contract import Loss
from scratchlab.tasks.seq2seq import Seq2Seq
from scratchlab.training import gradient
from scratchlab.training.parallel import distributed
from scratchlab.verifying import started
from scratchlab.verifying.findings import NOT_EQUAL
from scratchlab.verifying.verify import Certificate, verify

Plant = pytest.MonkeyPatch


def mean_of_means(patch: Plant) -> None:
    """The loss is divided by its targets before batches are added up."""
    whole = Seq2Seq.loss

    def loss(self: Seq2Seq, model: Any, batch: Any) -> Loss:
        found = whole(self, model, batch)
        return Loss(found.total / found.count, 1, found.nll / found.count)

    patch.setattr(Seq2Seq, "loss", loss)


def padded_at_the_left(patch: Plant) -> None:
    right = decoding.pad_rows

    def left(rows: Any, pad_id: int) -> Tensor:
        return right([row[::-1] for row in rows], pad_id).flip(1)

    patch.setattr(decoding, "pad_rows", left)


def padding_is_read(patch: Plant) -> None:
    patch.setattr(TransformerMT, "padding", lambda self, source: None)


def cache_off_by_one(patch: Plant) -> None:
    extend = KeyValueCache.extend

    def later(self: KeyValueCache, tokens: Tensor, lengths: Tensor | None = None) -> Any:
        places, mask = extend(self, tokens, lengths)
        if isinstance(places, slice) and places.start:
            places = slice(places.start + 1, places.stop + 1)
        return places, mask

    patch.setattr(KeyValueCache, "extend", later)


def unseeded_dropout(patch: Plant) -> None:
    chance = torch.Generator()
    chance.seed()

    def keep(shape: torch.Size, p: float) -> Tensor:
        return torch.rand(shape, generator=chance) >= p

    patch.setattr(dropout, "keep_mask", keep)


def tied_weight_saved_twice(patch: Plant) -> None:
    patch.setattr(methods, "own_state", lambda model, with_base: list(model.state_dict()))


def shuffled_resume(patch: Plant) -> None:
    """An epoch that is gone on with is shuffled otherwise than it began."""
    planned = Kind.batches

    def batches(self: Kind, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[Any]:
        return planned(self, split, seed=seed + bool(start), epoch=epoch, start=start)

    patch.setattr(Kind, "batches", batches)


def chance_forgotten(patch: Plant) -> None:
    """The state of the random generator is not in the checkpoint."""
    patch.setattr(distributed, "random_state", dict)


def merged_without_scale(patch: Plant) -> None:
    patch.setattr(LoRALinear, "change", lambda self: self.lora_b @ self.lora_a)


def padding_is_counted(patch: Plant) -> None:
    """An evaluation divides by the places of a batch, not by its targets."""
    whole = Seq2Seq.loss

    def loss(self: Seq2Seq, model: Any, batch: Any) -> Loss:
        found = whole(self, model, batch)
        count = found.count if model.training else batch.target_out.numel()
        return dataclasses.replace(found, count=count)

    patch.setattr(Seq2Seq, "loss", loss)


def means_averaged(patch: Plant) -> None:
    """Of two processes each one's mean counts as much, however many targets it has."""
    whole = gradient.loss_of_own_rows

    def loss_of_own_rows(processes: Any, batch: Any, loss: Any) -> Loss:
        found = whole(processes, batch, loss)
        if processes.count == 1 or not torch.is_grad_enabled():
            return found
        return Loss(found.total / found.count, 1, found.nll / found.count)

    patch.setattr(gradient, "loss_of_own_rows", loss_of_own_rows)


def gradients_of_one_process(patch: Plant) -> None:
    """The processes never wait for each other's gradients."""
    patch.setattr(gradient, "summing", lambda module, last: module.no_sync())


FOUND_BY: dict[Callable[[Plant], None], str] = {
    mean_of_means: "accumulation",
    padded_at_the_left: "generation",
    padding_is_read: "padding",
    cache_off_by_one: "cache",
    unseeded_dropout: "seed",
    tied_weight_saved_twice: "save",
    shuffled_resume: "stop",
    chance_forgotten: "stop",
    padding_is_counted: "batch",
}


def differs(found: Certificate, check: str) -> bool:
    """Whether the check, which was the only one, says that something is not equal."""
    (one,) = found.checked
    json.dumps(found.as_dict([]), allow_nan=False)
    assert one.check == check
    results = [finding.result for finding in one.findings]
    assert found.equal == (NOT_EQUAL not in results), one.findings
    return not found.equal


@pytest.mark.parametrize("fault", FOUND_BY, ids=lambda f: f.__name__)
def test_a_planted_fault_is_found(
    tiny: list[str], tmp_path: Path, fault: Callable[[Plant], None], monkeypatch: Plant
) -> None:
    check, config = FOUND_BY[fault], compose([*tiny, f"output_dir={tmp_path}"]).config
    fault(monkeypatch)
    assert differs(verify(config, None, [check]), check)


def test_an_adapter_that_is_merged_with_another_scale_is_found(
    tiny: list[str], tmp_path: Path, monkeypatch: Plant
) -> None:
    words = [*tiny, "method=lora", "method.lora.rank=2", f"output_dir={tmp_path}"]
    config = compose(words).config
    assert not differs(verify(config, None, ["merge"]), "merge")
    merged_without_scale(monkeypatch)
    assert differs(verify(config, None, ["merge"]), "merge")


@pytest.mark.parametrize(
    "fault",
    [means_averaged, pytest.param(gradients_of_one_process, marks=pytest.mark.slow)],
)
def test_a_fault_of_two_processes_is_found(
    tiny: list[str], tmp_path: Path, fault: Callable[[Plant], None], monkeypatch: Plant
) -> None:
    """Planted where they start, since they import the house anew."""
    planted = f"""{started.PATH}
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.verifying import test_planted_faults as faults
faults.{fault.__name__}(faults.pytest.MonkeyPatch())"""
    monkeypatch.setattr(started, "PATH", planted)
    config = compose([*tiny, f"output_dir={tmp_path}"]).config
    assert differs(verify(config, None, ["processes"]), "processes")
