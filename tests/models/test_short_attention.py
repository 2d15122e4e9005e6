"""Attention in bf16 on a CPU has the gradient that torch's has in fp32, within bf16's rounding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.models.layers import short_attention
from scratchlab.models.layers.attention import attend

B, H, T, S, HEAD = 5, 4, 7, 9, 16


def inputs(keys: int = S) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    sizes = (T, keys, keys)
    return tuple(torch.randn(B, H, n, HEAD).bfloat16().float().requires_grad_() for n in sizes)


def padded(kind: torch.dtype) -> Tensor:
    """A mask that hides the end of two texts."""
    seen = torch.ones(B, 1, 1, S, dtype=torch.bool)
    seen[1, ..., 4:] = seen[3, ..., 8:] = False
    if kind == torch.bool:
        return seen
    return torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))


def gradients(mask: Tensor | None, causal: bool, lower: bool) -> tuple[Tensor, ...]:
    """What is attended to, and the gradients of q, k and v."""
    q, k, v = inputs(T if causal else S)
    slope = torch.randn(B, H, T, HEAD, generator=torch.Generator().manual_seed(1))
    if lower:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = attend(q, k, v, mask, causal)
        assert out.dtype == torch.bfloat16
        assert type(out.grad_fn).__name__ == "ShortAttentionBackward"
    else:
        out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    return out.float(), *torch.autograd.grad(out, (q, k, v), slope.to(out.dtype))


@pytest.mark.parametrize(
    ("mask", "causal"),
    [(None, False), (None, True), (padded(torch.float), False), (padded(torch.bool), False)],
    ids=["all", "causal", "added", "seen"],
)
def test_gradients_are_those_of_torch_in_fp32(
    mask: Tensor | None, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = gradients(mask, causal, lower=False)
    found = gradients(mask, causal, lower=True)
    for mine, right in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32  # that of what attention was given
        assert (mine - right).norm() < 0.01 * right.norm()
    monkeypatch.setattr(short_attention, "AT_ONCE", 2 * H * T * T)  # two texts at a time
    for mine, before in zip(gradients(mask, causal, lower=True), found, strict=True):
        assert torch.equal(mine, before)


def test_other_precisions_and_long_texts_stay_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = inputs()
    ours = "ShortAttentionBackward"
    assert type(attend(q, k, v).grad_fn).__name__ != ours  # fp32
    lower = [t.bfloat16() for t in (q, k, v)]
    assert type(attend(*lower).grad_fn).__name__ == ours
    weights = torch.zeros(B, H, T, S, dtype=torch.bfloat16, requires_grad=True)
    assert type(attend(*lower, weights).grad_fn).__name__ != ours  # the mask is trained
    monkeypatch.setattr(short_attention, "LONGEST", S - 1)
    assert type(attend(*lower).grad_fn).__name__ != ours
