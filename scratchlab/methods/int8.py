"""Weights as 8-bit integers, from scratch.

absmax      w ≈ scale · q,         scale = max|w| / 127,           q in -127 … 127
zero_point  w ≈ scale · (q - z),   scale = (max w - min w) / 255,  q in -128 … 127

with one scale for a whole matrix or one for each output channel (row). Only the integers, the
scales and the zero points are kept, in memory and on disk. The plain way to multiply makes a float
matrix and multiplies with it; the fast ones (:mod:`int8_kernels`) take activations in bfloat16, or
write them as 8-bit digits and multiply integers. Compiled steps (``models/compiled``) of a model
whose ``path`` and ``activation_bits`` are left free take rows of 16 bits, or floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from scratchlab.errors import UserError
from scratchlab.methods.contract import MethodContext, StoredMatrix
from scratchlab.methods.int8_kernels import Kernel, Multiplier, bfloat16_product, kernel
from scratchlab.methods.quantized import (
    DEQUANTIZED,
    LayerOptions,
    QuantizedLinear,
    Quantizer,
    quantizable,
)
from scratchlab.methods.replace import (
    linear_weight,
    name_of,
    sharers,
    without_adapters,
)
from scratchlab.models.contract import Model
from scratchlab.models.layers.linear import PACK_ROWS, Packs, with_blocked
from scratchlab.registry import option, register


class Quantized(NamedTuple):
    """``values`` int8 [out, in]; ``scale`` float32 and ``zero_point`` int32, [out, 1] or [1, 1]
    (no zero point: absmax)."""

    values: Tensor
    scale: Tensor
    zero_point: Tensor | None


def quantize(weight: Tensor, scheme: str, per_channel: bool) -> Quantized:
    """A float matrix [out, in] as integers."""
    weight = weight.detach().float()
    over: Any = {"dim": 1, "keepdim": True} if per_channel else {"dim": (0, 1), "keepdim": True}
    if scheme == "absmax":
        scale = (weight.abs().amax(**over) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        values = (weight / scale).round_().clamp_(-127, 127).to(torch.int8)
        return Quantized(values, scale, None)
    low = weight.amin(**over).clamp(max=0)  # zero itself must be one of the values
    high = weight.amax(**over).clamp(min=0)
    scale = ((high - low) / 255).clamp(min=torch.finfo(torch.float32).tiny)
    zero_point = (-128 - (low / scale).round()).clamp(-128, 127).to(torch.int32)
    values = ((weight / scale).round_() + zero_point).clamp_(-128, 127).to(torch.int8)
    return Quantized(values, scale, zero_point)


class Int8Weight(StoredMatrix):
    """The stored matrix; an embedding and an output layer that are tied share one."""

    values: Tensor
    scale: Tensor
    zero_point: Tensor | None

    def __init__(self, quantized: Quantized) -> None:
        super().__init__()
        self.register_buffer("values", quantized.values.contiguous())
        self.register_buffer("scale", quantized.scale.contiguous())
        zero_point = quantized.zero_point
        self.register_buffer("zero_point", None if zero_point is None else zero_point.contiguous())

    @property
    def quantized_shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def rows(self, ids: Tensor) -> Tensor:
        """Rows of the matrix as floats, [..., in]."""
        wide = len(self.scale) > 1
        values = self.values[ids].float()
        if self.zero_point is not None:
            values -= self.zero_point[ids] if wide else self.zero_point[0]
        return values * (self.scale[ids] if wide else self.scale[0])

    def dequantize(self) -> Tensor:
        values = self.values.float()
        if self.zero_point is not None:
            values -= self.zero_point
        return values.mul_(self.scale)


class Int8Linear(QuantizedLinear, Packs):
    """A linear layer whose int8 matrix stands in a module of its own, ``stored``, multiplied by
    ``kernel`` (None: dequantized). ``free``: nobody asked for that arithmetic, so compiled steps
    may have one of their own."""

    def __init__(
        self, stored: Int8Weight, bias: Tensor | None, kernel: Kernel | None, free: bool = False
    ) -> None:
        super().__init__(stored.values.shape, bias)
        self.stored = stored
        self.kernel = kernel
        self.free = free

    @property
    def quantized_shape(self) -> tuple[int, ...]:
        return ()

    def dequantize(self) -> Tensor:
        return self.stored.dequantize()

    def product(self, x: Tensor) -> Tensor | None:
        if self.kernel is None or x.device.type != "cpu":
            return None
        return self.kernel(x, self.stored).to(x.dtype)

    def few_rows(self) -> tuple[Tensor, Tensor | None] | None:
        kept = self.stored
        if kept.zero_point is not None or not (self.free and self.fast):
            return None
        return kept.values, kept.scale.flatten().expand(self.out_features).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] → [..., out]; with the copy in bfloat16, where there is one."""
        rows = x.numel() // self.in_features
        if self.blocked is None or rows < PACK_ROWS or torch.is_grad_enabled():
            return super().forward(x)
        flat, bias = x.reshape(rows, -1).to(torch.bfloat16), self.bias
        y = with_blocked(flat, self.blocked, None if bias is None else bias.to(torch.bfloat16))
        return y.to(x.dtype).view(*x.shape[:-1], -1)

    def pack(self, rows: int) -> bool:
        """Keep the matrix in bfloat16: rounding it adds far less than the integers did."""
        values = self.stored.values
        if self.kernel is bfloat16_product and values.device.type == "cpu" and rows >= PACK_ROWS:
            floats = self.dequantize().to(torch.bfloat16)
            self.blocked = torch.ops.mkldnn._reorder_linear_weight(floats, rows)
        return self.blocked is not None


