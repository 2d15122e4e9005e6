"""The continuous cache: its formula, its choice of θ and λ, and that it sees nothing to come."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scratchlab.errors import UserError
from scratchlab.evaluation.text import neural_cache
from scratchlab.evaluation.text.neural_cache import NeuralCache, Reading, cached, mixed
from scratchlab.evaluation.text.perplexity import Perplexity
from tests.evaluation.test_text_scores import context_of


def drawn(count: int, dim: int = 8, words: int = 5) -> Reading:
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, dim, generator=random)
    ids = torch.randint(words, (count,), generator=random)
    return Reading(hidden, ids, torch.rand(count, generator=random).double().numpy() + 1)


@pytest.mark.parametrize("rows", [4, 512])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_it_is_that_of_the_formula(size: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural_cache, "ROWS", rows)
    read, theta, share = drawn(30), 0.7, 0.2
    found = mixed(read, cached(read, size, theta), share)
    h, ids = read.hidden.double().numpy(), read.ids.tolist()
    for t in range(30):
        weights: dict[int, float] = {}
        for i in range(max(0, t - size), t):
            likeness = math.exp(theta * float(h[t] @ h[i]) / math.sqrt(8))
            weights[ids[i]] = weights.get(ids[i], 0.0) + likeness
        p = math.exp(-read.nats[t])
        if weights:
            p = (1 - share) * p + share * weights.get(ids[t], 0.0) / sum(weights.values())
        assert found[t] == pytest.approx(-math.log(p), rel=1e-5)


def test_nothing_to_come_is_seen() -> None:
    read = drawn(40)
    before = cached(read, 10, 1.0)
    hidden, ids = read.hidden.clone(), read.ids.clone()
    hidden[25:], ids[25:] = 0, 4
    after = cached(replace(read, hidden=hidden, ids=ids), 10, 1.0)
    assert np.array_equal(before[1:25], after[1:25])


@pytest.mark.parametrize("kind", ["gpt", "lstm"])
@pytest.mark.parametrize("output", ["full", "adaptive"])
def test_what_repeats_itself_is_predicted_better(kind: str, output: str, tmp_path: Path) -> None:
    context = replace(context_of(tmp_path, kind, output, test_fraction=0.3), split="test")
    (plain,) = Perplexity(Perplexity.Config()).evaluate(context)
    (found,) = NeuralCache(NeuralCache.Config(size=300)).evaluate(context)
    assert found.value < 0.7 * plain.value  # the model has learned nothing, the lines are alike
    assert found.n == plain.n and found.settings["weight"] in neural_cache.WEIGHTS
    sink: Any = context.sink
    ((_, theta, share, without, value),) = sink.tables["neural_cache"][1]
    assert without == pytest.approx(plain.value, rel=1e-4) and value == round(found.value, 4)
    given = NeuralCache.Config(size=300, sharpness=theta, weight=share)
    assert NeuralCache(given).evaluate(context)[0].value == found.value
    none = NeuralCache.Config(sharpness=1.0, weight=0.0)
    assert NeuralCache(none).evaluate(context)[0].value == pytest.approx(plain.value)


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    cache = NeuralCache(NeuralCache.Config())
    broken = replace(context_of(tmp_path, "gpt", test_fraction=0.3), split="test")
    broken.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match="not numbers any more"):
        cache.evaluate(broken)
    with pytest.raises(UserError, match="chosen on another split, val"):
        cache.evaluate(context_of(tmp_path, "gpt"))
    with pytest.raises(UserError, match="models with hidden states"):
        cache.evaluate(context_of(tmp_path, "ngram"))
    with pytest.raises(UserError, match="a whole split"):
        cache.evaluate(replace(context_of(tmp_path, "gpt"), limit=3))
    assert cache.evaluate(replace(context_of(tmp_path, "gpt"), quick=True)) == []
