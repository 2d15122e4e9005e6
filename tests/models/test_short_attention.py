"""Attention in bf16 on a CPU is torch's in fp32, and so is its gradient, within bf16's rounding."""

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


@pytest.mark.parametrize("short_row", [24, 1], ids=["kept", "again"])
@pytest.mark.parametrize(
    ("mask", "causal"),
    [(None, False), (None, True), (padded(torch.float), False), (padded(torch.bool), False)],
    ids=["all", "causal", "added", "seen"],
)
def test_gradients_are_those_of_torch_in_fp32(
    mask: Tensor | None, causal: bool, short_row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_attention, "SHORT_ROW", short_row)
    expected = gradients(mask, causal, lower=False)
    found = gradients(mask, causal, lower=True)
    for mine, right in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32  # that of what attention was given
        assert (mine - right).norm() < 0.01 * right.norm()
    monkeypatch.setattr(short_attention, "AT_ONCE", 2 * H * T * T)  # two texts at a time
    for mine, before in zip(gradients(mask, causal, lower=True), found, strict=True):
        assert torch.equal(mine, before)


def test_short_and_long_rows_have_the_same_softmax() -> None:
    torch.manual_seed(0)
    for length in (1, short_attention.SHORT_ROW, short_attention.SHORT_ROW + 1):
        q, k = torch.randn(6, T, HEAD), 9 * torch.randn(6, length, HEAD)
        hidden = torch.zeros(3, 1, 1, length)
        hidden[1, ..., length // 2 + 1 :] = float("-inf")
        scores = q @ k.mT / HEAD**0.5 + hidden.repeat_interleave(2, 0)[:, 0]
        found = short_attention.probabilities(q, k, 2, hidden)
        torch.testing.assert_close(found, scores.softmax(-1))


@pytest.mark.parametrize("short_row", [24, 1], ids=["kept", "again"])
def test_a_text_without_any_key_attends_to_nothing(
    short_row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_attention, "SHORT_ROW", short_row)
    q, k, v = inputs()
    seen = torch.ones(B, 1, 1, S, dtype=torch.bool)
    seen[2] = False
    expected = F.scaled_dot_product_attention(q, k, v, seen)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attend(q, k, v, seen)
    assert torch.equal(out[2], torch.zeros_like(out[2])) and expected[2].abs().max() == 0
    assert (out - expected).norm() < 0.01 * expected.norm()
    for gradient in torch.autograd.grad(out.float().square().sum(), (q, k, v)):
        assert torch.isfinite(gradient).all() and gradient[2].abs().max() == 0


def test_gradients_of_stacked_queries_keys_and_values_are_written_in_one_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies: list[int] = []
    put_together = torch.cat
    monkeypatch.setattr(torch, "cat", lambda *given: copies.append(1) or put_together(*given))
    torch.manual_seed(0)
    for stacked, split in ((3, True), (2, True), (3, False)):
        x = torch.randn(B, S, stacked * H, HEAD).bfloat16().requires_grad_()
        found = []
        for way in (short_attention.parts, torch.chunk):
            own = [t.transpose(1, 2) for t in way(x, stacked, 2)]
            q = own[0] if stacked == 3 else own[0].detach()[:, :, :T].requires_grad_()
            v = own[-1] if split else 2 * own[-1]
            out = attend(q, own[-2], v, None, causal=stacked == 3)
            found += torch.autograd.grad(out.float().square().sum(), x)
        assert torch.equal(*found)
        assert bool(copies) is not split, "neighbours are not copied, others are"


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