class Int8Embedding(nn.Module):
    """An embedding with a stored int8 matrix, whose rows are multiplied by ``factor``."""

    def __init__(self, stored: Int8Weight, factor: float = 1.0) -> None:
        super().__init__()
        self.stored = stored
        self.factor = factor
        self.num_embeddings, self.embedding_dim = map(int, stored.values.shape)

    @property
    def weight(self) -> Tensor:
        """The stored integers, for those who ask for the shape."""
        return self.stored.values

    def few_rows(self) -> tuple[Tensor, Tensor | None] | None:
        """As those of a linear layer are told."""
        kept = self.stored
        if kept.zero_point is not None:
            return None
        return kept.values, kept.scale.flatten().expand(self.num_embeddings).contiguous()

    def forward(self, ids: Tensor) -> Tensor:
        """ids [...] → [..., D]."""
        rows = self.stored.rows(ids)
        return rows if self.factor == 1 else rows * self.factor


def row_factor(embedding: nn.Module) -> float | None:
    """By what an embedding multiplies its rows; None if it does something else with them."""
    if type(embedding) is nn.Embedding:
        return 1.0 if embedding.max_norm is None else None
    if type(embedding).__name__.endswith("ScaledWordEmbedding"):  # BART's and Gemma's kin
        scaled: Any = embedding
        return float(getattr(scaled, "scalar_embed_scale", scaled.embed_scale))
    return None


@register("method", "int8", offers=("quantized",))
class Int8(Quantizer):
    """Weights as 8-bit integers from scratch: absmax or zero-point, per tensor or per channel."""

    @dataclass(frozen=True)
    class Config(LayerOptions):
        scheme: str = option(
            "absmax",
            "absmax: symmetric around zero; zero_point: from the smallest to the largest weight",
            choices=("absmax", "zero_point"),
        )
        per: str = option(
            "channel",
            "one scale for each output channel or for the whole matrix",
            choices=("channel", "tensor"),
        )
        embedding: bool = option(True, "the embedding of tokens and the output layer too")
        path: str = option(
            "auto",
            "how to multiply; auto: what is faster here (activations in bfloat16, or integers), "
            "reference: dequantize, then multiply; integer: integer products",
            choices=("auto", "reference", "integer"),
        )
        activation_bits: str = option(
            "auto",
            "integer products (8 and 16 ask for them): bits of an activation; auto: 16 in rows "
            "with outliers, else 8",
            choices=("auto", "8", "16"),
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("targets != [] or embedding", "int8 needs targets"),
        )

    config: Config

    def quantize(self, model: Model, names: Sequence[str], context: MethodContext) -> None:
        self.kernel = self.multiplier(context)
        embeddings, outputs = _token_layer_names(model) if self.config.embedding else ([], [])
        names = list(dict.fromkeys([*embeddings, *names, *outputs]))
        if not names:
            raise UserError(
                f"method.{self.registered_name}: there is no layer to quantize",
                f"Name layers (method.{self.registered_name}.targets), or take "
                f"method.{self.registered_name}.embedding=true.",
            )
        weights = [model.get_submodule(name).get_parameter("weight") for name in names]
        self.tied: dict[Tensor, Int8Weight | None] = {  # what each matrix of several layers becomes
            weight: None for weight in weights if len(sharers(model, weight)) > 1
        }
        del weights
        super().quantize(model, names, context)
        self.tied.clear()

    def smaller(self, name: str, layer: Any) -> nn.Module:
        stored = self.tied.get(layer.weight)
        if stored is None:
            stored = self.store(linear_weight(layer))
            self.record(name, layer, stored)
            if layer.weight in self.tied:
                self.tied[layer.weight] = stored
        factor = row_factor(layer)
        if factor is not None:
            return self.embedding(stored, factor)
        return self.linear(stored, layer.bias)

    def multiplier(self, context: MethodContext) -> Kernel | None:
        """How its layers multiply; None: with the dequantized matrix."""
        config = self.config
        return kernel(config.path, config.activation_bits, config.scheme, context.cache)

    def store(self, weight: Tensor) -> Any:
        """What keeps a matrix [out, in]."""
        return Int8Weight(quantize(weight, self.config.scheme, self.config.per == "channel"))

    def embedding(self, stored: Any, factor: float) -> nn.Module:
        """The embedding whose rows they are."""
        return Int8Embedding(stored, factor)

    def linear(self, stored: Any, bias: Tensor | None) -> nn.Module:
        """The layer that multiplies with it."""
        free = self.config.path == self.config.activation_bits == "auto"
        return Int8Linear(stored, bias, self.kernel, free)

    @property
    def products(self) -> str:
        if self.kernel is None:
            return DEQUANTIZED
        if isinstance(self.kernel, Multiplier):
            return "integers where that is faster, else " + DEQUANTIZED
        return "bfloat16 (activations and sums); in compiled steps rows of 16 bits or of floats"

    @property
    def title(self) -> str:
        config = self.config
        half = " - zero point" if config.scheme == "zero_point" else ""
        formula = (
            "scale = (max - min) / 255" if config.scheme == "zero_point" else "scale = max|w| / 127"
        )
        return f"int8 {config.scheme} per {config.per}: w ≈ scale · (q{half}), {formula}"


def _token_layer_names(model: Model) -> tuple[list[str], list[str]]:
    """Embeddings and output layer of a model, as far as they can be stored in 8 bits."""
    found = model.token_layers
    if found is None:
        return [], []
    embeddings = [without_adapters(layer) for layer in found.embeddings]
    outputs = [] if found.output is None else [without_adapters(found.output)]
    return (
        [name_of(model, m) for m in embeddings if row_factor(m) is not None],
        [name_of(model, m) for m in outputs if quantizable(m)],
    )
