"""Attention in bf16 on a CPU, fast for short texts too.

torch's kernels work on large pieces of a text, one head at a time. In bf16 they take as long for a
piece that is mostly empty: at 16 tokens a head, as in the translation of sentences, the gradient
needs some fifteen times the fp32 kernel, half of a training step. Here it is written out as batched
products over all heads, a few texts at a time, so that what is between them stays in the cache; the
softmax is computed in fp32. Up to some 24 tokens the way forward is written out too and its
probabilities are kept; beyond that torch's kernel is faster, and they are computed again. From some
256 tokens on torch's gradient is the faster one as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.models.layers.lowered import product_dtype

LONGEST = 256  # tokens; above it torch's gradient is as fast, and skips what causality hides
AT_ONCE = 1 << 19  # scores, 2 MB of fp32
EVEN = 32  # texts; a product's first time with another number of them costs as much as two products
SHORT_ROW = 24  # scores; torch's softmax needs a vector register for each row, however short


class ShortAttention(torch.autograd.Function):
    """softmax(q kᵀ / √head_dim + mask) v and its gradient, for q, k and v of one dtype.

    q [B, H, T, head_dim], k and v [B, H, S, head_dim]; ``mask`` as :func:`attend` has it, without a
    gradient of its own. A query that sees no key attends to nothing: zeros.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool
    ) -> Tensor:
        ctx.shapes, ctx.causal = (q.shape, k.shape), causal
        ctx.together = q.shape == k.shape and _share_memory(q, k)
        if k.shape[2] > SHORT_ROW:
            ctx.save_for_backward(q, k, v, mask, None)
            return F.scaled_dot_product_attention(q, k, v, mask, 0.0, causal)
        rows = [t.flatten(0, 1) for t in (q, k, v)]  # [n, T or S, head_dim], n = B H
        hidden = added(mask, causal, q, k)
        blind = _blind(mask, hidden)
        p, out = q.new_empty(len(rows[0]), q.shape[2], k.shape[2]), q.new_empty(rows[0].shape)
        for some, texts in _pieces(q.shape, k.shape):
            of_q, of_k, of_v = (t[some] for t in rows)
            bias = _of_texts(hidden, texts), _of_texts(blind, texts)
            own = probabilities(of_q, of_k, q.shape[1], *bias)
            torch.bmm(p[some].copy_(own), of_v, out=out[some])
        ctx.save_for_backward(*rows, mask, p)
        return out.view(q.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask, p = ctx.saved_tensors
        q, k, v = (t.flatten(0, -3) for t in (q, k, v))
        grad, scale = grads[0].flatten(0, 1), q.shape[-1] ** -0.5
        hidden = added(mask, ctx.causal, q, k) if p is None else None
        of, seen = ctx.shapes
        blind, heads = _blind(mask, hidden), of[1]
        if p is None:
            found = q.new_empty(of), q.new_empty(seen), q.new_empty(seen)
        else:
            found = _beside_each_other(of, seen, ctx.together, q)
        for some, texts in _pieces(of, seen):
            of_q, of_k, of_v = (t[texts] for t in found)
            if p is None:
                bias = _of_texts(hidden, texts), _of_texts(blind, texts)
                own = probabilities(q[some], k[some], heads, *bias)
                rounded = own.to(q.dtype)
            else:
                rounded, own = p[some], p[some].float()
            _product(rounded.mT, grad[some], of_v)
            change = torch.bmm(grad[some], v[some].mT).float()
            if p is None:
                change = torch.ops.aten._softmax_backward_data(change, own, -1, own.dtype)
            else:  # p (dp - Σ p dp), as it is fast for short rows
                change.mul_(own).addcmul_(own, change.sum(-1, keepdim=True), value=-1)
            slope = change.mul_(scale).to(q.dtype)
            _product(slope, k[some], of_q)
            _product(slope.mT, q[some], of_k)
        return *found, None, None


def _product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """a b [n, ., .] to some heads [texts, H, ., .], wherever these lie."""
    if out.is_contiguous():
        torch.bmm(a, b, out=out.flatten(0, 1))
    else:
        out.copy_(torch.bmm(a, b).view_as(out))


class Parts(torch.autograd.Function):
    """``x.chunk(count, dim)``. Gradients that lie side by side in memory are that of ``x`` as they
    are; others are put together, as torch does it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, dim: int) -> tuple[Tensor, ...]:
        ctx.dim = dim
        return x.chunk(count, dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first, size = grads[0], grads[0].shape[ctx.dim]
        step = size * first.stride(ctx.dim)
        for number, grad in enumerate(grads):
            place = first.storage_offset() + number * step
            alike = grad.shape == first.shape and grad.stride() == first.stride()
            if not (alike and _share_memory(first, grad) and grad.storage_offset() == place):
                return torch.cat(grads, ctx.dim), None, None
        shape = list(first.shape)
        shape[ctx.dim] = size * len(grads)
        return first.as_strided(shape, first.stride()), None, None


def parts(x: Tensor, count: int, dim: int) -> tuple[Tensor, ...]:
    """Queries, keys, values of ``x`` [B, T, .., ..], where they are stacked in ``dim``."""
    in_bf16 = x.requires_grad and x.dtype == torch.bfloat16 and _is_plain(x)
    if in_bf16 and x.shape[1] <= SHORT_ROW:
        found: tuple[Tensor, ...] = Parts.apply(x, count, dim)
        return found
    return x.chunk(count, dim)


def probabilities(
    q: Tensor, k: Tensor, heads: int, hidden: Tensor | None = None, blind: Tensor | None = None
) -> Tensor:
    """softmax(q kᵀ / √head_dim + hidden) in fp32 [n, T, S], for q and k of some texts' heads as
    rows [n, T or S, head_dim]; zeros for the queries that are ``blind``."""
    scores = torch.bmm(q, k.mT).float().mul_(q.shape[-1] ** -0.5)
    by_text = scores.unflatten(0, (-1, heads))
    if hidden is not None:
        by_text.add_(hidden)
    if scores.shape[-1] > SHORT_ROW:
        torch.softmax(scores, -1, out=scores)
    else:
        scores.sub_(scores.amax(-1, keepdim=True)).exp_()
        scores.div_(scores.sum(-1, keepdim=True))
    if blind is not None:
        by_text.masked_fill_(blind, 0)
    return scores


def _pieces(q: torch.Size, k: torch.Size) -> Iterator[tuple[slice, slice]]:
    """Of q [B, H, T, .] and k [B, H, S, .]: some heads of all, and the texts whose they are."""
    batch, heads, queries, _ = q
    count = max(1, AT_ONCE // (heads * queries * k[2]))
    unit, start = min(EVEN, count), 0
    while start < batch:
        size = min(count, batch - start)
        if size >= unit:
            size -= size % unit
        elif batch >= unit:  # in a shape that is known; a few are computed again, to the same
            start, size = batch - unit, unit
        yield slice(start * heads, (start + size) * heads), slice(start, start + size)
        start += size


def _blind(mask: Tensor | None, hidden: Tensor | None) -> Tensor | None:
    """Queries that see no key, [., ., ., 1]; None: there are none."""
    if mask is None or hidden is None:
        return None
    found = (hidden == float("-inf")).all(-1, keepdim=True)
    return found if found.any() else None


def _of_texts(values: Tensor | None, texts: slice) -> Tensor | None:
    """Of what is the same for all texts, or for each its own."""
    return values[texts] if values is not None and len(values) > 1 else values


def _share_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _beside_each_other(
    shape: torch.Size, seen: torch.Size, together: bool, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Places for the gradients of q and of k and v, [B, H, T or S, head_dim]: those beside each
    other that :class:`Parts` then need not put together."""

    def stacked(count: int, of: torch.Size) -> tuple[Tensor, ...]:
        batch, heads, length, size = of
        whole = like.new_empty(batch, length, count, heads, size)
        return tuple(t.transpose(1, 2) for t in whole.unbind(2))

    if together:
        q, k, v = stacked(3, shape)
    else:
        (q,), (k, v) = stacked(1, shape), stacked(2, seen)
    return q, k, v


def added(mask: Tensor | None, causal: bool, q: Tensor, k: Tensor) -> Tensor | None:
    """What is added to the scores, fp32, to be broadcast to [B, H, T, S]; None: nothing."""
    if causal:
        hidden = torch.full((q.shape[-2], k.shape[-2]), float("-inf"), device=q.device)
        return hidden.triu(1)[None, None]
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))
    return mask.float()[(None,) * (4 - mask.dim())]


def _is_plain(x: Tensor) -> bool:
    """Whether ``x`` is of a CPU, and its gradient is wanted of torch itself."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling() and x.device.type == "cpu"


def is_short(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> bool:
    """Whether attention is faster here: a gradient is wanted, in bf16, of short texts on a CPU."""
    if not _is_plain(q) or max(q.shape[2], k.shape[2]) > LONGEST:
        return False
    wanted = any(t.requires_grad for t in (q, k, v))
    fixed = mask is None or not mask.requires_grad
    return wanted and fixed and product_dtype(q) == torch.bfloat16


def short_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """As :func:`torch.nn.functional.scaled_dot_product_attention`, where :func:`is_short`."""
    dtype = product_dtype(q)
    out: Tensor = ShortAttention.apply(q.to(dtype), k.to(dtype), v.to(dtype), mask, causal)
    return out
