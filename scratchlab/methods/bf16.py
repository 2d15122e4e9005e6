"""Weights as bfloat16: the upper half of a float32, 8 bits of exponent and 8 of precision.

A weight is off by at most 1/256 of itself, no scale is needed, and half the bytes are read. Where
the processor multiplies bfloat16 (AVX512-BF16, AMX), inputs are rounded to it as well and sums are
taken in fp32: many rows take half the time or less. On a CPU the embedding then gives bfloat16 to
what is between the products too, if no layer behind it has a matrix in fp32 and no gradient is
wanted; norms and softmax compute in fp32 inside. Elsewhere the products are those of fp32 with the
rounded weights.

Calls of the bfloat16 kernels take some 20 microseconds each: small models that write one text at a
time layer by layer are faster in fp32. Compiled steps (``models/compiled``) multiply floats with
the rounded weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.methods.contract import MethodContext, StoredMatrix
from scratchlab.methods.int8 import Int8, Int8Embedding
from scratchlab.methods.int8_kernels import Kernel
from scratchlab.methods.quantized import DEQUANTIZED, LayerOptions, QuantizedLinear
from scratchlab.methods.replace import replace_module
from scratchlab.models.contract import Model
from scratchlab.models.layers.linear import FEW, Linear, Packs, with_blocked
from scratchlab.models.layers.lowered import has_bfloat16
from scratchlab.models.layers.positions import Positions
from scratchlab.registry import option, register


class Bf16Weight(StoredMatrix, Packs):
    """The stored matrix; an embedding and an output layer that are tied share one."""

    values: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", weight.detach().to(torch.bfloat16).contiguous())

    @property
    def quantized_shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def rows(self, ids: Tensor) -> Tensor:
        """Rows of the matrix as floats, [..., in]."""
        return self.values[ids].float()

    def dequantize(self) -> Tensor:
        return self.values.float()

    def pack(self, rows: int) -> bool:
        """A copy in blocked order is faster for any number of rows."""
        if multiplies(self.values.device) and self.values.device.type == "cpu":
            self.blocked = torch.ops.mkldnn._reorder_linear_weight(self.values, FEW)
        return self.blocked is not None


class Bf16Linear(QuantizedLinear):
    """A linear layer whose bfloat16 matrix stands in a module of its own, ``stored``."""

    def __init__(self, stored: Bf16Weight, bias: Tensor | None) -> None:
        super().__init__(stored.values.shape, bias)
        self.stored = stored

    @property
    def quantized_shape(self) -> tuple[int, ...]:
        return ()

    def dequantize(self) -> Tensor:
        return self.stored.dequantize()

    def matrix(self, dtype: torch.dtype) -> Tensor:
        return self.stored.values.to(dtype)

    def few_rows(self) -> tuple[Tensor, Tensor | None] | None:
        return (self.stored.values, None) if self.fast else None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] → [..., out]."""
        wanted = torch.is_grad_enabled() and x.requires_grad
        if wanted or not (self.fast and multiplies(x.device)):
            return super().forward(x)
        rows = x.reshape(-1, self.in_features).to(torch.bfloat16)
        bias = None if self.bias is None else self.bias.to(torch.bfloat16)
        copy = self.stored.blocked
        if copy is None:
            y = F.linear(rows, self.stored.values, bias)
        else:
            y = with_blocked(rows, copy, bias)
        return y.to(x.dtype).view(*x.shape[:-1], self.out_features)


class Bf16Embedding(Int8Embedding):
    """An embedding that gives bfloat16 where nobody wants gradients, if it is ``narrow``: every
    layer behind it can take it."""

    narrow = False
    fast = True  # as of a QuantizedLinear: whether bfloat16 may be what is between the products

    def few_rows(self) -> tuple[Tensor, Tensor | None] | None:
        return self.stored.values, None

    def forward(self, ids: Tensor) -> Tensor:
        """ids [...] → [..., D]."""
        found = super().forward(ids)
        narrow = self.narrow and self.fast and QuantizedLinear.fast
        # On a GPU torch's norms refuse it where their weights are fp32.
        if narrow and not torch.is_grad_enabled() and ids.device.type == "cpu" and has_bfloat16():
            return found.to(torch.bfloat16)
        return found


def _wants_floats(module: nn.Module) -> bool:
    """Whether a layer has a matrix in floats that its input is multiplied with."""
    if isinstance(module, Positions | nn.Embedding):  # rows of it are added, in the input's type
        return False
    return any(p.dim() > 1 and p.is_floating_point() for p in module.parameters(recurse=False))


def multiplies(device: torch.device) -> bool:
    """Whether products of bfloat16 are made there by the processor itself."""
    return has_bfloat16() if device.type == "cpu" else device.type == "cuda"


@register("method", "bf16", offers=("quantized",))
class Bf16(Int8):
    """Weights as bfloat16, half the bytes; products in bfloat16 where the processor has them."""

    @dataclass(frozen=True)
    class Config(LayerOptions):
        embedding: bool = option(True, "the embedding of tokens and the output layer too")

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("targets != [] or embedding", "bf16 needs targets"),
        )

    config: Config  # type: ignore[assignment]

    def quantize(self, model: Model, names: Sequence[str], context: MethodContext) -> None:
        super().quantize(model, names, context)
        narrow = not any(map(_wants_floats, model.modules()))
        self.embeddings = [m for m in model.modules() if isinstance(m, Bf16Embedding)]
        for embedding in self.embeddings:
            embedding.narrow = narrow
        if not has_bfloat16():
            self.notes.append(
                "this processor multiplies no bfloat16: here the weights are dequantized a layer "
                "at a time, which saves memory, not time"
            )

    @property
    def mergeable(self) -> bool:
        return all(embedding.factor == 1 for embedding in self.embeddings)

    def merge(self, model: nn.Module) -> None:
        """Plain layers with the rounded weights: a float32 holds them as they are."""
        plain: dict[Bf16Weight, nn.Parameter] = {}  # a matrix of several layers stays one
        for name, layer in list(model.named_modules()):
            if not isinstance(layer, Bf16Linear | Bf16Embedding):
                continue
            stored: Any = layer.stored
            if stored not in plain:
                plain[stored] = nn.Parameter(stored.dequantize(), False)
            outputs, inputs = stored.quantized_shape
            if isinstance(layer, Bf16Embedding):
                found: Any = nn.Embedding(outputs, inputs, device="meta")
            else:
                found = Linear(inputs, outputs, layer.bias is not None, device="meta")
                found.bias = layer.bias
            found.weight = plain[stored]
            replace_module(model, name, found)

    def multiplier(self, context: MethodContext) -> Kernel | None:
        return None  # its layers have their own

    def store(self, weight: Tensor) -> Bf16Weight:
        return Bf16Weight(weight)

    def linear(self, stored: Any, bias: Tensor | None) -> nn.Module:
        return Bf16Linear(stored, bias)

    def embedding(self, stored: Any, factor: float) -> nn.Module:
        return Bf16Embedding(stored, factor)

    @property
    def products(self) -> str:
        return "bfloat16 (inputs and results)" if has_bfloat16() else DEQUANTIZED

    @property
    def title(self) -> str:
        return "bfloat16: w ≈ ± 1.m · 2^e, 7 bits of m and 8 of e"
