"""Attention in bf16 on a CPU, with a gradient that is fast for short texts too.

torch's kernel for the gradient works on large pieces of a text. In bf16 it takes as long for a
piece that is mostly empty: at 16 tokens a head, as in the translation of sentences, it needs some
fifteen times the fp32 kernel, half of a training step. Here the gradient is written out as batched
products, a few texts at a time, so that what is between them stays in the cache; the softmax is
computed in fp32. Forward it is torch's kernel. From some 256 tokens on that one's gradient is the
faster one as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.models.layers.lowered import product_dtype

LONGEST = 256  # tokens; above it torch's gradient is as fast, and skips what causality hides
AT_ONCE = 1 << 19  # scores, 2 MB of fp32


class ShortAttention(torch.autograd.Function):
    """softmax(q kᵀ / √head_dim + mask) v and its gradient, for q, k and v of one dtype.

    q [B, H, T, head_dim], k and v [B, H, S, head_dim]; ``mask`` as :func:`attend` has it, without a
    gradient of its own. The probabilities are not kept, but computed again.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, mask)
        ctx.causal = causal
        return F.scaled_dot_product_attention(q, k, v, mask, 0.0, causal)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask = ctx.saved_tensors
        batch, heads, queries, _ = q.shape
        hidden = added(mask, ctx.causal, q, k)
        found = [torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v)]
        texts = max(1, AT_ONCE // (heads * queries * k.shape[2]))
        for start in range(0, batch, texts):
            some = slice(start, start + texts)
            bias = None if hidden is None else hidden[some] if len(hidden) > 1 else hidden
            rows = [t[some].flatten(0, 1) for t in (q, k, v, grads[0])]
            _gradient(rows, bias, heads, [t[some].flatten(0, 1) for t in found])
        return *found, None, None


def _gradient(
    rows: Sequence[Tensor], bias: Tensor | None, heads: int, found: Sequence[Tensor]
) -> None:
    """Of q, k, v and what comes back, some texts' heads as rows [n, T or S, head_dim]: the three
    gradients, into ``found``. ``bias`` [texts or 1, ., ., S]."""
    q, k, v, grad = rows
    grad_q, grad_k, grad_v = found
    scale = q.shape[-1] ** -0.5
    scores = torch.bmm(q, k.mT).float().mul_(scale)  # [n, T, S]
    if bias is not None:
        scores.unflatten(0, (-1, heads)).add_(bias)
    p = torch.softmax(scores, -1, out=scores)
    torch.bmm(p.to(q.dtype).mT, grad, out=grad_v)
    slope = torch.bmm(grad, v.mT).float()
    slope = torch.ops.aten._softmax_backward_data(slope, p, -1, p.dtype)  # p (dp - Σ p dp)
    change = slope.mul_(scale).to(q.dtype)
    torch.bmm(change, k, out=grad_q)
    torch.bmm(change.mT, q, out=grad_k)


def added(mask: Tensor | None, causal: bool, q: Tensor, k: Tensor) -> Tensor | None:
    """What is added to the scores, fp32, to be broadcast to [B, H, T, S]; None: nothing."""
    if causal:
        hidden = torch.full((q.shape[2], k.shape[2]), float("-inf"), device=q.device)
        return hidden.triu(1)[None, None]
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))
    return mask.float()[(None,) * (4 - mask.dim())]


def is_short(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> bool:
    """Whether attention is faster here: a gradient is wanted, in bf16, of short texts on a CPU."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    if q.device.type != "cpu" or max(q.shape[2], k.shape[2]) > LONGEST:
        return False
    wanted = any(t.requires_grad for t in (q, k, v))
    fixed = mask is None or not mask.requires_grad
    return wanted and fixed and product_dtype(q) == torch.bfloat16


def short_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """As :func:`torch.nn.functional.scaled_dot_product_attention`, where :func:`is_short`."""
    dtype = product_dtype(q)
    out: Tensor = ShortAttention.apply(q.to(dtype), k.to(dtype), v.to(dtype), mask, causal)
    return out
