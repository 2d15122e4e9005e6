"""Multi-head attention (Vaswani et al. 2017, section 3.2) with a cache for step-by-step decoding.

Shapes: B sentences, T queries, S keys, D = d_model, H heads of size ``head_dim``, K beams.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.models.layers.dropout import keep_mask
from scratchlab.models.layers.positions import Rotary

Weights = list[Tensor]


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    weights: Weights | None = None,
) -> Tensor:
    """Scaled dot-product attention of all heads.

    q [B, H, T, head_dim], k and v [B, H, S, head_dim]; ``mask`` is added to the scores and
    broadcasts to [B, H, T, S] (0 keeps, -inf hides); ``causal`` hides keys after the query (only
    for T == S). Returns [B, H, T, head_dim]. If ``weights`` is a list, [B, H, T, S] is appended.
    """
    if weights is None and (dropout == 0 or q.device.type != "cpu"):
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal and mask is None)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # [B, H, T, S]
    if mask is not None:
        scores = scores + mask
    elif causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    probabilities = scores.softmax(-1)
    if weights is not None:
        weights.append(probabilities.detach())
    if dropout > 0:
        probabilities = probabilities * keep_mask(probabilities.shape, dropout) / (1 - dropout)
    return probabilities @ v


def padding_mask(padding: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, S] True at padding → [B, 1, 1, S] to be added to scores."""
    mask = torch.zeros(padding.shape, dtype=dtype, device=padding.device)
    return mask.masked_fill_(padding, float("-inf"))[:, None, None, :]


class KeyValueCache:
    """Keys and values of the tokens decoded so far, for B sentences with K beams each.

    Beams are never copied. All K tokens of a time step are stored side by side, and each beam sees
    the slots of its own ancestors through ``mask``: changing parents costs one small gather.
    ``keys``, ``values`` [layers, B, H, max_length * K, head_dim]; ``mask`` [B, 1, K, that length].
    """

    def __init__(
        self, layers: int, batch: int, beams: int, heads: int, max_length: int, like: Tensor
    ) -> None:
        head_dim = like.shape[-1] // heads
        shape = (layers, batch, heads, max_length * beams, head_dim)
        self.keys = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.values = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.batch, self.beams, self.max_length, self.length = batch, beams, max_length, 0
        self.mask: Tensor | None = None
        if beams > 1:
            self.mask = like.new_full((batch, 1, beams, max_length * beams), float("-inf"))

    def start_step(self) -> None:
        """Make room for one more token of every beam, which sees itself and its ancestors."""
        if self.mask is not None:
            first = self.length * self.beams
            own = self.mask[:, 0, :, first : first + self.beams]
            own.diagonal(dim1=1, dim2=2).fill_(0)
        self.length += 1

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k, v [B, H, K, head_dim] of this step; all keys and values [B, H, length * K, …]."""
        end = self.length * self.beams
        keys, values = self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
        keys[:, :, end - self.beams :] = k
        values[:, :, end - self.beams :] = v
        return keys, values

    def visible(self) -> Tensor | None:
        """The mask of this step, [B, 1, K, length * K], or None where every key is visible."""
        return None if self.mask is None else self.mask[..., : self.length * self.beams]

    def reorder(self, parents: Tensor) -> None:
        """Beam i of a sentence continues beam ``parents[sentence, i]`` [B, K] from now on."""
        if self.mask is not None:
            end = self.length * self.beams
            index = parents[:, None, :, None].expand(-1, 1, -1, end)
            self.mask[..., :end] = self.mask[..., :end].gather(2, index)

    def select(self, sentences: Tensor) -> None:
        """Keep these sentences (ascending indices) only."""
        count, end = len(sentences), self.length * self.beams
        for name in ("keys", "values"):
            buffer = getattr(self, name)
            buffer[:, :count, :, :end] = buffer[:, sentences, :, :end]
            setattr(self, name, buffer[:, :count])
        if self.mask is not None:
            self.mask = self.mask[sentences]
        self.batch = count


class SelfAttention(nn.Module):
    """Attention of a text to itself: one product makes queries, keys and values."""

    def __init__(
        self, d_model: int, n_heads: int, dropout: float = 0.0, rotary: Rotary | None = None
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.rotary = rotary
        initialize(self.qkv, blocks=3)
        initialize(self.out)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        weights: Weights | None = None,
    ) -> Tensor:
        """x [B, T, D] → [B, T, D]; see :func:`attend` for mask, causal and weights."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.n_heads, -1)
        q, k, v = self._split(qkv, 0)
        dropout = self.dropout if self.training else 0.0
        heads = attend(q, k, v, mask, causal, dropout, weights)  # [B, H, T, head_dim]
        return self.out(heads.transpose(1, 2).reshape(batch, length, width))

    def step(self, x: Tensor, layer: int, cache: KeyValueCache) -> Tensor:
        """x [B * K, D], the newest token of every beam → [B * K, D]."""
        qkv = self.qkv(x).view(cache.batch, cache.beams, 3, self.n_heads, -1)
        q, k, v = self._split(qkv, cache.length - 1, step=True)  # [B, H, K, head_dim]
        keys, values = cache.store(layer, k, v)
        heads = F.scaled_dot_product_attention(q, keys, values, cache.visible())
        return self.out(heads.transpose(1, 2).reshape(x.shape))

    def _split(self, qkv: Tensor, start: int, step: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, 3, H, head_dim] → q, k, v [B, H, T, head_dim], turned where rotary.

        With ``step`` the second dimension is beams, which all stand at ``start``.
        """
        if self.rotary is not None:
            qk, v = qkv[:, :, :2], qkv[:, :, 2]
            turned = self.rotary(qk[:, None], start)[:, 0] if step else self.rotary(qk, start)
            q, k = turned.unbind(2)
        else:
            q, k, v = qkv.unbind(2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


class CrossAttention(nn.Module):
    """Attention of the target to the encoder's memory."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.q = nn.Linear(d_model, d_model)
        self.kv = nn.Linear(d_model, 2 * d_model)
        self.out = nn.Linear(d_model, d_model)
        initialize(self.q)
        initialize(self.kv, blocks=2)
        initialize(self.out)

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory [B, S, D] → keys, values [B, H, S, head_dim]; once per sentence in decoding."""
        batch, length, _ = memory.shape
        k, v = self.kv(memory).view(batch, length, 2, self.n_heads, -1).unbind(2)
        return k.transpose(1, 2), v.transpose(1, 2)

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None = None,
        weights: Weights | None = None,
    ) -> Tensor:
        """x [B, T, D] (or [B * K, D], all beams of a step) attends to keys and values."""
        batch = keys.shape[0]
        width = x.shape[-1]
        q = self.q(x).view(batch, -1, self.n_heads, width // self.n_heads).transpose(1, 2)
        dropout = self.dropout if self.training else 0.0
        heads = attend(q, keys, values, mask, False, dropout, weights)
        return self.out(heads.transpose(1, 2).reshape(x.shape))


def initialize(linear: nn.Linear, blocks: int = 1) -> None:
    """Xavier-uniform weights (each of the ``blocks`` stacked outputs by itself), zero bias."""
    for block in linear.weight.chunk(blocks):
        nn.init.xavier_uniform_(block)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
