"""Exercise: multi-head self-attention with a cache of keys and values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scratchlab.errors import UserError
from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Seen,
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case, named_results
from scratchlab.registry import register

START = '''\
"""Exercise multi_head_attention: causal self-attention of several heads, with a cache.

Vaswani et al. 2017, "Attention Is All You Need", section 3.2.2. One product makes the queries, keys
and values of all heads; each head attends by itself, softmax(Q Kᵀ / √head_dim) V, and sees no later
token; what the heads give stands side by side and goes through another product.

When a text is written token by token, keys and values of the tokens so far are kept (the cache), so
that only the newest tokens are read: the results are those of the whole text read at once.

B texts, T tokens, D = d_model, H heads of size head_dim = D / H, S tokens before.
"""

import math

import torch


def multi_head_attention(x, w_qkv, b_qkv, w_out, b_out, n_heads, cache=None):
    """x [B, T, D] → y [B, T, D] and the cache with these tokens in it.

    w_qkv [3 D, D], b_qkv [3 D]: x @ w_qkv.T + b_qkv holds queries, keys, values side by side, and
    in each of them the heads side by side. w_out [D, D], b_out [D]: the last product.
    cache: keys and values [B, H, S, head_dim] of the tokens before; None: there are none before.
    Return (y, (keys, values)) with keys and values [B, H, S + T, head_dim]. All arguments stay as
    they are.
    """
    raise NotImplementedError
'''

NAMES = ("x", "w_qkv", "b_qkv", "w_out", "b_out", "n_heads", "cache")
Cache = tuple[Tensor, Tensor]


def plain(
    wrong: frozenset[str],
    x: Tensor,
    w_qkv: Tensor,
    b_qkv: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    n_heads: int,
    cache: Cache | None = None,
) -> tuple[Tensor, Cache]:
    """The layer, with mistakes in it."""
    batch, length, width = x.shape
    parts = (x @ w_qkv.t() + b_qkv).chunk(3, -1)
    if "heads cut along time" in wrong:
        q, k, v = (p.reshape(batch, n_heads, length, -1) for p in parts)
    else:
        q, k, v = (p.reshape(batch, length, n_heads, -1).transpose(1, 2) for p in parts)
    before = 0 if cache is None else cache[0].shape[2]
    new = k, v
    if cache is not None:
        order = -1 if "new keys first" in wrong else 1
        k, v = (torch.cat(pair[::order], 2) for pair in zip(cache, (k, v), strict=True))
    scale = math.sqrt(width if "scaled by √D" in wrong else q.shape[-1])
    scores = q @ k.transpose(-1, -2) / scale
    diagonal = 0 if "mask without the cache" in wrong else before
    diagonal += ("sees the next token" in wrong) - ("does not see itself" in wrong)
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(diagonal)
    if "no causal mask" not in wrong:
        scores = scores.masked_fill(~seen, float("-inf"))
    heads = scores.softmax(-1) @ v
    merged = heads if "heads merged without turning" in wrong else heads.transpose(1, 2)
    y = merged.reshape(batch, length, width) @ w_out.t() + b_out
    return y, new if "only the new keys kept" in wrong else (k, v)


def torchs(
    x: Tensor,
    w_qkv: Tensor,
    b_qkv: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    n_heads: int,
    cache: Cache | None = None,
) -> tuple[Tensor, Cache]:
    """torch's own multi-head attention where there is no cache, its pieces where there is."""
    width = x.shape[-1]
    q, k, v = (
        F.linear(x, w, b).unflatten(-1, (n_heads, -1)).permute(0, 2, 1, 3)
        for w, b in zip(w_qkv.split(width), b_qkv.split(width), strict=True)
    )
    if cache is None:
        turned = x.transpose(0, 1)
        y, _ = F.multi_head_attention_forward(
            turned, turned, turned, width, n_heads, w_qkv, b_qkv, None, None, False, 0.0,
            w_out, b_out, need_weights=False,
            attn_mask=torch.ones(x.shape[1], x.shape[1]).triu(1).bool(),
        )  # fmt: skip
        return y.transpose(0, 1), (k, v)
    keys, values = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
    hidden = torch.ones(x.shape[1], keys.shape[2]).triu(1 + cache[0].shape[2]).bool()
    heads = F.scaled_dot_product_attention(q, keys, values, ~hidden)
    return F.linear(heads.permute(0, 2, 1, 3).flatten(2), w_out, b_out), (keys, values)


