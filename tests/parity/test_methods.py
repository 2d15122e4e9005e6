"""LoRA, soft prompts and quantized weights beside peft, bitsandbytes and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scratchlab.methods.int8 import Int8Weight, quantize
from scratchlab.methods.int8_kernels import bfloat16_product, integer_product
from scratchlab.methods.lora import LoRA, lora_row
from scratchlab.methods.nf4 import dequantize_nf4, quantize_nf4
from scratchlab.methods.soft_prompt import SoftPrompt
from tests.support.models import CONTEXT, Tiny

peft = pytest.importorskip("peft")


def library_lora(model: Any, method: LoRA) -> Any:
    """The same adapter made by peft, with our numbers in it."""
    names = [n.removeprefix("inner.") for n in method.layers]
    config = peft.LoraConfig(
        r=method.config.rank, lora_alpha=method.config.alpha, target_modules=names,
        lora_dropout=0.0,
    )  # fmt: skip
    theirs = peft.get_peft_model(model.inner, config)
    for name, layer in method.layers.items():
        their = theirs.base_model.model.get_submodule(name.removeprefix("inner."))
        their.lora_A["default"].weight.data.copy_(layer.lora_a.detach())
        their.lora_B["default"].weight.data.copy_(layer.lora_b.detach())
    return theirs


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_lora_has_the_outputs_gradients_and_merged_weights_of_peft(
    models: dict[str, Tiny], kind: str
) -> None:
    tiny = models[kind]
    method = LoRA(LoRA.Config(rank=4, alpha=7.0, targets=["linear"]))
    ours = method.apply(tiny.build(), CONTEXT)
    for layer in method.layers.values():
        nn.init.normal_(layer.lora_b, std=0.1)
    theirs = library_lora(tiny.build(), method)
    expected = theirs(input_ids=tiny.tokens).logits
    found = tiny.call(ours)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    (found.square().mean()).backward()
    (expected.square().mean()).backward()
    for name, layer in method.layers.items():
        their = theirs.base_model.model.get_submodule(name.removeprefix("inner."))
        for own, other in ((layer.lora_a, their.lora_A), (layer.lora_b, their.lora_B)):
            torch.testing.assert_close(own.grad, other["default"].weight.grad, rtol=1e-4, atol=1e-6)
    assert method.mergeable
    method.merge(ours)
    merged = theirs.merge_and_unload()
    for name in method.layers:
        their = merged.get_submodule(name.removeprefix("inner."))
        mine: Any = ours.get_submodule(name)
        torch.testing.assert_close(mine.weight, their.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(tiny.call(ours), expected, rtol=1e-4, atol=1e-4)
    assert list(ours.state_dict()) == list(tiny.build().state_dict())


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_peft_loads_a_saved_adapter_and_gives_the_same_logits(
    models: dict[str, Tiny], kind: str, tmp_path: Path
) -> None:
    tiny = models[kind]
    method = LoRA(LoRA.Config(rank=3, targets=["attention"]))
    ours = method.apply(tiny.build(), CONTEXT)
    for layer in method.layers.values():
        nn.init.normal_(layer.lora_b, std=0.1)
    method.export(tmp_path)
    inner: Any = tiny.build()
    theirs = peft.PeftModel.from_pretrained(inner.inner, tmp_path / "adapter")
    expected = theirs(input_ids=tiny.tokens).logits
    torch.testing.assert_close(tiny.call(ours), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_soft_prompt_has_the_outputs_and_gradients_of_pefts_prompt_tuning(
    models: dict[str, Tiny], kind: str, tmp_path: Path
) -> None:
    tiny = models[kind]
    method = SoftPrompt(SoftPrompt.Config(length=6, init="tokens"))
    ours = method.apply(tiny.build(), CONTEXT)
    method.export(tmp_path)
    inner: Any = tiny.build()
    theirs = peft.PeftModel.from_pretrained(inner.inner, tmp_path / "adapter")
    (theirs_prompt,) = theirs.prompt_encoder.parameters()
    theirs_prompt.requires_grad_(True)
    mask = torch.ones_like(tiny.tokens)
    expected = theirs(input_ids=tiny.tokens, attention_mask=mask).logits[:, 6:]
    found = tiny.call(ours)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found.square().mean().backward()
    expected.square().mean().backward()
    torch.testing.assert_close(method.layer.prompt.grad, theirs_prompt.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", [(96, 128), (130, 576)])
def test_nf4_codes_maxima_and_weights_equal_those_of_bitsandbytes_bit_for_bit(
    shape: tuple[int, int], double: bool
) -> None:
    library = pytest.importorskip("bitsandbytes.functional")
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.05
    codes, state = library.quantize_4bit(
        weight, blocksize=64, quant_type="nf4", compress_statistics=double
    )
    ours = quantize_nf4(weight, double)
    assert torch.equal(ours.codes, codes.view(-1))
    assert torch.equal(ours.maxima, state.absmax)
    if double:
        assert ours.second is not None and ours.mean is not None
        assert torch.equal(ours.second, state.state2.absmax)
        assert torch.equal(ours.mean, state.offset)
    assert torch.equal(dequantize_nf4(ours, shape), library.dequantize_4bit(codes, state))


@pytest.mark.parametrize("per_channel", [False, True])
def test_int8_zero_point_equals_torchs_quantize_functions(per_channel: bool) -> None:
    weight = torch.randn(40, 64, generator=torch.Generator().manual_seed(2)) + 0.3
    ours = quantize(weight, "zero_point", per_channel)
    assert ours.zero_point is not None
    if per_channel:
        theirs = torch.quantize_per_channel(
            weight, ours.scale[:, 0].double(), ours.zero_point[:, 0].long(), 0, torch.qint8
        )
    else:
        theirs = torch.quantize_per_tensor(
            weight, float(ours.scale), int(ours.zero_point), torch.qint8
        )
    assert (theirs.int_repr().int() - ours.values.int()).abs().max() <= 1  # ties of rounding
    assert (theirs.int_repr() == ours.values).float().mean() > 0.999
    stored = Int8Weight(ours)
    assert (stored.dequantize() - weight).abs().max() <= 0.51 * ours.scale.max()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("scheme", ["absmax", "zero_point"])
def test_int8_equals_the_formula_written_in_numpy(scheme: str, per_channel: bool) -> None:
    weight = torch.randn(24, 50, generator=torch.Generator().manual_seed(5)).numpy()
    over = 1 if per_channel else None
    if scheme == "absmax":
        scale = np.abs(weight).max(over, keepdims=True) / np.float32(127)
        zero = np.zeros_like(scale)
        lowest = -127
    else:
        low, high = weight.min(over, keepdims=True), weight.max(over, keepdims=True)
        scale = (high - low) / np.float32(255)
        zero = np.round(-128 - np.round(low / scale))
        lowest = -128
    expected = np.clip(np.round(weight / scale) + zero, lowest, 127)
    ours = quantize(torch.from_numpy(weight), scheme, per_channel)
    assert np.array_equal(ours.values.numpy(), expected.astype(np.int8))
    np.testing.assert_allclose(
        Int8Weight(ours).dequantize().numpy(), (expected - zero) * scale, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("scheme", ["absmax", "zero_point"])
@pytest.mark.parametrize("rows", [1, 7])
def test_integer_products_with_two_digits_equal_the_plain_way(scheme: str, rows: int) -> None:
    random = torch.Generator().manual_seed(3)
    stored = Int8Weight(quantize(torch.randn(80, 64, generator=random), scheme, True))
    x = torch.randn(rows, 64, generator=random)
    x[:, 5] *= 30  # an outlying feature
    expected = x @ stored.dequantize().t()
    try:
        exact, plain = (integer_product(x, stored, peak) for peak in (0.0, torch.inf))
    except RuntimeError:
        pytest.skip("this build of torch has no product of 8-bit integers")
    assert (exact - expected).norm() < 1e-4 * expected.norm()
    assert 1e-4 * expected.norm() < (plain - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_products_in_bfloat16_round_activations_and_sums_and_nothing_else(rows: int) -> None:
    random = torch.Generator().manual_seed(4)
    stored = Int8Weight(quantize(torch.randn(80, 64, generator=random), "absmax", True))
    x = torch.randn(rows, 64, generator=random)
    x[:, 5] *= 30  # an outlying feature
    sums = x.bfloat16().double() @ stored.values.double().t()
    found = bfloat16_product(x, stored)
    assert found.dtype == torch.float32
    expected = (sums.bfloat16() * stored.scale.view(1, -1)).float()
    torch.testing.assert_close(found, expected, rtol=0.005, atol=0)  # a sum near a tie: one step
    assert (found == expected).float().mean() > 0.99
    plain = x @ stored.dequantize().t()
    assert 1e-4 * plain.norm() < (found - plain).norm() < 0.004 * plain.norm()


def test_loras_arithmetic_is_that_of_the_textbook_example() -> None:
    row = lora_row("projection", 512, 64, 6)
    assert row[2:] == ("32,768", "6 · (512 + 64)", "3,456", "89.45 %")
