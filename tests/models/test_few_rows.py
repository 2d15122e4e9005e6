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
from scratchlab.models.layers.linear import Linear, as_columns, packed

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
    layer, x = Linear(width, 50, bias=bias), torch.randn(rows, 1, width)
    expected = F.linear(x, layer.weight, layer.bias)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
        if rows <= 2 and width % 2 == 0:
            found = as_columns(x[:, 0], layer.weight, layer.bias)
            assert found.is_contiguous()
            torch.testing.assert_close(found, expected[:, 0], rtol=1e-5, atol=1e-5)
        with packed(layer, max(rows, module.PACK_ROWS), module.PACK_STEPS) as layers:
            assert layers == [layer]
            assert layer(x).is_contiguous()
            torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    assert layer.blocked is None


def test_weights_are_copied_only_where_many_steps_of_several_rows_may_come(
    small_is_large: None,
) -> None:
    layers = nn.Sequential(Linear(8, 8), nn.LayerNorm(8), Linear(8, 8).double(), nn.Linear(8, 8))
    for rows, steps, chosen in ((8, 100, 1), (1, 100, 0), (8, 3, 0), (1000, 100, 0)):
        with packed(layers, rows, steps) as found:
            assert found == list(layers[:1])[:chosen]


def test_a_copy_serves_new_tokens_without_gradients_only(small_is_large: None) -> None:
    layer = Linear(8, 8)
    with packed(layer, 8, 100), torch.no_grad():
        weight = layer.weight.clone()
        layer.weight.zero_()  # what stays behind in the copy shows where it is read
        assert layer(torch.ones(8, 1, 8)).abs().sum() > 1
        for several in (torch.ones(4, 2, 8), torch.ones(1, 65, 1, 8)[0]):
            torch.testing.assert_close(layer(several), layer.bias.expand(*several.shape[:2], 8))
        with torch.enable_grad():
            assert torch.equal(layer(torch.ones(8, 1, 8))[0, 0], layer.bias)
        layer.weight.copy_(weight)


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


def test_a_generation_sees_the_weights_of_now(small_is_large: None) -> None:
    model = build()
    decoder = Sampling(Sampling.Config(temperature=0.0, max_new_tokens=24))
    prompts = [[5, 9, 14], [7, 3, 8], [2, 1, 0]]
    decoder.generate_batch(model, prompts, SPEC)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    alone = [decoder.generate_batch(model, [prompt], SPEC)[0] for prompt in prompts]
    assert decoder.generate_batch(model, prompts, SPEC) == alone


@pytest.mark.parametrize("rows", [1, 5, 70])
def test_weights_in_bfloat16_are_copied_whatever_their_size_and_the_rows(rows: int) -> None:
    if not module.has_bfloat16():
        pytest.skip("this processor does not multiply bfloat16")
    layer, x = Linear(24, 10).bfloat16(), torch.randn(rows, 3, 24).bfloat16()
    with torch.inference_mode(), packed(layer, rows, module.PACK_STEPS) as layers:
        assert layers == [layer]
        expected = F.linear(x, layer.weight, layer.bias)
        torch.testing.assert_close(layer(x), expected, rtol=1e-2, atol=1e-2)
    assert layer.blocked is None
