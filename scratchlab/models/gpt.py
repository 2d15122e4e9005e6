"""Decoder-only Transformer: GPT-2's architecture (Radford et al. 2019), from scratch.

Reads top to bottom: the cache of generation, attention, feed-forward, block, model. Shapes:
B texts, T tokens, D = d_model, H heads of size head_dim, V vocabulary. Texts are filled up at the
right end, where causality hides the filling from every real token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.layers.adaptive_softmax import AdaptiveSoftmax
from scratchlab.models.layers.attention import Weights, attend
from scratchlab.models.layers.dropout import Dropout
from scratchlab.models.layers.gelu import gelu
from scratchlab.models.layers.linear import Packed, few_rows, pack
from scratchlab.models.layers.positions import Positions, Rotary
from scratchlab.models.layers.token_layers import TokenLayers, plain_weight
from scratchlab.registry import option, register


class GPTCache:
    """Keys and values of every token so far, in memory that is set aside once.

    ``keys``/``values`` [layers, B, H, max_length, head_dim]; ``lengths`` [B] tokens of each text.
    Texts of unequal length stand at unequal positions: each writes into the slot after its own last
    token, and a mask hides what stands beyond. Zeros, not garbage, fill the slots nobody wrote yet:
    a hidden NaN would still spoil the sum.
    """

    def __init__(self, layers: int, batch: int, heads: int, max_length: int, like: Tensor) -> None:
        shape = (layers, batch, heads, max_length, like.shape[-1] // heads)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.max_length = max_length
        self.clear()

    def clear(self) -> None:
        """Forget all texts; the memory stays."""
        self.lengths = torch.zeros(self.keys.shape[1], dtype=torch.int64, device=self.keys.device)
        self.longest, self.ragged = 0, False
        self.mask: Tensor | None = None
        self.packed: Packed | None = None

    def fill(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Keep k, v [B, H, T, head_dim] of the first T tokens."""
        self.keys[layer, :, :, : k.shape[2]] = k
        self.values[layer, :, :, : v.shape[2]] = v

    def filled(self, lengths: Tensor) -> None:
        """Say how many of the tokens given to :meth:`fill` are real, [B]."""
        self.lengths = lengths.clone()
        self.longest, shortest = int(lengths.max()), int(lengths.min())
        self.ragged = shortest < self.longest
        self.mask = None

    def start_step(self) -> int | Tensor:
        """Make room for one more token of every text; its position, or positions [B, 1]."""
        self.longest += 1
        position = self.lengths
        self.lengths = self.lengths + 1
        if not self.ragged:
            return self.longest - 1
        slots = torch.arange(self.longest, device=position.device)
        self.mask = (slots <= position[:, None])[:, None, None, :]  # [B, 1, 1, longest]
        return position[:, None]

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k, v [B, H, head_dim] of the step; all keys and values [B, H, longest, head_dim]."""
        keys, values = self.keys[layer], self.values[layer]
        if self.ragged:
            rows = torch.arange(len(keys), device=keys.device)
            keys[rows, :, self.lengths - 1] = k
            values[rows, :, self.lengths - 1] = v
        else:
            keys[:, :, self.longest - 1] = k
            values[:, :, self.longest - 1] = v
        return keys[:, :, : self.longest], values[:, :, : self.longest]

    def select(self, rows: Tensor) -> None:
        """Keep these texts (ascending indices, int64) only."""
        for buffer in (self.keys, self.values):
            buffer[:, : len(rows), :, : self.longest] = buffer[:, rows, :, : self.longest]
        self.keys, self.values = self.keys[:, : len(rows)], self.values[:, : len(rows)]
        self.filled(self.lengths[rows])


class CausalSelfAttention(nn.Module):
    """Every token attends to itself and the tokens before it; one product makes q, k and v."""

    def __init__(self, config: GPT.Config, rotary: Rotary | None) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.dropout = config.attention_dropout
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model, bias=config.bias)
        self.out = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.rotary = rotary

    def forward(
        self,
        x: Tensor,
        positions: int | Tensor = 0,
        mask: Tensor | None = None,
        weights: Weights | None = None,
        cache: tuple[int, GPTCache] | None = None,
    ) -> Tensor:
        """x [B, T, D] → [B, T, D]; ``cache`` (layer, cache) takes the keys and values."""
        q, k, v = self.heads(self.qkv(x), positions)  # [B, H, T, head_dim]
        if cache is not None:
            cache[1].fill(cache[0], k, v)
        dropout = self.dropout if self.training else 0.0
        y = attend(q, k, v, mask, True, dropout, weights)
        return self.out(y.transpose(1, 2).reshape(x.shape))

    def step(self, x: Tensor, position: int | Tensor, layer: int, cache: GPTCache) -> Tensor:
        """x [B, D], the newest token of every text → [B, D]."""
        qkv = few_rows(self.qkv, x, cache.packed)[:, None]
        q, k, v = self.heads(qkv, position)  # [B, H, 1, head_dim]
        keys, values = cache.store(layer, k[:, :, 0], v[:, :, 0])
        y = F.scaled_dot_product_attention(q, keys, values, cache.mask)
        return few_rows(self.out, y.reshape(x.shape), cache.packed)

    def heads(self, qkv: Tensor, positions: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """qkv [B, T, 3 D] → q, k, v [B, H, T, head_dim], q and k turned where rotary."""
        qkv = qkv.unflatten(-1, (3, self.n_heads, -1))  # [B, T, 3, H, head_dim]
        if self.rotary is None:
            q, k, v = qkv.unbind(2)
        else:
            q, k = self.rotary(qkv[:, :, :2], positions).unbind(2)
            v = qkv[:, :, 2]
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


class FeedForward(nn.Module):
    """Widen, GELU, narrow: on every position by itself."""

    def __init__(self, config: GPT.Config) -> None:
        super().__init__()
        d_ff = config.d_ff or 4 * config.d_model
        self.inner = nn.Linear(config.d_model, d_ff, bias=config.bias)
        self.out = nn.Linear(d_ff, config.d_model, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] → [..., D]."""
        return self.out(gelu(self.inner(x)))

    def step(self, x: Tensor, packed: Packed | None) -> Tensor:
        """x [B, D] → [B, D]."""
        inner = F.gelu(few_rows(self.inner, x, packed), approximate="tanh")
        return few_rows(self.out, inner, packed)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: GPT.Config, rotary: Rotary | None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.d_model, bias=config.bias)
        self.attention = CausalSelfAttention(config, rotary)
        self.feed_forward_norm = nn.LayerNorm(config.d_model, bias=config.bias)
        self.feed_forward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        positions: int | Tensor = 0,
        mask: Tensor | None = None,
        weights: Weights | None = None,
        cache: tuple[int, GPTCache] | None = None,
    ) -> Tensor:
        """x [B, T, D] → [B, T, D]."""
        change = self.attention(self.attention_norm(x), positions, mask, weights, cache)
        x = self.dropout(change, residual=x)
        return self.dropout(self.feed_forward(self.feed_forward_norm(x)), residual=x)

    def step(self, x: Tensor, position: int | Tensor, layer: int, cache: GPTCache) -> Tensor:
        """x [B, D], the newest token of every text → [B, D]."""
        x = x + self.attention.step(self.attention_norm(x), position, layer, cache)
        return x + self.feed_forward.step(self.feed_forward_norm(x), cache.packed)


