"""Encoder-decoder Transformer for translation (Vaswani et al. 2017, "Attention Is All You Need").

Reads top to bottom: configuration, feed-forward, the two kinds of layer, the model. Shapes:
B sentences, S source length, T target length, D = d_model, V vocabulary, K beams of a search.
Padding stands at the right end of a row only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.layers.attention import (
    CrossAttention,
    KeyValueCache,
    SelfAttention,
    Weights,
    initialize,
    padding_mask,
)
from scratchlab.models.layers.dropout import Dropout
from scratchlab.models.layers.positions import Positions, Rotary
from scratchlab.models.layers.token_layers import TokenLayers, distinct, plain_weight
from scratchlab.registry import option, register


class FeedForward(nn.Module):
    """Two linear maps with an activation between them, on every position by itself."""

    def __init__(self, d_model: int, d_ff: int, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.inner = nn.Linear(d_model, d_ff)
        self.out = nn.Linear(d_ff, d_model)
        initialize(self.inner)
        initialize(self.out)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] → [..., D]."""
        inner = self.inner(x)  # [..., d_ff]
        if self.activation == "relu":
            return self.out(F.relu(inner, inplace=True))
        return self.out(F.gelu(inner))


class Layer(nn.Module):
    """What encoder and decoder layers share: a residual around each block, normed before or after.

    pre:  x + dropout(block(norm(x)))      post:  norm(x + dropout(block(x)))
    """

    def __init__(self, config: TransformerMT.Config, rotary: Rotary | None) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.attention = SelfAttention(
            config.d_model, config.n_heads, config.attention_dropout, rotary
        )
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.feed_forward = FeedForward(config.d_model, config.d_ff, config.activation)
        self.feed_forward_norm = nn.LayerNorm(config.d_model)
        self.dropout = Dropout(config.dropout)

    def enter(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        return norm(x) if self.pre else x

    def leave(self, x: Tensor, change: Tensor, norm: nn.LayerNorm) -> Tensor:
        x = self.dropout(change, residual=x)
        return x if self.pre else norm(x)


class EncoderLayer(Layer):
    """Self-attention, then feed-forward."""

    def forward(self, x: Tensor, mask: Tensor | None, weights: Weights | None = None) -> Tensor:
        """x [B, S, D] → [B, S, D]; ``mask`` [B, 1, 1, S] hides padding."""
        change = self.attention(self.enter(x, self.attention_norm), mask, False, weights)
        x = self.leave(x, change, self.attention_norm)
        change = self.feed_forward(self.enter(x, self.feed_forward_norm))
        return self.leave(x, change, self.feed_forward_norm)


class DecoderLayer(Layer):
    """Masked self-attention, attention to the memory, then feed-forward."""

    def __init__(self, config: TransformerMT.Config, rotary: Rotary | None) -> None:
        super().__init__(config, rotary)
        self.cross = CrossAttention(config.d_model, config.n_heads, config.attention_dropout)
        self.cross_norm = nn.LayerNorm(config.d_model)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        self_weights: Weights | None = None,
        cross_weights: Weights | None = None,
    ) -> Tensor:
        """x [B, T, D], memory [B, S, D] → [B, T, D]."""
        change = self.attention(self.enter(x, self.attention_norm), None, True, self_weights)
        x = self.leave(x, change, self.attention_norm)
        keys, values = self.cross.keys_and_values(memory)
        return self._cross_and_feed_forward(x, keys, values, memory_mask, cross_weights)

    def step(self, x: Tensor, layer: int, cache: DecoderCache) -> Tensor:
        """x [B * K, D], the newest token of every beam → [B * K, D]."""
        change = self.attention.step(self.enter(x, self.attention_norm), layer, cache.own)
        x = self.leave(x, change, self.attention_norm)
        keys, values = cache.memory[layer]
        return self._cross_and_feed_forward(x, keys, values, cache.memory_mask)

    def _cross_and_feed_forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None,
        weights: Weights | None = None,
    ) -> Tensor:
        change = self.cross(self.enter(x, self.cross_norm), keys, values, mask, weights)
        x = self.leave(x, change, self.cross_norm)
        change = self.feed_forward(self.enter(x, self.feed_forward_norm))
        return self.leave(x, change, self.feed_forward_norm)


