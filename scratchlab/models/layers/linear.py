"""Linear layers on few rows, as in generation: what counts is how fast the weights are read.

That depends on the form of the product. On a processor whose memory gives 35 GB/s (two cores of
Zen 4, weights of 2 to 150 MB) torch's ``x Wᵀ`` reads 13-15 GB/s with one row and 5-11 GB/s with
more. Faster are

* for one row, two halves of it as columns: 30 GB/s;
* for two rows, those as columns, ``(W xᵀ)ᵀ``: 30 GB/s;
* for 3 to 64 rows, a copy of the weights in oneDNN's blocked order: 30 to 10 GB/s, limited by
  arithmetic in the end. The copies take as much memory as the weights, and the time of some ten
  steps to make: a generation makes them where it may go on for long, and drops them at its end.

All of them give the same numbers but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 64
# Weights below this size (of 1 MB) stay in the processor's caches, where their order is no matter.
LARGE = 1 << 18
# Rows from which on a copy is faster, and steps in which it earns its making.
PACK_ROWS, PACK_STEPS = 3, 16

Packed = dict[nn.Module, Tensor]


def pack(layers: Iterable[nn.Module], rows: int, steps: int) -> Packed:
    """Copies of the large weights among ``layers`` for :func:`few_rows`; none if not worth it.

    ``rows`` of a step, ``steps`` that may come. After a change of the weights, pack them anew.
    """
    worth_it = PACK_ROWS <= rows <= FEW and steps >= PACK_STEPS
    if not worth_it or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return {}
    return {
        layer: torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), FEW)
        for layer in layers
        if type(layer) is nn.Linear and is_large(layer.weight)
    }


def is_large(weight: Tensor) -> bool:
    """Whether a weight is fp32 in the memory of the CPU, and too large for its caches."""
    fp32_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    return fp32_on_cpu and weight.is_contiguous() and weight.numel() >= LARGE


def few_rows(layer: nn.Module, x: Tensor, packed: Packed | None = None) -> Tensor:
    """``layer(x)`` for x [B, in] with few rows, as in generation → [B, out]."""
    y: Tensor
    rows = len(x)
    if type(layer) is not nn.Linear or x.device.type != "cpu" or rows > FEW:
        y = layer(x)
        return y
    weight, bias = layer.weight, layer.bias
    if packed and layer in packed:
        y = torch.ops.mkldnn._linear_pointwise(x, packed[layer], bias, "none", [], "")
        return y
    if rows == 1:
        if x.shape[1] % 2 == 0 and is_large(weight):
            return one_row(weight, x[0], bias)
        return F.linear(x, weight, bias)
    y = weight @ x.t() if bias is None else torch.addmm(bias[:, None], weight, x.t())
    return y.t().contiguous()  # what follows is slower with strides than this copy


def one_row(weight: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
    """W x + b for x [in] → [1, out].

    With the halves of x as columns and those of each row of W as two rows, every half meets every
    half; of the four products of a row, the two of halves that belong together are added.
    """
    products = weight.view(2 * len(weight), -1) @ x.view(2, -1).t()
    y = products.view(-1, 2, 2).diagonal(dim1=1, dim2=2).sum(-1)
    return (y if bias is None else y + bias)[None]