@register("model", "gpt", tasks=("language_modeling",), exports=("hf",))
class GPT(nn.Module):
    """Decoder-only Transformer as in GPT-2, from scratch."""

    @dataclass(frozen=True)
    class Config:
        d_model: int = option(128, "width of embeddings and layers", min=2)
        n_heads: int = option(4, "attention heads; each is d_model / n_heads wide", min=1)
        n_layers: int = option(4, "number of blocks", min=1, max=1000)
        d_ff: int | None = option(
            None, "inner width of the feed-forward blocks; null: 4 d_model", min=1
        )
        block_size: int | None = option(
            None, "longest context in tokens; null: the block of the data set", min=1
        )
        dropout: float = option(0.0, "dropped share of embeddings and residuals", min=0, below=1)
        attention_dropout: float = option(0.0, "dropped share of attention weights", min=0, below=1)
        positions: str = option(
            "learned",
            "how the model knows the order of tokens",
            choices=("learned", "sinusoidal", "rotary", "none"),
        )
        bias: bool = option(True, "biases in linear layers and norms, as GPT-2 has them")
        tie_embeddings: bool = option(True, "one matrix for embedding and output")
        output: str = option(
            "full",
            "softmax over the whole vocabulary, or adaptive: ids must be sorted by frequency",
            choices=("full", "adaptive"),
        )
        cutoffs: list[int] = option(
            [2000, 10000], "adaptive: ids at which a rarer cluster begins", min=1
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("d_model % n_heads == 0", "n_heads must divide d_model"),
            (
                "positions != 'rotary' or d_model % (2 * n_heads) == 0",
                "rotary positions need an even head size: d_model / n_heads",
            ),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        if spec.vocab_size is None:
            raise UserError("gpt needs a data set with a vocabulary",
                            "Choose a data set of task language_modeling.")  # fmt: skip
        self.config = config
        self.block_size = context_size(config, spec)
        d_model = config.d_model
        self.embedding = nn.Embedding(spec.vocab_size, d_model)
        # Vaswani et al. scale embeddings up to meet sines of size one; learned ones are small too
        self.scale = math.sqrt(d_model) if config.positions == "sinusoidal" else 1.0
        self.positions = Positions(config.positions, d_model, self.block_size)
        rotary = None
        if config.positions == "rotary":
            rotary = Rotary(d_model // config.n_heads, self.block_size)
        self.blocks = nn.ModuleList(Block(config, rotary) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(d_model, bias=config.bias)
        self.dropout = Dropout(config.dropout)
        self.adaptive: AdaptiveSoftmax | None = None
        if config.output == "full":
            self.output = nn.Linear(d_model, spec.vocab_size, bias=False)
        self.initialize()
        if config.output == "adaptive":
            tied = self.embedding.weight if config.tie_embeddings else None
            self.adaptive = AdaptiveSoftmax(d_model, spec.vocab_size, config.cutoffs, tied)
        elif config.tie_embeddings:
            self.output.weight = self.embedding.weight

    def initialize(self) -> None:
        """GPT-2's start: normal with deviation 0.02, zero biases; what is added to the residual
        stream is scaled down by √(2 n_layers), so that the stream does not grow with depth."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith(".out")
                std = 0.02 / math.sqrt(2 * self.config.n_layers) if residual else 0.02
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def output_weight(self) -> Tensor | None:
        """[V, D]: the logits are ``hidden @ output_weight.T`` (for the full softmax).

        None if a method made another layer of the output: ask :meth:`project` then.
        """
        return plain_weight(self.output)

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers((self.embedding,), None if self.adaptive else self.output)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        weights: Weights | None = None,
        cache: GPTCache | None = None,
    ) -> Tensor:
        """tokens [B, T] int64 → [B, T, D], the last layer after its norm.

        ``positions`` [B, T] where tokens do not stand at 0 … T-1. ``mask`` is added to the scores
        (broadcast to [B, H, T, T]) and takes the place of the causal mask.
        """
        where: int | Tensor = 0 if positions is None else positions
        self.check_length(tokens.shape[1])
        x = self.dropout(self.embed(tokens, where))  # [B, T, D]
        for layer, block in enumerate(self.blocks):
            x = block(x, where, mask, weights, None if cache is None else (layer, cache))
        return self.norm(x)

    def project(self, hidden: Tensor, packed: Packed | None = None) -> Tensor:
        """hidden [..., D] → logits [..., V] (log-probabilities if the output is adaptive)."""
        if self.adaptive is not None:
            return self.adaptive.log_probabilities(hidden)
        if hidden.dim() == 2:
            return few_rows(self.output, hidden, packed)
        return self.output(hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] → logits [B, T, V]."""
        return self.project(self.hidden(tokens))

    @torch.no_grad()
    def attention_maps(self, tokens: Tensor) -> Tensor:
        """Attention weights of every layer and head, [layers, B, H, T, T]."""
        weights: Weights = []
        self.hidden(tokens, weights=weights)
        return torch.stack(weights)

    def start_cache(self, batch_size: int, max_length: int) -> GPTCache:
        """An empty cache for texts of at most ``max_length`` tokens (never more than the block)."""
        length = min(max_length, self.block_size)
        heads = self.config.n_heads
        return GPTCache(len(self.blocks), batch_size, heads, length, self.norm.weight)

    def prefill(self, tokens: Tensor, lengths: Tensor | None, cache: GPTCache) -> Tensor:
        """Read the prompts: tokens [B, T], of which the first ``lengths`` [B] are real (None: all).

        Returns the logits [B, V] that follow the last real token of each text.
        """
        batch, longest = tokens.shape
        if lengths is None:
            lengths = torch.full((batch,), longest, device=tokens.device)
        hidden = self.hidden(tokens, cache=cache)
        cache.filled(lengths)
        rows = torch.arange(batch, device=tokens.device)
        return self.project(hidden[rows, lengths - 1])

    def decode_step(self, tokens: Tensor, cache: GPTCache) -> Tensor:
        """tokens [B] int64, the newest token of every text → logits [B, V] of the next."""
        self.check_length(cache.longest + 1)
        if cache.packed is None:
            cache.packed = pack(self.modules(), len(tokens), cache.max_length - cache.longest)
        position = cache.start_step()
        x = self.embed(tokens[:, None], position)[:, 0]  # [B, D]
        block: Any
        for layer, block in enumerate(self.blocks):
            x = block.step(x, position, layer, cache)
        return self.project(self.norm(x), cache.packed)

    def embed(self, tokens: Tensor, positions: int | Tensor) -> Tensor:
        """tokens [B, T] → [B, T, D] with positions."""
        x = self.embedding(tokens)
        return self.positions(x if self.scale == 1 else x * self.scale, positions)

    def check_length(self, length: int) -> None:
        if length > self.block_size:
            raise UserError(
                f"a context of {length} tokens is longer than the model's block of "
                f"{self.block_size}",
                "Set model.block_size higher (before training), or give a shorter context.",
            )


def context_size(config: GPT.Config, spec: Spec) -> int:
    """The longest context: the option, or else the data set's block, which must fit in any case."""
    size = config.block_size or spec.max_length
    if size is None:
        raise UserError("model.block_size is needed: the data set has no block size of its own",
                        "For example model.block_size=128.")  # fmt: skip
    if spec.max_length is not None and spec.max_length > size:
        raise UserError(
            f"the data set's texts of up to {spec.max_length} tokens are longer than "
            f"model.block_size={size}",
            f"Set model.block_size={spec.max_length}, or a smaller dataset.block_size.",
        )
    return size
