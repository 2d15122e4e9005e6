"""Rates of roles, weight decay that falls, and the shape of schedules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.gpt import GPT
from scratchlab.training.updates.muon import Muon
from scratchlab.training.updates.optimizers import AdamW
from scratchlab.training.updates.rates import Rates
from scratchlab.training.updates.schedules import Constant, WarmupStableDecay

SPEC = Spec(task="language_modeling", vocab_size=11, max_length=8)


def model(**options: Any) -> GPT:
    torch.manual_seed(0)
    small = {"d_model": 8, "n_heads": 2, "n_layers": 2, "positions": "none", "bias": False}
    return GPT(GPT.Config(**{**small, **options}), SPEC)


def by_name(built: Any, made: GPT) -> dict[str, float]:
    names = {p: n for n, p in made.named_parameters()}
    return {names[p]: group["lr"] for group in built.param_groups for p in group["params"]}


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_each_role_has_its_share_of_the_rate(kind: Any) -> None:
    made = model(tie_embeddings=False, residual_scalars=True, value_embeddings=True)
    rates = {"embedding_rate": 3.0, "output_rate": 0.5, "vector_rate": 2.0}
    config = kind.Config(lr=0.01, **rates)
    built = kind(config).build(made.named_parameters(), made.tables())
    found = by_name(built, made)
    assert set(found) == {n for n, _ in made.named_parameters()}
    for name, rate in found.items():
        table = name.startswith(("embedding", "values"))
        share = 3 if table else 0.5 if name == "output.weight" else 1
        share = 2 if name == "stream" or "norm" in name else share
        assert rate == pytest.approx(0.01 * share), name
    decays = {g["weight_decay"] for g in built.param_groups for p in g["params"] if p.ndim < 2}
    assert decays == {0.0}


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_a_role_makes_the_very_update_of_a_run_at_its_rate(kind: Any) -> None:
    def updated(**options: float) -> dict[str, torch.Tensor]:
        made = model(tie_embeddings=False)
        built = kind(kind.Config(**options)).build(made.named_parameters(), made.tables())
        for _ in range(2):
            (made(torch.tensor([[1, 2, 3, 4]])) * torch.arange(11.0)).sum().backward()
            torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
            built.step()
            built.zero_grad()
            if not options.get("all"):
                break
        return {n: p.detach() for n, p in made.named_parameters()}

    usual, fast = updated(lr=0.01), updated(lr=0.02)
    mixed = updated(lr=0.01, output_rate=2.0)
    for name, weight in mixed.items():
        assert torch.equal(weight, (fast if name == "output.weight" else usual)[name]), name


def test_a_rate_for_weights_that_are_not_there_is_refused() -> None:
    tied = model()
    with pytest.raises(UserError, match=r"optimizer\.output_rate=2: no output layer of its own"):
        Muon(Muon.Config(output_rate=2.0)).build(tied.named_parameters(), tied.tables())
    plain = torch.nn.Linear(3, 2)
    with pytest.raises(UserError, match=r"optimizer\.embedding_rate=0\.5: no embedding"):
        AdamW(AdamW.Config(embedding_rate=0.5)).build(plain.named_parameters())


def rates_of(schedule: Any, total: int, final_decay: float) -> list[tuple[float, float]]:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    built = AdamW(AdamW.Config(lr=0.1, weight_decay=0.4)).build([("w", weight)])
    config = {"optimizer": {"lr": 0.1, "final_decay": final_decay}}
    rates = Rates(SimpleNamespace(scheduler=schedule, config=config), built, total)  # type: ignore[arg-type]
    found = []
    for step in range(total):
        rates.set(step)
        (group,) = built.param_groups
        found.append((group["lr"], group["weight_decay"]))
    return found


def test_weight_decay_falls_along_a_line_whatever_the_rate_does() -> None:
    found = rates_of(Constant(Constant.Config()), 4, 0.0)
    assert [d for _, d in found] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert [d for _, d in rates_of(Constant(Constant.Config()), 4, 0.5)] == pytest.approx(
        [0.4, 0.35, 0.3, 0.25]
    )
    assert {d for _, d in rates_of(Constant(Constant.Config()), 4, 1.0)} == {0.4}


@pytest.mark.parametrize("form", ["linear", "sqrt"])
def test_warm_up_stable_decay_has_its_three_parts(form: str) -> None:
    schedule = WarmupStableDecay(WarmupStableDecay.Config(0.2, 0.4, 0.1, form))
    found = [schedule.factor(step, 20) for step in range(20)]
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4:12] == [1.0] * 8
    for n, factor in enumerate(found[12:], 1):
        share = n / 9
        wanted = 0.1 + 0.9 * (1 - (share**0.5 if form == "sqrt" else share))
        assert factor == pytest.approx(wanted)
    assert found[-1] > 0.1 and found == sorted(found[:4]) + found[4:12] + sorted(
        found[12:], reverse=True
    )
    never = WarmupStableDecay(WarmupStableDecay.Config(0, 0))
    assert [never.factor(step, 7) for step in range(7)] == [1.0] * 7
