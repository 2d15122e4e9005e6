"""Products of a few rows with weights of int8, by the processor's instruction for bytes."""

from __future__ import annotations

import ctypes

import pytest
import torch

from scratchlab.models.compiled import has_dots, is_here
from scratchlab.models.compiled.operations import PRODUCT, Call, Operation
from scratchlab.models.compiled.program import program
from scratchlab.models.compiled.threads import run


@pytest.mark.skipif(not is_here() or not has_dots(), reason="the processor has no VNNI")
@pytest.mark.parametrize("outlier", [1.0, 3000.0])
@pytest.mark.parametrize("rows", [1, 3, 4, 7, 8])
def test_products_of_bytes_are_as_good_as_rows_of_16_bits(rows: int, outlier: float) -> None:
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randint(-127, 128, (48, 4096), dtype=torch.int8, generator=generator)
    weight[:2] = torch.tensor([[127], [-127]], dtype=torch.int8)  # as far from 0 as sums can be
    scale, bias = torch.rand(48, generator=generator), torch.rand(48, generator=generator)
    sums = weight.sum(1, dtype=torch.float32)
    x = torch.randn(8, 4096, generator=generator)
    x[0, 7], x[min(rows, 2) - 1] = outlier, x.abs().max()
    y = torch.full((8, 48), 7.0)
    operation = Operation(
        kind=PRODUCT,
        x=x.data_ptr(),
        y=y.data_ptr(),
        inputs=4096,
        outputs=48,
        weight=weight.data_ptr(),
        bias=bias.data_ptr(),
        scale=scale.data_ptr(),
        sums=sums.data_ptr(),
        added=1,
    )
    scratch = torch.zeros(8 * 4096)
    call = Call(
        operations=ctypes.addressof(operation),
        count=1,
        rows=rows,
        scratch=scratch.data_ptr(),
        scratch_size=4 * len(scratch),
    )
    run(program("int8", True), call, False)
    exact = (x.double() @ weight.double().T * scale + bias + 7)[:rows]
    # half a step of each input, and the rounding of the sums
    step = x[:rows].abs().amax(1, keepdim=True).double() / 65534
    worst = step * weight.double().abs().sum(1) * scale
    off = (y[:rows] - exact).abs()
    assert (off <= worst + 1e-5 * exact.abs() + 1e-3).all()
    likely = 4 * step * (weight.double() ** 2).sum(1).sqrt() * scale
    assert (off <= likely + 1e-6 * exact.abs() + 1e-3).double().mean() > 0.9
    assert (y[rows:] == 7).all()
