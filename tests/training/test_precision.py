"""Which arithmetic ``trainer.precision=auto`` takes, and that finding out changes nothing."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scratchlab.data.contract import Spec
from scratchlab.models.contract import Model
from scratchlab.models.rnn_lm import RNNLM
from scratchlab.run import decisions
from scratchlab.training import precision

CPU = torch.device("cpu")


class Small(Model):
    """A few layers, one after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def measured(seconds: dict[torch.dtype, float]) -> tuple[torch.dtype, str]:
    """The choice where a step takes as long as ``seconds`` says."""
    return precision.measured_precision(
        CPU, Small(nn.Linear(1, 1)), lambda d: time.sleep(seconds[d])
    )


@pytest.fixture()
def equal_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which bare products are as fast in either precision."""
    monkeypatch.setattr(precision, "seconds_per_product", lambda *_: 1e-3)


@pytest.mark.usefixtures("equal_products")
def test_bf16_is_taken_only_where_a_whole_step_gains_enough() -> None:
    dtype, line = measured({torch.float32: 0.03, torch.bfloat16: 0.01})
    assert dtype == torch.bfloat16 and line.startswith("bf16 (")
    fp32, bf16 = (float(found) for found in re.findall(r"([\d.]+) ms", line))
    assert 30 <= fp32 < 45 and 10 <= bf16 < 25, line
    dtype, line = measured({torch.float32: 0.030, torch.bfloat16: 0.025})
    assert dtype == torch.float32 and line.startswith("fp32 (") and line.count(" ms") == 2


def test_emulated_products_end_the_measurement_before_a_step_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = {torch.float32: 1e-3, torch.bfloat16: 1e-1}
    monkeypatch.setattr(precision, "seconds_per_product", lambda dtype, *_: slow[dtype])

    def step(dtype: torch.dtype) -> None:
        raise AssertionError("no step is needed")

    dtype, line = precision.measured_precision(CPU, Small(nn.Linear(1, 1)), step)
    assert dtype == torch.float32 and "fp32 1 ms, bf16 100 ms" in line


@pytest.mark.usefixtures("equal_products")
def test_a_model_that_bf16_cannot_compute_is_trained_in_fp32() -> None:
    def step(dtype: torch.dtype) -> None:
        if dtype == torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")

    dtype, line = precision.measured_precision(CPU, Small(nn.Linear(1, 1)), step)
    assert dtype == torch.float32 and "not implemented for 'BFloat16'" in line


@pytest.mark.usefixtures("equal_products")
def test_the_measurement_leaves_no_trace_in_random_state_buffers_and_gradients() -> None:
    model = Small(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()

    def step(dtype: torch.dtype) -> None:
        model.train()
        with precision.autocast(CPU, dtype):
            model(torch.randn(8, 4)).sum().backward()

    precision.measured_precision(CPU, model, step)
    assert torch.equal(torch.get_rng_state(), random) and not model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_measurement_leaves_no_trace_in_a_carried_state() -> None:
    spec = Spec(task="language_modeling", vocab_size=11)
    model = RNNLM(RNNLM.Config(d_model=8, n_layers=1, dropout=0.0, input_dropout=0.0), spec)
    tokens, starts = torch.arange(10).view(2, 5), torch.zeros(2, dtype=torch.bool)
    with precision.untouched(model):
        model.train().hidden(tokens, cache=model.carried(starts))
        assert model.carried_state()
    assert model.carried_state() == {}
    model.hidden(tokens, cache=model.carried(starts))
    kept = {k: v.clone() for k, v in model.carried_state().items()}
    with precision.untouched(model):
        model.hidden(tokens + 1, cache=model.carried(starts))
    assert kept and all(torch.equal(kept[k], v) for k, v in model.carried_state().items())


@pytest.mark.slow
def test_the_bits_of_a_run_do_not_depend_on_the_measurement(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    words = ["train", *tiny, "trainer.max_steps=5", "model.dropout=0.1"]
    done = launcher.run(*words, "run_id=auto", "trainer.precision=auto", cwd=tmp_path)
    assert done.code == 0, done.err
    # 16 numbers a token: there is nothing for bf16 to gain, on whatever machine (and on a busy one
    # it is not measured).
    assert "precision: fp32 (" in done.err and "measured" in done.err
    assert launcher.run(*words, "run_id=fp32", cwd=tmp_path).code == 0
    auto, fp32 = (tmp_path / "outputs/tiny" / name for name in ("auto", "fp32"))
    for name in ("metrics.jsonl", "checkpoints/last/optimizer.safetensors"):
        assert (auto / name).read_bytes() == (fp32 / name).read_bytes(), name


def test_a_run_goes_on_in_the_precision_that_it_began_with(
    launcher: Any, tiny: list[str], tmp_path: Path
) -> None:
    words = ["train", *tiny, "run_id=one", "trainer.max_steps=2", "trainer.precision=bf16"]
    assert launcher.run(*words, cwd=tmp_path).code == 0
    run = tmp_path / "outputs/tiny/one"
    more = ["trainer.max_steps=4", "trainer.precision=auto"]
    done = launcher.run("train", f"resume={run}", *more, cwd=tmp_path)
    assert done.code == 0 and "precision: bfloat16 (as before)" in done.err, done.err
    state = json.loads((run / "checkpoints/last/state.json").read_text())["state"]
    assert state["precision"] == "bfloat16" and state["step"] == 4


def times(monkeypatch: pytest.MonkeyPatch, *pairs: tuple[float, float]) -> None:
    """Measurements that come out otherwise each time, on an idle machine."""
    upcoming = iter(pairs)
    monkeypatch.setattr(precision, "seconds_per_step", lambda *_: next(upcoming))
    monkeypatch.setattr(decisions, "machine_load", lambda: decisions.Load(0.0, 64))


def chosen(folder: Path, cache: Path, **config: Any) -> tuple[torch.dtype, str]:
    config = {"cache_dir": str(cache), **config}
    return precision.precision_here(config, CPU, Small(nn.Linear(1, 1)), lambda dtype: None, folder)


@pytest.mark.usefixtures("equal_products")
def test_all_runs_of_a_study_compute_in_what_the_first_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(monkeypatch, (1.0, 1.0), (2.0, 1.0), (2.0, 1.0))
    study = tmp_path / "suite"
    study.mkdir()
    (study / decisions.STUDY_RECORD).write_text("[]")
    cache = tmp_path / "cache"
    small = chosen(study / "small-seed0", cache, model={"d_model": 8})
    large = chosen(study / "large-seed0", cache, model={"d_model": 512})
    assert small[0] == large[0] == torch.float32
    assert small[1].startswith("fp32 (measured") and "as small-seed0" in large[1]
    alone = chosen(tmp_path / "runs/one", cache, model={"d_model": 512})
    assert alone[0] == torch.bfloat16


@pytest.mark.usefixtures("equal_products")
def test_the_seeds_of_a_model_share_a_remembered_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(monkeypatch, (1.0, 1.0), (2.0, 1.0))
    first = chosen(tmp_path / "runs/a", tmp_path / "cache", seed=0)
    second = chosen(tmp_path / "runs/b", tmp_path / "cache", seed=1)
    assert first[0] == second[0] == torch.float32 and "by an earlier run" in second[1]


@pytest.mark.usefixtures("equal_products")
def test_on_a_busy_machine_nothing_is_measured_and_fp32_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(monkeypatch, (2.0, 1.0))
    monkeypatch.setattr(decisions, "machine_load", lambda: decisions.Load(64.0, 64))
    dtype, why = chosen(tmp_path / "runs/a", tmp_path / "cache")
    assert dtype == torch.float32 and "not measured: 64.0 of 64 cores in use" in why
    monkeypatch.setattr(decisions, "machine_load", lambda: decisions.Load(0.0, 64))
    assert chosen(tmp_path / "runs/b", tmp_path / "cache")[0] == torch.bfloat16


def test_a_model_that_bf16_cannot_compute_stays_in_fp32_where_the_others_take_bf16() -> None:
    def step(dtype: torch.dtype) -> None:
        raise RuntimeError("not implemented for 'BFloat16'")

    dtype, why = precision._possible(torch.bfloat16, "bf16 (as a)", Small(nn.Linear(1, 1)), step)
    assert dtype == torch.float32 and "not implemented for 'BFloat16'" in why
