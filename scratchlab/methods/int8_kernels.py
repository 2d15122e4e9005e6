"""Products with 8-bit integers, by the kernels that torch has for this machine.

Where the processor multiplies bfloat16, activations are rounded to it (8 bits of their own size:
an outlier does not hurt its neighbours), and so is each sum, before its scale. A step of generation
then reads a quarter of the bytes of fp32, and many rows take half the time. While many sentences
are decoded, the matrices stand there in bfloat16 as well, in oneDNN's order (``Int8Linear.pack``).

Elsewhere, and if asked for, the activations of a row become integers too, with a scale of their
own: as one 8-bit digit, or as two, the second for what the first leaves over. Then
``x Wᵀ ≈ Σ digits scale_x · (q_x q_wᵀ - z Σ q_x) · scale_w``, where the products are exact in 32
bits. One digit is off by about max|x| / 440 a number, so what it costs depends on how far the
largest number of a row stands out: rows in which it is more than PEAK times the root mean square
get the second digit (outlying features are why plain int8 hurts language models: Dettmers et al.
2022, LLM.int8).

Whether integers are faster than floats depends on the processor (VNNI instructions), the
number of rows and the size of the matrix: it is measured once, and the plain way is taken where it
is not.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scratchlab.errors import UserError
from scratchlab.models.layers.lowered import has_bfloat16
from scratchlab.run.decisions import decided_once
from scratchlab.run.manifest import machine

# A matrix larger than the cache is multiplied in pieces of this many rows: the kernel prepares
# what it multiplies, and that must not travel to memory and back.
PIECE = 2048
PEAK = 12.0
ROWS = (1, 4, 16, 64, 256)
FUSED_ROWS, FUSED_WIDTH = 16, 16
SHAPE = (1536, 576)  # of the matrix that is measured with


Kernel = Callable[..., Tensor]  # x [rows, in], the stored matrix → [rows, out]


def bfloat16_product(x: Tensor, stored: Any) -> Tensor:
    """x [rows, in] with absmax integers → float32 [rows, out].

    A few rows are multiplied by a kernel that turns integers into floats as it reads them. Many
    rows are faster with a matrix of floats, which holds such integers exactly.
    """
    values, x = stored.values, x.to(torch.bfloat16)
    if x.shape[0] <= FUSED_ROWS and x.shape[1] % FUSED_WIDTH == 0:  # it reads beyond other rows
        y = torch._weight_int8pack_mm(x, values, _ones(values.shape[0], x.device))
    else:
        y = x @ values.to(torch.bfloat16).t()
    return y.float().mul_(stored.scale.t())  # a product of two types is slow


@functools.lru_cache(maxsize=64)
def _ones(length: int, device: torch.device) -> Tensor:
    """What the kernel multiplies sums by before they are rounded: nothing, the scales come after.

    Kept, because a step of generation asks for it some hundred times.
    """
    with torch.inference_mode(False):
        return torch.ones(length, dtype=torch.bfloat16, device=device)


class Multiplier:
    """Multiply rows with a stored int8 matrix, up to ``most_rows`` of them by integers.

    ``peak``: rows that stand out more get a second digit (0: all do, infinity: none does).
    """

    def __init__(self, peak: float, most_rows: int) -> None:
        self.peak = peak
        self.most_rows = most_rows

    def __call__(self, x: Tensor, stored: Any) -> Tensor:
        """x [rows, in], ``stored`` int8 [out, in] → [rows, out]."""
        if len(x) > self.most_rows:
            return x @ stored.dequantize().to(x.dtype).t()
        return integer_product(x.float(), stored, self.peak)


def integer_product(x: Tensor, stored: Any, peak: float) -> Tensor:
    """x [rows, in] float32 → [rows, out] through integer products; see the module's text."""
    if len(x) == 1:
        return _one_row(x, stored, peak)
    size = torch.linalg.vector_norm(x, torch.inf, 1, keepdim=True).clamp_(min=1e-30)
    scaled = x * (127 / size)
    first = scaled.round()
    total = _product(first, stored).mul_(size / 127)
    square = x.shape[1] / peak**2 if peak else torch.inf
    mean = torch.linalg.vector_norm(x, 2, 1, keepdim=True)
    outlying = (size.square() * square > mean.square())[:, 0].nonzero()[:, 0]
    if len(outlying):
        # what is left over is at most half a step
        rest = ((scaled[outlying] - first[outlying]) * 254).round_()
        total[outlying] += _product(rest, stored).mul_(size[outlying] / (127 * 254))
    return total.mul_(stored.scale.view(1, -1))


