"""Multi-head attention (Vaswani et al. 2017, section 3.2): of a text to itself, of one to another.

Shapes: B texts, T queries, S keys, D = d_model, H heads of size ``head_dim``. What every kind of
attention has is here too: :class:`Attention`, :func:`recording`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.models.layers.cache import LayerCache
from scratchlab.models.layers.dropout import keep_mask, ones_and_zeros
from scratchlab.models.layers.linear import Linear
from scratchlab.models.layers.positions import Rotation, rotate
from scratchlab.models.layers.short_attention import is_short, parts, short_attention

Maps = dict[str, list[Tensor]]


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    weights: list[Tensor] | None = None,
) -> Tensor:
    """Scaled dot-product attention of all heads.

    q [B, H, T, head_dim], k and v [B, H, S, head_dim]; ``mask`` broadcasts to [B, H, T, S]: True
    where a key is seen, or numbers that are added to the scores (-inf hides). ``causal`` hides keys
    after the query, if there is no mask and more than one query (then T == S). Returns
    [B, H, T, head_dim]. If ``weights`` is a list, [B, H, T, S] is appended.
    """
    causal = causal and mask is None and q.shape[2] > 1
    if weights is None and (dropout == 0 or q.device.type != "cpu"):
        if dropout == 0 and is_short(q, k, v, mask):
            return short_attention(q, k, v, mask, causal)
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # [B, H, T, S]
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, float("-inf"))
    elif mask is not None:
        scores = scores + mask
    probabilities = scores.softmax(-1)
    if weights is not None:
        weights.append(probabilities.detach())
    if dropout > 0:
        kept = ones_and_zeros(keep_mask(probabilities.shape, dropout), probabilities.dtype)
        probabilities = probabilities * kept / (1 - dropout)
    return probabilities @ v


def padding_mask(padding: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """[B, S] True at padding → [B, 1, 1, S] to be added to scores; None: there is no padding."""
    if padding is None:
        return None
    mask = torch.zeros(padding.shape, dtype=dtype, device=padding.device)
    return mask.masked_fill_(padding, float("-inf"))[:, None, None, :]


class QKNorm(nn.Module):
    """Queries and keys of each head at length √head_dim, times a gain for each of its elements, so
    that no score grows without bound (Henry et al. 2020; in this form Dehghani et al. 2023, Qwen3).

    ``x / √(mean(x²) + ε) · gain``, with one gain for the queries of all heads, one for the keys.
    """

    def __init__(self, n_heads: int, head_dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.n_heads, self.eps = n_heads, eps
        self.q_gain = nn.Parameter(torch.ones(head_dim))
        self.k_gain = nn.Parameter(torch.ones(head_dim))

    def forward(self, qk: Tensor) -> Tensor:
        """qk [B, T, 2 H, head_dim], the queries first → the same shape."""
        gains = torch.stack([self.q_gain, self.k_gain]).repeat_interleave(self.n_heads, 0)
        return self.scaled(qk, gains)

    def scaled(self, heads: Tensor, gain: Tensor) -> Tensor:
        """heads [..., head_dim] with a gain that broadcasts to them."""
        whole = heads.to(torch.promote_types(heads.dtype, torch.float32))
        factor = (whole.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return heads * (factor * gain).to(heads.dtype)


class Attention(nn.Module):
    """What every layer of attention has: being looked into."""

    recorded: list[Tensor] | None = None  # takes the weights of every forward, if it is there
    looks: str = ""  # where, as a name of its maps; empty: at its own text


class MultiHeadAttention(Attention):
    """Attention with several heads and dropout of their weights."""

    def __init__(self, n_heads: int, dropout: float, causal: bool = False) -> None:
        super().__init__()
        self.n_heads, self.dropout, self.causal = n_heads, dropout, causal

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """As the function; the heads side by side, [B, T, D]."""
        dropout = self.dropout if self.training else 0.0
        heads = attend(q, k, v, mask, self.causal, dropout, self.recorded)
        return heads.transpose(1, 2).flatten(2)


class SelfAttention(MultiHeadAttention):
    """Attention of a text to itself: one product makes queries, keys and values."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        dropout: float = 0.0,
        causal: bool = False,
        bias: bool = True,
        qk_norm: bool = False,
    ) -> None:
        super().__init__(n_heads, dropout, causal)
        self.qkv = Linear(d_model, 3 * d_model, bias)
        self.out = Linear(d_model, d_model, bias)
        self.qk_norm = QKNorm(n_heads, d_model // n_heads) if qk_norm else None

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """x [B, T, D] → [B, T, D]; ``cache`` holds keys and values of the tokens before; ``values``
        [B, T, D] are added to those that are made of x."""
        batch, length, _ = x.shape
        qkv = self.qkv(x).view(batch, length, 3 * self.n_heads, -1)  # [B, T, 3 H, head_dim]
        q, k, v = parts(qkv, 3, 2)
        if self.qk_norm is not None or rotation is not None:
            qk = qkv[:, :, : 2 * self.n_heads]
            qk = qk if self.qk_norm is None else self.qk_norm(qk)
            q, k = (qk if rotation is None else rotate(qk, rotation)).chunk(2, 2)
        if values is not None:
            v = v + values.view(v.shape)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # [B, H, T, head_dim]
        if cache is not None:
            k, v = cache.store(k, v)
        return self.out(self.attend(q, k, v, mask))


class CrossAttention(MultiHeadAttention):
    """Attention of one text to another, the encoder's memory."""

    looks = "cross"

    def __init__(
        self, d_model: int, n_heads: int, dropout: float = 0.0, qk_norm: bool = False
    ) -> None:
        super().__init__(n_heads, dropout)
        self.q = Linear(d_model, d_model)
        self.kv = Linear(d_model, 2 * d_model)
        self.out = Linear(d_model, d_model)
        self.qk_norm = QKNorm(n_heads, d_model // n_heads) if qk_norm else None

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory [B, S, D] → keys, values [B, H, S, head_dim]; once per text in decoding."""
        k, v = parts(self.kv(memory).unflatten(-1, (2 * self.n_heads, -1)), 2, 2)
        k = k if self.qk_norm is None else self.qk_norm.scaled(k, self.qk_norm.k_gain)
        return k.transpose(1, 2), v.transpose(1, 2)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, T, D] attends to keys and values → [B, T, D]."""
        batch, length, _ = x.shape
        q = self.q(x).view(batch, length, self.n_heads, -1)
        q = q if self.qk_norm is None else self.qk_norm.scaled(q, self.qk_norm.q_gain)
        q = q.transpose(1, 2)  # [B, H, T, head_dim]
        return self.out(self.attend(q, keys, values, mask))


@contextmanager
def recording(model: nn.Module) -> Iterator[Maps]:
    """While open, all layers of attention in ``model`` keep their weights [B, H, T, S].

    Yields lists with one entry a layer and forward, under the name of the stack that the layers are
    in (``blocks``, ``encoder``, ``decoder``), or ``cross`` for those that look at the memory.
    """
    maps: Maps = {}
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, Attention)]
    try:
        for name, layer in layers:
            layer.recorded = maps.setdefault(layer.looks or name.split(".")[0], [])
        yield maps
    finally:
        for _, layer in layers:
            layer.recorded = None
