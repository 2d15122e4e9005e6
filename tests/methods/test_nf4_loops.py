"""The compiled loops over 4-bit codes give what the formula in torch gives."""

from __future__ import annotations

import pytest
import torch

from scratchlab.methods import nf4
from scratchlab.methods.nf4 import NF4Linear, dequantize_nf4

needs_loops = pytest.mark.skipif(
    nf4.loops() is None, reason="the processor has no such registers, or numba is not installed"
)
SHAPES = [(4, 64), (12, 192), (132, 128), (2100, 64)]
BOTH = [torch.float32, torch.bfloat16]


def layer(shape: tuple[int, int], double: bool = True, fast: bool = True) -> NF4Linear:
    random = torch.Generator().manual_seed(sum(shape))
    weight = torch.randn(shape, generator=random) * torch.rand(shape[0], 1, generator=random)
    weight[-1, :64] = 0
    return NF4Linear(weight, None, double, fast)


def rows(count: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1)).to(dtype)


@needs_loops
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_weights_are_those_of_the_formula_bit_for_bit(
    shape: tuple[int, int], double: bool
) -> None:
    stored = layer(shape, double)
    formula = dequantize_nf4(stored.stored, shape)
    assert torch.equal(stored.dequantize(), formula)
    assert torch.equal(stored.matrix(torch.bfloat16), formula.bfloat16())


@needs_loops
@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_products_are_exact_but_for_the_rounding_of_sums(
    shape: tuple[int, int], double: bool, dtype: torch.dtype
) -> None:
    stored = layer(shape, double)
    weight = dequantize_nf4(stored.stored, shape).double()
    for count in (1, 3, 4, 9, 12):
        x = rows(count, shape[1], dtype)
        found = stored.product(x)
        assert found is not None and found.dtype == dtype
        exact, terms = x.double() @ weight.t(), x.double().abs() @ weight.abs().t()
        # Sums in float32 of the exact weights; a result in bfloat16 is rounded once, at the end.
        last = exact.abs() * 2**-8 if dtype == torch.bfloat16 else 0
        assert ((found - exact).abs() <= 1e-6 * terms + last).all()


@needs_loops
def test_a_row_has_the_same_result_whatever_stands_beside_it_and_on_any_threads() -> None:
    stored, x = layer((1100, 192)), rows(15, 192, torch.float32)
    together = stored(x)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(stored(x), together)
            for i in range(len(x)):
                assert torch.equal(stored(x[i : i + 1])[0], together[i])
    finally:
        torch.set_num_threads(before)


@needs_loops
@pytest.mark.parametrize("dtype", BOTH)
def test_outputs_and_gradients_of_a_layer_are_those_of_the_plain_way(dtype: torch.dtype) -> None:
    fast, plain = layer((96, 128)), layer((96, 128), fast=False)
    for count in (1, nf4.MOST_ROWS[dtype] + 1):
        x = rows(count, 128, dtype)
        near = (
            {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.05}
        )
        torch.testing.assert_close(fast(x), plain(x), **near)
        gradients = []
        for module in (fast, plain):
            wanted = x.clone().requires_grad_()
            module(wanted).square().sum().backward()
            gradients.append(wanted.grad)
        assert torch.equal(*gradients)


def test_a_matrix_whose_rows_are_no_whole_blocks_is_multiplied_by_the_formula() -> None:
    for shape in ((6, 96), (7, 128)):  # a few outputs more than fours are not taken either
        odd, x = layer(shape), rows(2, shape[1], torch.float32)
        assert odd.product(x) is None
        torch.testing.assert_close(odd(x), x @ dequantize_nf4(odd.stored, shape).t())
    assert layer((6, 64), fast=False).product(rows(2, 64, torch.float32)) is None


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_scales_that_were_cast_with_the_module_are_not_read_as_float32(
    double: bool, dtype: torch.dtype
) -> None:
    whole, x = layer((12, 128), double), rows(2, 128, torch.float32)
    wanted = x @ whole.dequantize().t()
    cast = layer((12, 128), double).to(dtype)
    assert cast.product(x.bfloat16()) is None
    assert torch.allclose(cast(x).float(), wanted, atol=0.02 * float(wanted.abs().max()))


def test_without_numba_the_formula_is_taken_and_a_note_tells_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scratchlab.data.contract import Spec
    from scratchlab.methods.contract import MethodContext
    from scratchlab.models.gpt import GPT

    monkeypatch.setattr(nf4, "has_registers", lambda: True)
    monkeypatch.setattr(nf4, "loops", lambda: None)
    spec = Spec(task="language_modeling", vocab_size=20, max_length=8)
    model = GPT(GPT.Config(d_model=64, n_heads=2, n_layers=1, block_size=8), spec).eval()
    method = nf4.NormalFloat4(nf4.NormalFloat4.Config())
    method.apply(model, MethodContext(spec))
    assert any("numba is not installed" in note for note in method.notes)
    assert method.products.startswith("weights dequantized")
    assert model.blocks[0].attention.out.product(torch.ones(1, 64)) is None  # type: ignore[operator,union-attr]