def _one_row(x: Tensor, stored: Any, peak: float) -> Tensor:
    """The same for x [1, in], with as few steps as can be: this is what generation waits for."""
    size = max(float(torch.linalg.vector_norm(x, torch.inf)), 1e-30)
    mean = float(torch.linalg.vector_norm(x)) / x.shape[1] ** 0.5
    scaled = x * (127 / size)
    first = scaled.round()
    total = _product(first, stored).mul_(size / 127)
    if size > peak * mean:
        rest = scaled.sub_(first).mul_(254).round_()
        total.add_(_product(rest, stored), alpha=size / (127 * 254))
    return total.mul_(stored.scale.view(1, -1))


def _product(digit: Tensor, stored: Any) -> Tensor:
    """Whole numbers [rows, in] with the stored integers → float32 [rows, out]."""
    values: Tensor = stored.values
    q = digit.to(torch.int8)
    if len(values) <= 2 * PIECE:
        exact = torch._int_mm(q, values.t())
    else:
        exact = torch.cat([torch._int_mm(q, piece.t()) for piece in values.split(PIECE)], 1)
    found = exact.float()
    if stored.zero_point is not None:
        found -= digit.sum(1, keepdim=True) * stored.zero_point.view(1, -1)
    return found


def kernel(path: str, bits: str, scheme: str, cache: Path | None = None) -> Kernel | None:
    """How to multiply here; None: with the dequantized matrix.

    ``path`` and ``bits``: options of the method. bfloat16 has no use for a zero point: its share
    of a sum may be far larger than the sum.
    """
    if path == "reference":
        return None
    free = path == "auto" and bits == "auto" and scheme == "absmax"
    if free and has_bfloat16() and hasattr(torch, "_weight_int8pack_mm"):
        return bfloat16_product
    return fastest(path, bits, cache)


def fastest(path: str, bits: str, cache: Path | None = None) -> Multiplier | None:
    """Whether to multiply integers: up to some number of rows, or None: never.

    ``path``: ``integer`` takes them always (UserError where torch has no such kernel), ``auto``
    measures against the float product of an unquantized layer. What it finds is kept in ``cache``:
    a close race must not give equal commands different numbers.
    """
    peak = {"auto": PEAK, "8": torch.inf, "16": 0.0}[bits]
    try:
        integer_product(torch.ones(1, SHAPE[1], device="cpu"), _Probe(), peak)
    except (RuntimeError, NotImplementedError) as error:  # torch was built without the kernel
        if path == "integer":
            raise UserError(
                f"method.int8.path=integer: torch {torch.__version__} has no integer product here",
                "Choose method.int8.path=auto or reference.",
            ) from error
        return None
    if path == "integer":
        return Multiplier(peak, 1 << 30)
    if cache is None:
        most = _rows_worth_it(peak)
    else:
        circumstances = {"machine": machine(), "torch": torch.__version__, "bits": bits}
        found, _ = decided_once(
            *(cache, "int8", circumstances, lambda: {"rows": str(_rows_worth_it(peak))}),
            threads=torch.get_num_threads(),
        )
        most = int(found["rows"]) if found.get("rows", "").isdigit() else _rows_worth_it(peak)
    return Multiplier(peak, most) if most else None


@functools.cache
def _rows_worth_it(peak: float) -> int:
    """Up to how many rows the product of integers is the faster one here; 0: never."""
    probe, weight = _Probe(), torch.zeros(SHAPE, device="cpu")
    most = 0
    for rows in ROWS:
        x = torch.ones(rows, SHAPE[1], device="cpu")
        plain = _seconds(functools.partial(_plain, x, weight))
        integers = _seconds(functools.partial(integer_product, x, probe, peak))
        if integers > plain and rows > 1:
            break
        if integers <= plain:
            most = rows
    return 1 << 30 if most == ROWS[-1] else most


def _plain(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.t()


class _Probe:
    def __init__(self) -> None:
        self.values = torch.ones(SHAPE, dtype=torch.int8, device="cpu")
        self.scale = torch.ones(SHAPE[0], 1, device="cpu")
        self.zero_point = None


def _seconds(work: Callable[[], Any], rounds: int = 7) -> float:
    work()
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
