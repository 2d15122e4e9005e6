"""Products of 8-bit integers, by the kernels that torch has for this machine.

The activations of a row are written as integers too, with a scale of their own: as one 8-bit digit
(relative error about 1/254 of the row's largest), or as two, the second for what the first leaves
over (about 1/64,000). Then ``x Wᵀ ≈ Σ digits scale_x · (q_x q_wᵀ - z Σ q_x) · scale_w``, where the
products are exact in 32 bits.

Whether that is faster than multiplying floats depends on the processor (VNNI instructions), the
number of rows and the size of the matrix: it is measured once, and the plain way is taken where it
is not.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# A matrix larger than the cache is multiplied in pieces of this many rows: the kernel prepares
# what it multiplies, and that must not travel to memory and back.
PIECE = 2048
ROWS = (1, 4, 16, 64, 256)
SHAPE = (1536, 576)  # of the matrix that is measured with


class Multiplier:
    """Multiply rows with a stored int8 matrix; ``limits`` are the row counts that it pays for."""

    def __init__(self, digits: int, most_rows: int) -> None:
        self.digits = digits
        self.most_rows = most_rows

    def __call__(self, x: Tensor, stored: Any) -> Tensor:
        """x [rows, in], ``stored`` int8 [out, in] → [rows, out]."""
        if len(x) > self.most_rows:
            return x @ stored.dequantize().to(x.dtype).t()
        return integer_product(x.float(), stored, self.digits)


def integer_product(x: Tensor, stored: Any, digits: int) -> Tensor:
    """x [rows, in] float32 → [rows, out] through integer products; see the module's text."""
    size = x.abs().amax(1, keepdim=True).clamp(min=1e-30)
    scale = size / 127
    scaled = x / scale
    first = scaled.round()
    total = _product(first, scale, stored)
    if digits == 2:
        rest = ((scaled - first) * 254).round()  # what is left over is at most half a step
        total += _product(rest, scale / 254, stored)
    return total.mul_(stored.scale.view(1, -1))


def _product(digit: Tensor, scale: Tensor, stored: Any) -> Tensor:
    values: Tensor = stored.values
    q = digit.to(torch.int8)
    if len(values) <= 2 * PIECE:
        exact = torch._int_mm(q, values.t())
    else:
        exact = torch.cat([torch._int_mm(q, piece.t()) for piece in values.split(PIECE)], 1)
    found = exact.float()
    if stored.zero_point is not None:
        found -= digit.sum(1, keepdim=True) * stored.zero_point.view(1, -1)
    return found.mul_(scale)


@functools.cache
def fastest(path: str, bits: int) -> Multiplier | None:
    """How to multiply here: integers up to some number of rows, or None: never.

    ``path``: ``integer`` takes them always, ``auto`` measures against the float product of an
    unquantized layer.
    """
    digits = bits // 8
    try:
        probe = _Probe()
        integer_product(torch.ones(1, SHAPE[1]), probe, digits)
    except (RuntimeError, NotImplementedError):
        return None  # this build of torch has no such kernel
    if path == "integer":
        return Multiplier(digits, 1 << 30)
    weight = torch.zeros(SHAPE)
    most = 0
    for rows in ROWS:
        x = torch.ones(rows, SHAPE[1])
        plain = _seconds(functools.partial(_plain, x, weight))
        integers = _seconds(functools.partial(integer_product, x, probe, digits))
        if integers > plain and rows > 1:
            break
        if integers <= plain:
            most = rows
    return Multiplier(digits, 1 << 30 if most == ROWS[-1] else most) if most else None


def _plain(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.t()


class _Probe:
    def __init__(self) -> None:
        self.values = torch.ones(SHAPE, dtype=torch.int8)
        self.scale = torch.ones(SHAPE[0], 1)
        self.zero_point = None


def _seconds(work: Callable[[], Any], rounds: int = 7) -> float:
    work()
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