class DecoderCache:
    """All that decoding one more token needs: own keys and values, and those of the memory.

    The K beams of a sentence share its memory: they are K queries to the same keys.
    """

    def __init__(
        self,
        own: KeyValueCache,
        memory: list[tuple[Tensor, Tensor]],
        memory_mask: Tensor | None,
    ) -> None:
        self.own = own
        self.memory = memory
        self.memory_mask = memory_mask

    def reorder(self, parents: Tensor) -> None:
        """Beam i of each sentence continues beam ``parents[sentence, i]`` ([B, K], int64)."""
        self.own.reorder(parents)

    def select(self, sentences: Tensor) -> None:
        """Keep these sentences (ascending indices, int64) only."""
        self.own.select(sentences)
        self.memory = [(k[sentences], v[sentences]) for k, v in self.memory]
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask[sentences]


@register("model", "transformer_mt", tasks=("seq2seq",))
class TransformerMT(nn.Module):
    """Encoder-decoder Transformer for translation, from scratch."""

    @dataclass(frozen=True)
    class Config:
        d_model: int = option(256, "width of embeddings and layers", min=2)
        n_heads: int = option(4, "attention heads; each is d_model / n_heads wide", min=1)
        encoder_layers: int = option(3, "layers of the encoder", min=1, max=1000)
        decoder_layers: int = option(3, "layers of the decoder", min=1, max=1000)
        d_ff: int = option(1024, "inner width of the feed-forward blocks", min=1)
        dropout: float = option(0.1, "dropped share of embeddings and residuals", min=0, below=1)
        attention_dropout: float = option(0.0, "dropped share of attention weights", min=0, below=1)
        norm: str = option("pre", "LayerNorm before or after each block", choices=("pre", "post"))
        positions: str = option(
            "sinusoidal",
            "how the model knows the order of tokens",
            choices=("sinusoidal", "learned", "rotary", "none"),
        )
        activation: str = option(
            "relu", "activation of the feed-forward blocks", choices=("relu", "gelu")
        )
        tie_embeddings: bool = option(
            True, "one matrix for target embedding and output; for the source too if ids are shared"
        )
        max_length: int = option(256, "number of learned positions", min=1)

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("d_model % n_heads == 0", "n_heads must divide d_model"),
            (
                "positions != 'rotary' or d_model % (2 * n_heads) == 0",
                "rotary positions need an even head size: d_model / n_heads",
            ),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        if spec.vocab_size is None or spec.source_vocab_size is None or spec.pad_id is None:
            raise UserError(
                "transformer_mt needs a data set with a source and a target vocabulary",
                "Choose a data set of task seq2seq.",
            )
        self.config = config
        self.pad_id = spec.pad_id
        d_model = config.d_model
        self.target_embedding = nn.Embedding(spec.vocab_size, d_model)
        nn.init.normal_(self.target_embedding.weight, std=d_model**-0.5)
        if config.tie_embeddings and spec.shared_vocabulary:
            self.source_embedding = self.target_embedding
        else:
            self.source_embedding = nn.Embedding(spec.source_vocab_size, d_model)
            nn.init.normal_(self.source_embedding.weight, std=d_model**-0.5)
        self.output = nn.Linear(d_model, spec.vocab_size, bias=False)
        if config.tie_embeddings:
            self.output.weight = self.target_embedding.weight
        else:
            initialize(self.output)

        self.source_positions = Positions(config.positions, d_model, config.max_length)
        self.target_positions = Positions(config.positions, d_model, config.max_length)
        rotary = None
        if config.positions == "rotary":
            rotary = Rotary(d_model // config.n_heads, config.max_length)
        self.encoder = nn.ModuleList(
            EncoderLayer(config, rotary) for _ in range(config.encoder_layers)
        )
        self.decoder = nn.ModuleList(
            DecoderLayer(config, rotary) for _ in range(config.decoder_layers)
        )
        final = config.norm == "pre"  # post-norm layers end in a norm already
        self.encoder_norm = nn.LayerNorm(d_model) if final else nn.Identity()
        self.decoder_norm = nn.LayerNorm(d_model) if final else nn.Identity()
        self.dropout = Dropout(config.dropout)

    @property
    def output_weight(self) -> Tensor | None:
        """[V, D]: the logits are ``hidden @ output_weight.T``.

        None if a method made another layer of the output: ask :meth:`project` then.
        """
        return plain_weight(self.output)

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers(distinct([self.source_embedding, self.target_embedding]), self.output)

    def encode(
        self, source: Tensor, source_padding: Tensor | None = None, weights: Weights | None = None
    ) -> Tensor:
        """source [B, S] int64, source_padding [B, S] True at padding → memory [B, S, D]."""
        x = self._embed(source, self.source_embedding, self.source_positions)
        mask = None if source_padding is None else padding_mask(source_padding, x.dtype)
        for layer in self.encoder:
            x = layer(x, mask, weights)
        return self.encoder_norm(x)

    def decode(
        self,
        target_in: Tensor,
        memory: Tensor,
        source_padding: Tensor | None = None,
        self_weights: Weights | None = None,
        cross_weights: Weights | None = None,
    ) -> Tensor:
        """target_in [B, T] int64, memory [B, S, D] → hidden [B, T, D].

        Target padding needs no mask: it comes after every real token, so causality hides it.
        """
        x = self._embed(target_in, self.target_embedding, self.target_positions)
        mask = None if source_padding is None else padding_mask(source_padding, memory.dtype)
        for layer in self.decoder:
            x = layer(x, memory, mask, self_weights, cross_weights)
        return self.decoder_norm(x)

    def project(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] → logits [..., V]."""
        return self.output(hidden)

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """source [B, S], target_in [B, T] → logits [B, T, V]."""
        padding = self.padding(source)
        return self.project(self.decode(target_in, self.encode(source, padding), padding))

    def padding(self, source: Tensor) -> Tensor | None:
        """[B, S] True at padding; None if there is none (only a CPU is asked: no waiting)."""
        padding = source == self.pad_id
        if padding.device.type == "cpu" and not padding.any():
            return None
        return padding

    @torch.no_grad()
    def attention_maps(self, source: Tensor, target_in: Tensor) -> dict[str, Tensor]:
        """Attention weights of every layer for a batch (source [B, S]) or one sentence ([S]).

        ``encoder`` [layers, B, heads, S, S], ``decoder`` [layers, B, heads, T, T] and ``cross``
        [layers, B, heads, T, S]; without B for one sentence.
        """
        single = source.dim() == 1
        if single:
            source, target_in = source[None], target_in[None]
        maps: dict[str, Weights] = {"encoder": [], "decoder": [], "cross": []}
        padding = self.padding(source)
        memory = self.encode(source, padding, maps["encoder"])
        self.decode(target_in, memory, padding, maps["decoder"], maps["cross"])
        stacked = {name: torch.stack(layers) for name, layers in maps.items()}
        return {name: m[:, 0] for name, m in stacked.items()} if single else stacked

    def start_cache(
        self, memory: Tensor, source_padding: Tensor | None, max_length: int, beams: int = 1
    ) -> DecoderCache:
        """A cache for decoding at most ``max_length`` tokens with ``beams`` beams a sentence."""
        own = KeyValueCache(
            len(self.decoder), memory.shape[0], beams, self.config.n_heads, max_length, memory
        )
        layers = cast("list[DecoderLayer]", self.decoder)
        keys = [layer.cross.keys_and_values(memory) for layer in layers]
        mask = None if source_padding is None else padding_mask(source_padding, memory.dtype)
        return DecoderCache(own, [(k.contiguous(), v.contiguous()) for k, v in keys], mask)

    def decode_step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """tokens [B * K] int64, the newest token of every beam → logits [B * K, V] of the next."""
        cache.own.start_step()
        x = self._embed(tokens[:, None], self.target_embedding, self.target_positions,
                        cache.own.length - 1)[:, 0]  # fmt: skip
        for number, layer in enumerate(cast("list[DecoderLayer]", self.decoder)):
            x = layer.step(x, number, cache)
        return self.project(self.decoder_norm(x))

    def _embed(
        self, ids: Tensor, embedding: nn.Module, positions: Positions, start: int = 0
    ) -> Tensor:
        """ids [B, T] → [B, T, D], scaled by √D, with positions from ``start`` on."""
        x = embedding(ids).mul_(math.sqrt(self.config.d_model))
        return self.dropout(positions(x, start))
