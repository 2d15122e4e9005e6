"""Weights as 8-bit integers, from scratch.

absmax      w ≈ scale · q,         scale = max|w| / 127,           q in -127 … 127
zero_point  w ≈ scale · (q - z),   scale = (max w - min w) / 255,  q in -128 … 127

with one scale for a whole matrix or one for each output channel (row). Only the integers, the
scales and the zero points are kept, in memory and on disk. The plain way to multiply makes a float
matrix and multiplies with it; the fast ones (:mod:`int8_kernels`) take activations in bfloat16, or
write them as 8-bit digits and multiply integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from scratchlab.errors import UserError
from scratchlab.methods.contract import Arithmetic, Method, MethodContext, freeze
from scratchlab.methods.int8_kernels import Kernel, kernel
from scratchlab.methods.quantized import (
    QUANTIZED_COLUMNS,
    LayerError,
    layer_error,
    quantizable,
    size_rows,
)
from scratchlab.methods.replace import (
    find_layers,
    linear_weight,
    replace_module,
)
from scratchlab.methods.soft_prompt import input_embedding
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


class Int8Weight(nn.Module):
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
    def quantized_weights(self) -> int:
        return self.values.numel()

    def rows(self, ids: Tensor) -> Tensor:
        """Rows of the matrix as floats, [..., in]."""
        wide = len(self.scale) > 1
        values = self.values[ids].float()
        if self.zero_point is not None:
            values -= self.zero_point[ids] if wide else self.zero_point[0]
        return values * (self.scale[ids] if wide else self.scale[0])

    def dequantize(self) -> Tensor:
        """The whole matrix as floats [out, in]."""
        values = self.values.float()
        if self.zero_point is not None:
            values -= self.zero_point
        return values.mul_(self.scale)


class _Reference(torch.autograd.Function):
    """Multiply with the dequantized matrix, which is made anew for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stored: Any) -> Tensor:
        ctx.stored = stored
        return x @ stored.dequantize().to(x.dtype).t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] @ ctx.stored.dequantize().to(grads[0].dtype), None


class Int8Linear(nn.Module):
    """A linear layer with a stored int8 matrix; in the place of nn.Linear or Conv1D."""

    weight = None  # there are no floats, and some models (T5) ask for their type

    def __init__(self, stored: Int8Weight, bias: Tensor | None, kernel: Kernel | None) -> None:
        super().__init__()
        self.stored = stored
        self.out_features, self.in_features = map(int, stored.values.shape)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), False)
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] → [..., out]; with a gradient for x the plain way is taken."""
        flat = x.reshape(-1, self.in_features)
        if torch.is_grad_enabled() and x.requires_grad:
            y: Tensor = _Reference.apply(flat, self.stored)
        elif self.kernel is not None and x.device.type == "cpu":
            y = self.kernel(flat, self.stored).to(x.dtype)
        else:
            y = flat @ self.stored.dequantize().to(x.dtype).t()
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        return y.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Int8Embedding(nn.Module):
    """An embedding with a stored int8 matrix."""

    def __init__(self, stored: Int8Weight) -> None:
        super().__init__()
        self.stored = stored
        self.num_embeddings, self.embedding_dim = map(int, stored.values.shape)

    @property
    def weight(self) -> Tensor:
        """The stored integers, for those who ask for the shape."""
        return self.stored.values

    def forward(self, ids: Tensor) -> Tensor:
        """ids [...] → [..., D]."""
        return self.stored.rows(ids)


@register("method", "int8")
class Int8(Method):
    """Weights as 8-bit integers from scratch: absmax or zero-point, per tensor or per channel."""

    quantizes: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Config:
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
        targets: list[str] = option(
            ["linear"], "layers: attention, mlp, linear (both), names or patterns"
        )
        blocks: list[int] | None = option(
            None, "only in these blocks (below 0: from the end); null: in all"
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

    def apply(self, model: nn.Module, context: MethodContext) -> nn.Module:
        config = self.config
        names = []
        if config.targets:
            names = find_layers(
                model, config.targets, "method.int8.targets", config.blocks, quantizable
            )
        freeze(model)
        self.errors: list[LayerError] = []
        self.sizes: list[tuple[str, int, int]] = []
        self.kernel = kernel(config.path, config.activation_bits, config.scheme, context.cache)
        for name in names:
            layer = model.get_submodule(name)
            replace_module(model, name, self._linear(name, layer, linear_weight(layer)))
        if config.embedding:
            self._embedding_and_output(model)
        if not self.sizes:
            raise UserError("method.int8: there is no layer to quantize")
        return model

    def _linear(self, name: str, layer: nn.Module, weight: Tensor) -> Int8Linear:
        bias: Any = getattr(layer, "bias", None)
        return Int8Linear(self._store(name, weight), bias, self.kernel)

    def _store(self, name: str, weight: Tensor) -> Int8Weight:
        found = quantize(weight, self.config.scheme, self.config.per == "channel")
        stored = Int8Weight(found)
        if weight.device.type != "meta":
            self.errors.append(layer_error(name, weight.detach(), stored.dequantize(), 8))
        kept = sum(b.numel() * b.element_size() for b in stored.buffers())
        self.sizes.append((name, weight.numel(), kept))
        return stored

    def _embedding_and_output(self, model: nn.Module) -> None:
        try:
            name, embedding = input_embedding(model)
        except UserError:
            return  # a model without tokens
        output: Any = getattr(model, "output", None)
        tied = output is not None and getattr(output, "weight", None) is getattr(
            embedding, "weight", None
        )
        names = {id(m): n for n, m in model.named_modules()}
        shared = None
        if type(embedding) is nn.Embedding:
            shared = self._store(name, embedding.weight)
            replace_module(model, name, Int8Embedding(shared))
        if type(output) is not nn.Linear:
            return
        out_name = names[id(output)]
        if tied and shared is not None:
            layer = Int8Linear(shared, output.bias, self.kernel)
        else:
            layer = self._linear(out_name, output, output.weight)
        replace_module(model, out_name, layer)

    def arithmetic(self) -> list[Arithmetic]:
        config = self.config
        half = " - zero point" if config.scheme == "zero_point" else ""
        formula = (
            "scale = (max - min) / 255" if config.scheme == "zero_point" else "scale = max|w| / 127"
        )
        title = f"int8 {config.scheme} per {config.per}: w ≈ scale · (q{half}), {formula}"
        return [Arithmetic(title, QUANTIZED_COLUMNS, size_rows(self.sizes))]
