"""4-bit NormalFloat weights (Dettmers et al. 2023, QLoRA), from scratch.

A matrix is cut into blocks of 64 numbers. Each block is divided by its largest absolute value and
every number is rounded to the nearest of 16 values, the quantiles of a normal distribution; two
4-bit codes share a byte, the first in the upper half. With double quantization the blocks' maxima,
less their mean, are kept in 8 bits as well: in blocks of 256, rounded to a table of 256 values that
lie closer near zero (Dettmers et al. 2022, 8-bit optimizers).

The formulas are written in torch. Where the processor has registers of 512 bits (AVX-512) and numba
is installed, :mod:`scratchlab.methods.compiled.nf4` computes the same much faster.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from scratchlab.methods.contract import MethodContext
from scratchlab.methods.quantized import DEQUANTIZED, LayerOptions, QuantizedLinear, Quantizer
from scratchlab.methods.replace import linear_weight
from scratchlab.models.compiled import has_registers
from scratchlab.models.contract import Model
from scratchlab.registry import option, register

BLOCK, MAXIMA_BLOCK = 64, 256
TINY = torch.finfo(torch.float32).tiny  # what is smaller counts as 0 in a run, which flushes it
AT_ONCE = 1 << 22  # numbers that are compared with the table at a time
# Up to how many rows a product looks weights up as it goes; more are faster with a matrix written
# once, the sooner in bfloat16, whose products have instructions of their own.
MOST_ROWS = {torch.float32: 48, torch.bfloat16: 12}
LOOKED_UP = (
    "weights looked up in a register as they are multiplied, sums in float32; many rows: "
    "dequantized a layer at a time, products in the type of the input"
)


@functools.cache
def loops() -> ModuleType | None:
    """The compiled loops; None: they are not for this processor, or numba is not installed."""
    if not has_registers():
        return None
    try:
        from scratchlab.methods.compiled import nf4
    except ImportError:
        return None
    return nf4


@functools.cache
def normal_float() -> Tensor:
    """The 16 values, ascending: normal quantiles scaled to [-1, 1], with an exact zero.

    Eight are positive, seven negative, so that zero is one of them (QLoRA, appendix E).
    """
    from scipy.stats import norm

    offset = 0.9677083  # keeps the outermost quantiles finite: (1 - 1/32 + 1 - 1/30) / 2
    positive = norm.ppf(torch.linspace(offset, 0.5, 9, device="cpu")[:-1].numpy())
    negative = -norm.ppf(torch.linspace(offset, 0.5, 8, device="cpu")[:-1].numpy())
    values = torch.tensor(sorted([*positive.tolist(), 0.0, *negative.tolist()]), device="cpu")
    return values / values.abs().max()


@functools.cache
def number_pairs(device: torch.device) -> Tensor:
    """int64 [256]: for each byte the two float32 numbers it stands for, the upper half's first."""
    table = normal_float()
    both = torch.stack([table.repeat_interleave(16), table.repeat(16)], 1)  # [256, 2]
    return both.view(torch.int64).view(-1).to(device)


@functools.cache
def dynamic_map() -> Tensor:
    """The 256 values for the maxima: 7 powers of ten, each parted into twice as many means."""
    values: list[float] = []
    for exponent in range(7):
        bounds = torch.linspace(0.1, 1, 2**exponent + 1, device="cpu")
        means = (bounds[:-1] + bounds[1:]) / 2.0
        for sign in (1, -1):
            values += (sign * 10.0 ** (exponent - 6) * means).tolist()
    values += [0.0, 1.0]
    return torch.tensor(sorted(values), device="cpu")


def nearest(values: Tensor, table: Tensor) -> Tensor:
    """Indices of the nearest entries of an ascending table (uint8), the lower one at a tie."""
    middles = ((table[1:] + table[:-1]) / 2).to(values.device)
    parts = [torch.bucketize(v, middles) for v in values.reshape(-1).split(AT_ONCE)]
    return torch.cat(parts).to(torch.uint8).view(values.shape)


@functools.cache
def tables() -> tuple[Tensor, Tensor]:
    """The 16 values and the 256 for the maxima."""
    return normal_float(), dynamic_map()


class NF4(NamedTuple):
    """``codes`` uint8 [numbers / 2]; ``maxima`` of each block, float32, or with double quantization
    uint8 with ``second`` float32 (maxima of the maxima's blocks) and ``mean`` float32 []."""

    codes: Tensor
    maxima: Tensor
    second: Tensor | None
    mean: Tensor | None


def quantize_nf4(weight: Tensor, double: bool) -> NF4:
    """A matrix [out, in] of an even number of weights in 4 bits each."""
    flat = weight.detach().float().reshape(-1)
    padded = nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    maxima = padded.abs().amax(1)
    scaled = padded / maxima.clamp(min=TINY)[:, None]
    index = nearest(scaled, normal_float()).view(-1)[: len(flat) + len(flat) % 2]
    codes = (index[0::2] << 4) | index[1::2]
    if not double:
        return NF4(codes, maxima, None, None)
    mean = maxima.mean()
    centred = maxima - mean
    blocks = nn.functional.pad(centred, (0, -len(centred) % MAXIMA_BLOCK)).view(-1, MAXIMA_BLOCK)
    second = blocks.abs().amax(1)
    scaled_maxima = blocks / second.clamp(min=TINY)[:, None]
    # bitsandbytes looks them up by 16 bits of the value; so do these, for the very same codes
    grid = ((scaled_maxima + 1) * 32767.5).round_() / 32767.5 - 1
    small = nearest(grid, dynamic_map())
    return NF4(codes, small.view(-1)[: len(maxima)], second, mean)


