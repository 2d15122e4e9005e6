"""Exercise: scaled dot-product attention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise attention: scaled dot-product attention.

Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1:

    attention(Q, K, V) = softmax(Q Kᵀ / √d) V

B texts, H heads, T queries, S keys; d is the size of a query and of a key.
"""

import math

import torch


def attention(q, k, v, mask=None):
    """q [B, H, T, d], k [B, H, S, d], v [B, H, S, d_v] → [B, H, T, d_v].

    mask: truth values that broadcast to [B, H, T, S], True where a query sees a key (each query
    sees at least one); None: every query sees every key. The arguments stay as they are.
    """
    raise NotImplementedError
'''

NAMES = ("q", "k", "v", "mask")


def plain(wrong: frozenset[str], q: Tensor, k: Tensor, v: Tensor, mask: Any = None) -> Tensor:
    """The formula, with mistakes in it."""
    scores = q @ k.transpose(-1, -2)
    if "divided by d" in wrong:
        scores = scores / q.shape[-1]
    elif "missing √d" not in wrong:
        scores = scores / math.sqrt(q.shape[-1])
    if mask is not None and "inverted mask" in wrong:
        mask = ~mask
    late = "mask after softmax" in wrong
    if mask is not None and not late:
        hidden = 0.0 if "scores set to 0" in wrong else float("-inf")
        scores = scores.masked_fill(~mask, hidden)
    if "no maximum subtracted" in wrong:
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    else:
        weights = scores.softmax(-2 if "softmax over the queries" in wrong else -1)
    if mask is not None and late:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v


def torchs(q: Tensor, k: Tensor, v: Tensor, mask: Any = None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, mask)


@register(
    "exercise",
    "attention",
    paper="Vaswani et al. 2017",
    with_torch=True,
    use="model=gpt",
)
class Attention(Exercise):
    """Scaled dot-product attention."""

    START = START
    HINTS = (
        "Three steps: a score for each pair of a query and a key, a softmax over the keys, and the "
        "mean of the values weighted by it. Write down the shape after each step.",
        "The scores are q @ k.transpose(-1, -2), of shape [B, H, T, S], divided by √d with d = "
        "q.shape[-1].",
        "A key that is not seen must get the weight 0 and the others must still add up to 1: hide "
        "it before the softmax, with scores.masked_fill(~mask, float('-inf')).",
        "The weights are scores.softmax(-1): the last dimension is that of the keys. The result is "
        "weights @ v.",
    )
    MISTAKES = (
        Mistake(
            "missing √d",
            "attention",
            "the scores are not divided by √d. They grow with the size of a head, and the softmax "
            "puts nearly all weight on one key.",
        ),
        Mistake(
            "divided by d",
            "attention",
            "the scores are divided by d. A dot product of d independent numbers has a deviation "
            "of √d, so that is what it is divided by.",
        ),
        Mistake(
            "mask after softmax",
            "attention",
            "hidden keys are set to 0 after the softmax, so the weights that are left do not add "
            "up to 1. Set the scores to -inf before it.",
        ),
        Mistake(
            "scores set to 0",
            "attention",
            "the scores of hidden keys are set to 0, and the softmax makes e⁰ = 1 of that: they "
            "still have weight. Set them to -inf.",
        ),
        Mistake(
            "inverted mask",
            "attention",
            "what the mask says is seen is hidden, and the other way round. True means seen.",
        ),
        Mistake(
            "softmax over the queries",
            "attention",
            "the softmax runs over the dimension of the queries. The weights of one query over all "
            "keys, the last dimension, must add up to 1.",
        ),
        Mistake(
            "no maximum subtracted",
            "attention",
            "exp of a large score overflows. Subtract the largest score of each query first, which "
            "changes nothing else, or take torch's softmax, which does.",
        ),
    )
    LIBRARY = ("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward")
    BESIDE = "torch's"

    def reference(self) -> Functions:
        return {"attention": torchs}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"attention": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(1)

        def draw(*shape: int, dtype: torch.dtype = torch.float64, size: float = 1.0) -> Tensor:
            return (size * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)

        def made(name: str, q: Tensor, k: Tensor, v: Tensor, *mask: Any, **more: Any) -> Case:
            more = {"gradients": ("q", "k", "v"), **more}
            names = NAMES[: 3 + len(mask)]
            return case("attention", name, names, (q, k, v, *mask), **more)

        seen = torch.rand(2, 1, 4, 5, generator=generator) < 0.6
        seen[..., 0] = True
        alone = torch.zeros(3, 1, 1, 6, dtype=torch.bool)
        alone[torch.arange(3), 0, 0, torch.tensor([0, 3, 5])] = True
        causal = torch.ones(6, 6, dtype=torch.bool).tril()
        q, k, v = draw(2, 3, 4, 8), draw(2, 3, 5, 8), draw(2, 3, 5, 8)
        turned = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
        single = torch.float32
        return [
            made("no mask", q, k, v),
            made("a random mask", q, k, v, seen),
            made("no query sees a later key", draw(2, 2, 6, 4), draw(2, 2, 6, 4),
                 draw(2, 2, 6, 4), causal),
            made("padding everywhere but one key", draw(3, 2, 2, 4), draw(3, 2, 6, 4),
                 draw(3, 2, 6, 4), alone),
            made("one query, one key", draw(1, 1, 1, 3), draw(1, 1, 1, 3), draw(1, 1, 1, 3)),
            made("values wider than keys, odd sizes", draw(1, 3, 5, 7), draw(1, 3, 3, 7),
                 draw(1, 3, 3, 11)),
            made("heads and time swapped in memory", *turned, seen),
            made("large scores", draw(1, 2, 3, 4, size=60.0), draw(1, 2, 5, 4, size=60.0),
                 draw(1, 2, 5, 4)),
            made("float32", draw(2, 2, 4, 8, dtype=single), draw(2, 2, 5, 8, dtype=single),
                 draw(2, 2, 5, 8, dtype=single), seen, gradients=(), tolerance=1e-5),
        ]  # fmt: skip

    def timed(self) -> Timed:
        q, k, v = (torch.randn(8, 4, 128, 32) for _ in range(3))
        return Timed("[8, 4, 128, 32]", lambda f: f["attention"](q, k, v))

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The function ``attend`` of every layer of attention that is from scratch."""
        from scratchlab.models.layers import attention as built_in

        theirs = functions["attention"]

        def attend(
            q: Tensor,
            k: Tensor,
            v: Tensor,
            mask: Tensor | None = None,
            causal: bool = False,
            dropout: float = 0.0,
            weights: list[Tensor] | None = None,
        ) -> Tensor:
            if mask is None and causal and q.shape[2] > 1:
                mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
            elif mask is not None and mask.dtype != torch.bool:
                mask = mask > float("-inf")  # what is added to the scores is 0 or -inf
            if weights is None and dropout == 0:
                found: Tensor = theirs(q, k, v, mask)
                return found
            # The weights themselves are what comes out for values that are the unit vectors.
            units = torch.eye(k.shape[2], dtype=v.dtype, device=v.device)
            shares: Tensor = theirs(q, k, units.expand(*k.shape[:2], -1, -1), mask)
            if weights is not None:
                weights.append(shares.detach())
            return F.dropout(shares, dropout) @ v

        yield Replacement(built_in, "attend", attend)

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        return unlike("model", ("gpt", "transformer_mt", "text_encoder"), config["model"]["name"])
