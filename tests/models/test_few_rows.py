"""Products of few rows: the same numbers in every form, and copies that go with their texts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scratchlab.data.contract import Spec
from scratchlab.decoding.sampling import Sampling
from scratchlab.models.gpt import GPT
from scratchlab.models.layers import linear as module
from scratchlab.models.layers.linear import few_rows, pack

SPEC = Spec(task="language_modeling", vocab_size=61, max_length=48)


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny weights are treated as those that are larger than the processor's caches."""
    monkeypatch.setattr(module, "LARGE", 1)
    yield


def build() -> GPT:
    torch.manual_seed(0)
    return GPT(GPT.Config(d_model=32, n_heads=2, n_layers=2), SPEC).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [64, 33])
@pytest.mark.parametrize("rows", [1, 2, 3, 9, 64])
def test_every_form_of_the_product_gives_the_layers_numbers(
    small_is_large: None, rows: int, width: int, bias: bool
) -> None:
    torch.manual_seed(rows)
    layer, x = nn.Linear(width, 50, bias=bias), torch.randn(rows, width)
    packed = pack([layer], max(rows, module.PACK_ROWS), module.PACK_STEPS)
    with torch.inference_mode():
        expected = F.linear(x, layer.weight, layer.bias)
        for copies in (None, packed):
            found = few_rows(layer, x, copies)
            assert found.is_contiguous()
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_weights_are_copied_only_where_many_steps_of_several_rows_may_come(
    small_is_large: None,
) -> None:
    layers = [nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8).double()]
    assert list(pack(layers, 8, 100)) == layers[:1]
    assert not pack(layers, 1, 100)
    assert not pack(layers, 8, 3)
    assert not pack(layers, 1000, 100)


def test_steps_with_copied_weights_generate_what_each_text_gets_alone(
    small_is_large: None,
) -> None:
    model = build()
    prompts = [[5, 9, 14], [7, 3, 8, 8, 20, 31], [2], [40, 41, 2, 9]]
    decoder = Sampling(Sampling.Config(temperature=0.0, max_new_tokens=24))
    together = decoder.generate_batch(model, prompts, SPEC)
    alone = [decoder.generate_batch(model, [prompt], SPEC)[0] for prompt in prompts]
    uncached = Sampling(Sampling.Config(temperature=0.0, max_new_tokens=24, cache=False))
    assert together == alone == uncached.generate_batch(model, prompts, SPEC)


def test_a_cache_that_starts_anew_sees_the_weights_of_now(small_is_large: None) -> None:
    model = build()
    tokens = torch.randint(61, (4, 9))
    cache = model.start_cache(4, 48)
    with torch.inference_mode():
        for change in (0.0, 0.5):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(change * torch.randn_like(parameter))
            cache.clear()
            model.prefill(tokens[:, :8], None, cache)
            found = model.decode_step(tokens[:, 8], cache)
            assert cache.packed
            torch.testing.assert_close(found, model(tokens)[:, -1], rtol=1e-4, atol=1e-4)
