"""Training in bf16 on a CPU: which products are computed in it, and linear layers that are.

Under autocast torch casts what each product reads and casts the gradients back. Here the residual
stream of a Transformer is bf16 from the embeddings on (:func:`lowered`), so that nothing is left to
cast between its layers; a product, its bias and its ReLU are one call; gradients of the weights
arrive in their own dtype. Norms, softmax and loss compute in fp32 inside. The weights stay fp32: a
cast in each forward pass is a hundredth of its time.

oneDNN compiles a product when it meets its shape for the first time, which takes several times as
long as the product. Batches of sentences have another number of tokens each, so their rows are
filled up with zeros to whole blocks (:func:`in_blocks`): these shapes are soon all known.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor


def product_dtype(x: Tensor) -> torch.dtype:
    """What products of ``x`` are computed in: its own dtype, or what autocast makes of it."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def is_lowered(x: Tensor) -> bool:
    """Whether autocast asks for products of ``x`` in bf16, of a CPU that computes in it."""
    if not torch._C._is_any_autocast_enabled():  # asked by every layer at every step
        return False
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if not torch.is_autocast_enabled("cpu"):
        return False
    return torch.get_autocast_dtype("cpu") == torch.bfloat16 and has_bfloat16()


@cache
def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself, as far as this torch can tell."""
    ask = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return ask is not None and bool(ask())


def lowered(x: Tensor) -> Tensor:
    """The start of a residual stream, in the dtype of the products where :func:`is_lowered`."""
    return x.bfloat16() if is_lowered(x) else x


ROWS = 128  # of a block: of some thousand rows one in a hundred is a zero then


def in_blocks(x: Tensor) -> Tensor:
    """x [n, in] with rows of zeros after it, up to whole blocks; less than one as it is."""
    missing = -len(x) % ROWS
    if not missing or len(x) < ROWS:
        return x
    whole = x.new_empty(len(x) + missing, x.shape[1])
    whole[: len(x)] = x
    whole[len(x) :] = 0
    return whole


class LoweredLinear(torch.autograd.Function):
    """``x Wᵀ + b``, or its ReLU, for x [n, in] in bf16 and weights in any dtype of floats."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        weight = weight.bfloat16()
        bias = None if bias is None else bias.bfloat16()
        name, count = "relu" if relu else "none", len(x)
        ctx.filled = count % ROWS != 0
        if ctx.filled:
            x = in_blocks(x)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], "")
        if ctx.filled:
            y.resize_(count, y.shape[1])  # the same memory
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight, y = ctx.saved_tensors
        if y is not None:
            grad = torch.ops.aten.threshold_backward(grad, y, 0)
        wanted, (of_weight, of_bias) = ctx.needs_input_grad, ctx.dtypes
        grad_bias = grad.sum(0).to(of_bias) if wanted[2] else None
        count = len(grad)
        if ctx.filled:
            grad = in_blocks(grad)
        grad_x = grad @ weight if wanted[0] else None
        if ctx.filled and grad_x is not None:
            grad_x = grad_x[:count]
        grad_weight = (grad.t() @ x).to(of_weight) if wanted[1] else None
        return grad_x, grad_weight, grad_bias, None


def lowered_linear(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
    """``x Wᵀ + b``, or its ReLU, for x [..., in] where :func:`is_lowered`."""
    flat = x.to(torch.bfloat16).flatten(0, -2)
    y: Tensor = LoweredLinear.apply(flat, weight, bias, relu)
    return y if x.dim() == 2 else y.view(*x.shape[:-1], y.shape[-1])