def scale_blocks(values: Tensor, scales: Tensor, size: int) -> Tensor:
    """Multiply each block of ``size`` of ``values`` [n] by its scale, in place; the last may be
    short."""
    whole = len(values) // size
    values[: whole * size].view(-1, size).mul_(scales[:whole, None])
    if whole * size < len(values):
        values[whole * size :].mul_(scales[-1])
    return values


def block_maxima(stored: NF4) -> Tensor:
    """The float32 maximum of every block."""
    if stored.second is None or stored.mean is None:
        return stored.maxima
    table = dynamic_map().to(stored.maxima.device)
    values = table.index_select(0, stored.maxima.int())
    return scale_blocks(values, stored.second, MAXIMA_BLOCK).add_(stored.mean)


def dequantize_nf4(stored: NF4, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """The matrix as float32, with little beside it in memory: both numbers of a byte are looked up
    at once, and scaled where they stand.

    The pair is copied as one integer of 64 bits, which torch does far faster than a row of two.
    """
    pairs = number_pairs(stored.codes.device)
    values = pairs.index_select(0, stored.codes.int()).view(torch.float32)
    scale_blocks(values, block_maxima(stored), BLOCK)
    return values[: shape[0] * shape[1]].view(tuple(shape))


class NF4Linear(QuantizedLinear):
    """A linear layer whose weights are stored in 4 bits."""

    codes: Tensor
    maxima: Tensor
    second: Tensor | None
    mean: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor | None, double: bool, fast: bool = True
    ) -> None:
        super().__init__(weight.shape, bias)
        if not fast:
            self.fast = False
        for name, value in zip(NF4._fields, quantize_nf4(weight, double), strict=True):
            self.register_buffer(name, value)

    @property
    def stored(self) -> NF4:
        kept: dict[str, Any] = self._buffers  # a step of generation asks for it some hundred times
        return NF4(kept["codes"], kept["maxima"], kept["second"], kept["mean"])

    def loops(self, x: Tensor | None, dtype: torch.dtype) -> ModuleType | None:
        """The compiled loops, if they take ``x`` and this matrix: rows of whole blocks.

        They read memory by its address, so scales that were cast (``model.bfloat16()``) are not
        for them.
        """
        kept: dict[str, Any] = self._buffers
        codes, scales = kept["codes"], kept["maxima"] if kept["second"] is None else kept["second"]
        if not self.fast or self.in_features % BLOCK or not codes.is_cpu or dtype not in MOST_ROWS:
            return None
        if scales.dtype is not torch.float32:
            return None
        if x is not None and (self.out_features % 4 or len(x) > MOST_ROWS[dtype] or not x.is_cpu):
            return None
        return loops()

    def matrix(self, dtype: torch.dtype) -> Tensor:
        shape, compiled = (self.out_features, self.in_features), self.loops(None, dtype)
        if compiled is None:
            return dequantize_nf4(self.stored, shape).to(dtype)
        found: Tensor = compiled.matrix(self.stored, tables(), dtype)
        return found.view(shape)

    def dequantize(self) -> Tensor:
        return self.matrix(torch.float32)

    def product(self, x: Tensor) -> Tensor | None:
        compiled = self.loops(x, x.dtype)
        if compiled is None:
            return None
        found: Tensor = compiled.product(x, self.stored, tables(), self.out_features)
        return found.to(x.dtype)


@register("method", "nf4", offers=("quantized",))
class NormalFloat4(Quantizer):
    """4-bit NormalFloat weights from scratch; with lora behind it, this is QLoRA."""

    @dataclass(frozen=True)
    class Config(LayerOptions):
        double: bool = option(True, "keep the maxima of the blocks in 8 bits too")
        path: str = option(
            "auto",
            "how to multiply; auto: by compiled loops where they are for this processor and numba "
            "is installed, reference: the formula in torch, then a product",
            choices=("auto", "reference"),
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (("targets != []", "nf4 needs targets"),)

    config: Config

    def apply(self, model: Model, context: MethodContext) -> Model:
        if self.config.path == "auto" and has_registers() and loops() is None:
            self.notes.append(
                "numba is not installed: products are several times slower "
                "(pip install 'scratchlab[pretrained]')"
            )
        return super().apply(model, context)

    def smaller(self, name: str, layer: Any) -> NF4Linear:
        fast = self.config.path == "auto"
        new = NF4Linear(linear_weight(layer), layer.bias, self.config.double, fast)
        self.record(name, layer, new)
        return new

    @property
    def products(self) -> str:
        return LOOKED_UP if self.config.path == "auto" and loops() is not None else DEQUANTIZED

    @property
    def title(self) -> str:
        more = " (its maxima in 8 bits, theirs in 32 for each 256)" if self.config.double else ""
        return f"nf4: 4 bits a weight, one maximum for each {BLOCK} weights{more}"
