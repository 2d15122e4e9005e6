"""Dropout that costs little on a CPU, and dropout that is the same at all times of a text.

``torch.nn.functional.dropout`` draws one Bernoulli variable per element, one after the other: on a
CPU that takes about as long as thirty additions per element. Here eight elements share one 64-bit
word of the generator, one byte each. The draws still come from torch's default generator, so a
saved random state reproduces them exactly. Other devices use torch's own kernel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def keep_mask(shape: torch.Size, p: float) -> Tensor:
    """A boolean CPU mask that is False with probability ``p``.

    A byte can be compared with whole numbers only, so ``256 * p`` is rounded up or down at random,
    such that each element is dropped with probability ``p`` exactly (over calls). Below 1/256 and
    above 255/256 that would drop all or none of a call's elements together: there each is drawn by
    itself, from 53 bits.
    """
    count = shape.numel()
    if not 1 / 256 <= p <= 255 / 256:
        return torch.rand(count, dtype=torch.float64).ge_(p).bool().view(shape)
    words = torch.empty((count + 7) // 8 + 1, dtype=torch.int64).random_(-(2**63), None)
    fraction = int(words[-1]) % 65536 / 65536
    drawn = words.view(torch.uint8)[:count].view(shape)
    # In place and as whole numbers: what gives truth values takes ten times as long.
    return drawn.ge_(int(256 * p + fraction)).view(torch.bool)


def ones_and_zeros(keep: Tensor, dtype: torch.dtype) -> Tensor:
    """A boolean mask as numbers; torch turns bytes into floats several times as fast."""
    return keep.view(torch.uint8).to(dtype)


class _DropoutAdd(torch.autograd.Function):
    """``residual + x * mask / (1 - p)``; only the mask (one byte per element) is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, p: float) -> Tensor:
        keep = keep_mask(x.shape, p)
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - p)
        ctx.has_residual = residual is not None
        start = x.new_zeros(()) if residual is None else residual
        return torch.addcmul(start, x, ones_and_zeros(keep, x.dtype), value=ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        (keep,) = ctx.saved_tensors
        mask = ones_and_zeros(keep, grad.dtype)
        grad_x = torch.addcmul(grad.new_zeros(()), grad, mask, value=ctx.scale)
        return grad_x, grad if ctx.has_residual else None, None


class Dropout(nn.Module):
    """Drop elements with probability ``p`` while training; optionally add a residual on the way."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """``x`` of any shape; ``residual`` of the same shape is added after the dropping."""
        if not self.training or self.p == 0:
            return x if residual is None else residual + x
        if x.device.type != "cpu" or self.p >= 1 or torch.compiler.is_compiling():
            dropped = F.dropout(x, self.p)
            return dropped if residual is None else residual + dropped
        dropped = _DropoutAdd.apply(x, residual, self.p)
        return dropped

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LockedDropout(nn.Module):
    """Dropout whose mask is the same at all times of a text (Gal & Ghahramani 2016)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] → the same shape."""
        if not self.training or self.p == 0:
            return x
        mask = x.new_empty(x.shape[0], 1, x.shape[2]).bernoulli_(1 - self.p)
        return x * mask.div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
