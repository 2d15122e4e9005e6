"""Linear layers, fast on few rows as well: there what counts is how fast the weights are read.

In generation a step has one row for each text. Three ways to make their product:

* ``x Wᵀ``, as everywhere else;
* for 3 to 64 rows, with a copy of the weights in oneDNN's blocked order. The copies take as much
  memory as the weights and the time of some ten steps: :func:`packed` makes them for a generation
  that may go on for long, and drops them at its end;
* for one or two rows, with the rows as columns, ``(W xᵀ)ᵀ`` (one row as its two halves). Some
  processors read large weights twice as fast that way (Zen 4: 30 instead of 14 GB/s), on others it
  takes ten times as long (Sapphire Rapids), so it is measured once in a process.

All give the same numbers but for rounding. Weights in bfloat16 (and integers that are multiplied as
such, :mod:`scratchlab.methods.int8`) are faster in blocked order for any number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.models.layers.lowered import has_bfloat16, is_lowered, lowered_linear

FEW = 64
# Weights below this size (of 1 MB) stay in the processor's caches, where their order is no matter.
LARGE = 1 << 18
# Rows from which on a copy is faster, and steps in which it earns its making.
PACK_ROWS, PACK_STEPS = 3, 16
# How much faster columns must be: a close race must not give equal commands different bits.
CLEARLY = 1.4


class Packs(nn.Module):
    """A layer that may keep a copy of its weights in blocked order, ``blocked``, for a while."""

    blocked: Tensor | None = None

    def pack(self, rows: int) -> bool:
        """Make the copy, if products of ``rows`` rows are faster with it; whether it was made."""
        raise NotImplementedError

    def unpack(self) -> None:
        self.blocked = None


class Linear(nn.Linear, Packs):
    """``nn.Linear``, with the fast ways for the newest token of each text."""

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """x [..., in] → [..., out], or the ReLU of that."""
        weight = self.weight
        if is_lowered(x):
            return lowered_linear(x, weight, self.bias, relu)
        if torch.is_grad_enabled() or (weight.numel() < LARGE and self.blocked is None):
            y = F.linear(x, weight, self.bias)
        else:
            y = linear(x, weight, self.bias, self.blocked)
        return F.relu(y, inplace=True) if relu else y

    def pack(self, rows: int) -> bool:
        weight = self.weight.detach()
        if is_large(weight) and PACK_ROWS <= rows <= FEW:
            self.blocked = torch.ops.mkldnn._reorder_linear_weight(weight, FEW)
        elif weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and has_bfloat16():
            self.blocked = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        return self.blocked is not None


def with_blocked(x: Tensor, blocked: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x Wᵀ + b`` for x [n, in] and weights in blocked order, both of one type → [n, out]."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, blocked, bias, "none", [], "")
    return y


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, blocked: Tensor | None = None
) -> Tensor:
    """``x Wᵀ + b`` for x [..., in]; quick for [B, in] and [B, 1, in] without gradients."""
    if blocked is not None and x.dtype == torch.bfloat16 and not torch.is_grad_enabled():
        return with_blocked(x.flatten(0, -2), blocked, bias).unflatten(0, x.shape[:-1])
    rows = x.numel() // x.shape[-1] if x.dim() == 2 or x.shape[-2] == 1 else 0
    if not 0 < rows <= (FEW if blocked is not None else 2) or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    if blocked is not None:
        y = with_blocked(x.reshape(rows, -1), blocked, bias)
    elif is_large(weight) and x.shape[-1] % 2 == 0 and columns_win(rows, torch.get_num_threads()):
        y = as_columns(x.reshape(rows, -1), weight, bias)
    else:
        return F.linear(x, weight, bias)
    return y.view(*x.shape[:-1], -1)


@contextmanager
def packed(model: nn.Module, rows: int, steps: int) -> Iterator[list[Packs]]:
    """While open, weights of ``model`` stand there in blocked order as well, where that is worth it
    for ``steps`` steps of ``rows`` rows. The weights must not change meanwhile."""
    worth_it = steps >= PACK_STEPS and torch.backends.mkldnn.enabled
    layers = [m for m in model.modules() if worth_it and isinstance(m, Packs)]
    try:
        yield [layer for layer in layers if layer.pack(rows)]
    finally:
        for layer in layers:
            layer.unpack()


def is_large(weight: Tensor) -> bool:
    """Whether a weight is fp32 in the memory of the CPU, and too large for its caches."""
    fp32_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    return fp32_on_cpu and weight.numel() >= LARGE and weight.is_contiguous()


def as_columns(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x Wᵀ + b`` for x [1, in] or [2, in], in even.

    With the halves of one x as columns and those of each row of W as two rows, every half meets
    every half; of the four products of a row, the two of halves that belong together are added.
    """
    if len(x) == 1:
        products = weight.view(2 * len(weight), -1) @ x.view(2, -1).t()
        y = products.view(-1, 2, 2).diagonal(dim1=1, dim2=2).sum(-1)
        return (y if bias is None else y + bias)[None]
    y = weight @ x.t() if bias is None else torch.addmm(bias[:, None], weight, x.t())
    return y.t().contiguous()  # what follows is slower with strides than this copy


@cache
def columns_win(rows: int, threads: int) -> bool:
    """Whether this processor makes the product of 1 or 2 rows clearly faster with columns."""
    x, weight = torch.ones(rows, 1024), torch.ones(4096, 1024)  # 16 MB
    plain = _seconds(lambda: F.linear(x, weight))
    return CLEARLY * _seconds(lambda: as_columns(x, weight, None)) < plain


def _seconds(product: Callable[[], Tensor]) -> float:
    """The shortest of a few runs."""
    found = []
    for _ in range(4):
        start = perf_counter()
        product()
        found.append(perf_counter() - start)
    return min(found)