@register(
    "exercise",
    "multi_head_attention",
    paper="Vaswani et al. 2017",
    with_torch=True,
    use="model=gpt model.positions=learned",
)
class MultiHeadAttention(Exercise):
    """Causal multi-head self-attention with a cache of keys and values."""

    START = START
    HINTS = (
        "Leave the cache out at first: make it right for a whole text, then for a text that comes "
        "in pieces.",
        "To cut a tensor [B, T, D] into heads: view it as [B, T, H, head_dim], then swap time and "
        "heads with transpose(1, 2). On the way back swap first, then reshape.",
        "With a cache, the keys are torch.cat([old, new], 2) and so are the values; the queries "
        "are only those of the new tokens.",
        "Query i of T stands at position S + i and sees the keys 0 … S + i: torch.ones(T, S + T)"
        ".tril(S).",
    )
    MISTAKES = (
        Mistake(
            "heads cut along time",
            "multi_head_attention",
            "[B, T, D] is viewed as [B, H, T, head_dim] at once, which mixes the tokens. View it "
            "as [B, T, H, head_dim] and transpose(1, 2).",
        ),
        Mistake(
            "heads merged without turning",
            "multi_head_attention",
            "[B, H, T, head_dim] is reshaped to [B, T, D] at once. transpose(1, 2) first, so that "
            "the heads of a token stand side by side.",
        ),
        Mistake(
            "no causal mask",
            "multi_head_attention",
            "tokens see those that come after them.",
        ),
        Mistake(
            "mask without the cache",
            "multi_head_attention",
            "with a cache the mask begins at the first key, so new tokens do not see all of the "
            "old ones. Query i stands at position S + i: tril(S).",
        ),
        Mistake(
            "sees the next token",
            "multi_head_attention",
            "the mask is shifted by one: each token sees the next one too.",
        ),
        Mistake(
            "does not see itself",
            "multi_head_attention",
            "the mask is shifted by one: a token does not see itself, and the first sees nothing.",
        ),
        Mistake(
            "scaled by √D",
            "multi_head_attention",
            "the scores are divided by √d_model. Each head divides by the root of its own size.",
        ),
        Mistake(
            "new keys first",
            "multi_head_attention",
            "the new keys are put before the old ones. Time goes on: old ones first.",
        ),
        Mistake(
            "only the new keys kept",
            "multi_head_attention",
            "the cache that is returned lacks the tokens before.",
        ),
    )
    LIBRARY = ("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward")
    BESIDE = "torch's"

    def reference(self) -> Functions:
        return {"multi_head_attention": torchs}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"multi_head_attention": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(5)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        def inputs(batch: int, length: int, heads: int, size: int) -> tuple[Any, ...]:
            d = heads * size
            weights = draw(3 * d, d), draw(3 * d), draw(d, d), draw(d)
            return (draw(batch, length, d), *weights, heads)

        def made(name: str, given: tuple[Any, ...], **more: Any) -> Case:
            more = {"gradients": NAMES[:5], **more}

            def shown(seen: Seen) -> Seen:
                pair = named_results(
                    "multi_head_attention", seen.pop("the cache"), ("keys", "values")
                )
                return {"y": seen.pop("y"), **pair, **seen}

            return case(
                "multi_head_attention", name, NAMES[: len(given)], given,
                results=("y", "the cache"), show=shown, **more,
            )  # fmt: skip

        def in_pieces(name: str, given: tuple[Any, ...], *lengths: int) -> Case:
            x, *others = given

            def observe(functions: Functions) -> Seen:
                cache, parts = None, []
                for piece in x.split(lengths, 1):
                    returned = functions["multi_head_attention"](piece, *others, cache)
                    both = named_results("multi_head_attention", returned, ("y", "the cache"))
                    parts.append(both["y"])
                    cache = both["the cache"]
                return {"y of all pieces": torch.cat(parts, 1)}

            return Case("multi_head_attention", name, observe)

        cached = inputs(2, 3, 2, 4)
        keys, values = draw(2, 2, 5, 4), draw(2, 2, 5, 4)
        turned = inputs(2, 4, 2, 3)
        turned = (turned[0].transpose(0, 1).contiguous().transpose(0, 1), *turned[1:])
        single = tuple(a.float() if isinstance(a, Tensor) else a for a in inputs(2, 4, 2, 4))
        return [
            made("a whole text", inputs(2, 4, 2, 4)),
            made("one head", inputs(1, 3, 1, 5)),
            made("as many heads as tokens, odd sizes", inputs(3, 3, 3, 5)),
            made("one token", inputs(2, 1, 2, 3)),
            made("three tokens after a cache of five", (*cached, (keys, values))),
            made("one token after a cache of five",
                 (cached[0][:, :1].contiguous(), *cached[1:], (keys, values))),
            in_pieces("a text token by token", inputs(2, 5, 2, 4), 1, 1, 1, 1, 1),
            in_pieces("a text in pieces of 3, 1 and 2", inputs(1, 6, 2, 4), 3, 1, 2),
            made("texts and time swapped in memory", turned),
            made("float32", single, gradients=(), tolerance=1e-5),
        ]  # fmt: skip

    def timed(self) -> Timed:
        d = 128
        x, weights = torch.randn(8, 64, d), (torch.randn(3 * d, d), torch.randn(3 * d))
        given = (x, *weights, torch.randn(d, d), torch.randn(d), 4, None)
        return Timed("[8, 64, 128], 4 heads", lambda f: f["multi_head_attention"](*given))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        model = config["model"]
        if found := unlike("model", ("gpt",), model["name"]):
            return found
        if model["positions"] == "rotary":
            return "it turns no queries and keys; choose model.positions=learned or sinusoidal"
        if model["qk_norm"] or model["value_embeddings"]:
            return "it knows plain queries, keys and values; leave qk_norm and value_embeddings out"
        if model["attention_dropout"]:
            return "it drops no weights of attention; leave model.attention_dropout=0"
        if config["dataset"].get("packing"):
            return "its mask knows one text a row; choose dataset.packing=false"
        return None

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The forward pass of self-attention; its cache is the built-in one."""
        from scratchlab.models.layers.attention import SelfAttention

        theirs = functions["multi_head_attention"]

        def forward(
            self: Any, x: Tensor, rotation: Any = None, mask: Any = None, cache: Any = None
        ) -> Tensor:
            if self.recorded is not None:
                raise UserError("your multi_head_attention does not tell its weights, which "
                                "attention_maps and attention_shares show")  # fmt: skip
            bias = self.qkv.bias
            zeros = x.new_zeros(len(self.qkv.weight)) if bias is None else bias
            last = x.new_zeros(len(self.out.weight)) if bias is None else self.out.bias
            weights = (self.qkv.weight, zeros, self.out.weight, last, self.n_heads)
            past = 0 if cache is None else cache.texts.past
            if not past:
                y, new = theirs(x, *weights)
                if cache is not None:
                    cache.store(*new)
                return y
            keys, values = cache.memory
            lengths = cache.texts.slots[:, 0].tolist() if mask is not None else [past] * len(x)
            ys, news = [], []
            for row, length in enumerate(lengths) if mask is not None else [(slice(None), past)]:
                one = row if isinstance(row, slice) else slice(row, row + 1)
                before = (keys[one, :, :length], values[one, :, :length])
                y, (k, v) = theirs(x[one], *weights, before)
                ys.append(y)
                news.append((k[:, :, length:], v[:, :, length:]))
            cache.store(*(torch.cat(parts) for parts in zip(*news, strict=True)))
            return torch.cat(ys)

        yield Replacement(SelfAttention, "forward", forward)
