"""Which product int8 takes where it may choose: measured once, then kept for the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scratchlab.methods import int8_kernels, nf4
from scratchlab.run import decisions


def test_what_was_measured_first_holds_for_later_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "machine_load", lambda: decisions.Load(0.0, 64))
    upcoming = iter([16, 0, 1])
    monkeypatch.setattr(int8_kernels, "_rows_worth_it", lambda peak: next(upcoming))
    first = int8_kernels.fastest("auto", "8", tmp_path)
    again = int8_kernels.fastest("auto", "8", tmp_path)
    assert first is not None and again is not None
    assert first.most_rows == again.most_rows == 16
    # Another number of digits is another question; "never" is an answer that is kept as well.
    assert int8_kernels.fastest("auto", "16", tmp_path) is None
    assert int8_kernels.fastest("auto", "16", tmp_path) is None


def test_bfloat16_is_taken_where_the_processor_has_it_and_nothing_else_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8_kernels, "_rows_worth_it", lambda peak: 4)
    has_it = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    free = int8_kernels.kernel("auto", "auto", "absmax")
    assert (free is int8_kernels.bfloat16_product) == has_it
    for path, bits, scheme in (
        ("auto", "8", "absmax"),
        ("auto", "auto", "zero_point"),
        ("integer", "auto", "absmax"),
    ):
        assert isinstance(int8_kernels.kernel(path, bits, scheme), int8_kernels.Multiplier)
    assert int8_kernels.kernel("reference", "auto", "absmax") is None


def test_figures_say_which_arithmetic_of_a_quantized_model_ran() -> None:
    from scratchlab.data.contract import Spec
    from scratchlab.methods.adapted import Adapted
    from scratchlab.methods.contract import MethodContext
    from scratchlab.models.gpt import GPT
    from scratchlab.registry import build, find

    spec = Spec(task="language_modeling", vocab_size=20, max_length=8)

    def products(name: str, dtype: torch.dtype = torch.float32, **options: object) -> str:
        method = build("method", {"name": name, **find("method", name).defaults(), **options})
        model = GPT(GPT.Config(d_model=64, n_heads=2, n_layers=1, block_size=8), spec).eval()
        adapted = Adapted(method.apply(model, MethodContext(spec)), [method])
        with torch.no_grad():
            model.blocks[0].feed_forward.to(dtype)(torch.zeros(1, 2, 64, dtype=dtype))  # type: ignore[operator,union-attr]
        return str(adapted.settings()[f"{name}_products"])

    assert products("nf4", path="reference").startswith("weights dequantized a layer at a time")
    assert products("int8", path="reference") == products("nf4", path="reference")
    assert ("looked up in a register" in products("nf4")) == (nf4.loops() is not None)
    assert "integers" in products("int8", path="integer", activation_bits="8")
    pytest.importorskip("bitsandbytes")
    for dtype in (torch.float32, torch.bfloat16):
        said = products("bitsandbytes", dtype, kind="nf4")
        assert said.endswith(f"; inputs {str(dtype).removeprefix('torch.')}")
        fused = torch._C._dispatch_has_kernel_for_dispatch_key("bitsandbytes::gemm_4bit", "CPU")
        assert ("no fused kernel here" in said) != fused
    assert products("bitsandbytes", kind="int8").startswith("activations as 8-bit integers")


@pytest.mark.parametrize("width", [8, 48])  # torch's fused kernel takes multiples of 16 only
@pytest.mark.parametrize("rows", [1, 2, 5, 70])
def test_products_in_bfloat16_are_those_of_the_integers_with_a_copy_and_without(
    rows: int, width: int
) -> None:
    from scratchlab.methods.int8 import Int8Linear, Int8Weight, quantize
    from scratchlab.models.layers.linear import PACK_STEPS, packed

    if not int8_kernels.has_bfloat16():
        pytest.skip("this processor does not multiply bfloat16")
    torch.manual_seed(0)
    stored = Int8Weight(quantize(torch.randn(40, width), "absmax", per_channel=True))
    layer = Int8Linear(stored, torch.randn(40), int8_kernels.bfloat16_product)
    x = torch.randn(rows, width).bfloat16().float()
    expected = x @ stored.dequantize().t() + layer.bias
    near = {"rtol": 2**-7, "atol": 0.05}
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, **near)
        with packed(layer, 8, PACK_STEPS) as layers:
            assert layers == [layer] and layer.blocked is not None
            torch.testing.assert_close(layer(x), expected, **near)
        assert layer.blocked is None
        with packed(layer, 1, PACK_STEPS) as layers:
            assert layers == []
