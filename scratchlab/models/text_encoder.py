"""Encoder-only Transformer: BERT's architecture (Devlin et al. 2019), from scratch.

Reads top to bottom: configuration, model, its block, whose parts are those of
:mod:`scratchlab.models.layers`. Every token sees all others of its text. Shapes: B texts, T tokens,
D = d_model, V vocabulary. Padding stands at the right end of a row and is seen by nobody, so that
what is said to a text does not depend on those beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.contract import Writer
from scratchlab.models.layers.attention import SelfAttention, padding_mask, recording
from scratchlab.models.layers.block import Block
from scratchlab.models.layers.dropout import Dropout
from scratchlab.models.layers.feed_forward import ACTIVATIONS, FeedForward
from scratchlab.models.layers.linear import Linear
from scratchlab.models.layers.lowered import lowered
from scratchlab.models.layers.positions import Positions, Rotary
from scratchlab.models.layers.token_layers import TokenLayers
from scratchlab.models.layers.word_vectors import EmbeddingOptions
from scratchlab.registry import option, register

# What stands on the encoder for one task: another task starts with its own.
HEADS = ("transform.", "transform_norm.", "output.", "pooler.", "head.")


@register(
    "model",
    "text_encoder",
    tasks=("classification", "masked_lm"),
    exports=("hf",),
    begins_with=("vectors",),
    offers=("attention",),
)
class TextEncoder(Writer):
    """Encoder-only Transformer as in BERT, from scratch: for classes of texts, or masked words."""

    @dataclass(frozen=True)
    class Config(EmbeddingOptions):
        d_model: int = option(128, "width of embeddings and layers", min=2)
        n_heads: int = option(4, "attention heads; each is d_model / n_heads wide", min=1)
        n_layers: int = option(4, "number of blocks", min=1, max=1000)
        d_ff: int | None = option(
            None, "inner width of the feed-forward blocks; null: 4 d_model", min=1
        )
        max_length: int | None = option(
            None, "longest text in tokens; null: that of the data set", min=1
        )
        dropout: float = option(0.1, "dropped share of embeddings and residuals", min=0, below=1)
        attention_dropout: float = option(0.0, "dropped share of attention weights", min=0, below=1)
        norm: str = option("post", "LayerNorm before or after each part", choices=("pre", "post"))
        norm_eps: float = option(1e-12, "what is added to the variance in a LayerNorm", above=0)
        embedding_norm: bool = option(True, "a LayerNorm after the embeddings, as in BERT")
        positions: str = option(
            "learned",
            "how the model knows the order of tokens",
            choices=("learned", "sinusoidal", "rotary", "none"),
        )
        segments: int = option(2, "kinds of text that a row may hold, as BERT's two; 0: one", min=0)
        activation: str = option(
            "gelu",
            "activation of the feed-forward blocks; gelu_tanh: GPT-2's formula for it",
            choices=("gelu", "gelu_tanh", "relu"),
        )
        pooling: str = option(
            "mean",
            "what a class is told from: the mean or the maximum of all tokens, or the one that a "
            "tokenizer puts first",
            choices=("mean", "max", "cls"),
        )
        pooler: bool = option(False, "a tanh layer between pooling and classes, as in BERT")

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("d_model % n_heads == 0", "n_heads must divide d_model"),
            (
                "positions != 'rotary' or d_model % (2 * n_heads) == 0",
                "rotary positions need an even head size: d_model / n_heads",
            ),
        )

    block_size: int

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        if spec.vocab_size is None or not (spec.n_classes or spec.task == "masked_lm"):
            raise UserError(
                "text_encoder needs texts with classes, or a text to learn masked words of",
                "For example dataset=docstring_topics, or model=text_encoder_pretraining.",
            )
        self.config, self.pad_id = config, spec.pad_id
        self.block_size = longest_text(config, spec)
        d_model, eps = config.d_model, config.norm_eps
        self.embedding = nn.Embedding(spec.vocab_size, d_model)
        self.segments = nn.Embedding(config.segments, d_model) if config.segments else None
        self.positions = Positions(config.positions, d_model, self.block_size)
        self.rotary: Rotary | None = None
        if config.positions == "rotary":
            self.rotary = Rotary(d_model // config.n_heads, self.block_size)
        self.embedding_norm = nn.LayerNorm(d_model, eps) if config.embedding_norm else nn.Identity()
        self.blocks = nn.ModuleList(block(config) for _ in range(config.n_layers))
        # blocks whose norms stand behind end in one already
        self.norm = nn.LayerNorm(d_model, eps) if config.norm == "pre" else nn.Identity()
        self.dropout = Dropout(config.dropout)
        self.output = None
        self.pooler: Linear | None = None
        if spec.task == "masked_lm":
            self.transform = Linear(d_model, d_model)
            self.transform_norm = nn.LayerNorm(d_model, eps)
            self.output = Linear(d_model, spec.vocab_size)
        else:
            if config.pooling == "cls" and spec.sos_id is None:
                raise UserError(
                    "model.pooling=cls takes what stands first, and this tokenizer "
                    f"({spec.tokenizer}) puts nothing before a text",
                    "Set model.pooling=mean, or dataset.tokenizer=pretrained.",
                )
            if config.pooler:
                self.pooler = Linear(d_model, d_model)
            self.head = nn.Linear(d_model, spec.n_classes or 0)
            self.fresh = ("head.",)
        self.initialize()
        self.embedding.weight.requires_grad_(config.embedding == "tuned")
        self.fixed = ("embedding.",) if config.embedding == "frozen" else ()
        if self.output is not None:
            self.output.weight = self.embedding.weight  # tied

    def initialize(self) -> None:
        """BERT's start: normal with deviation 0.02, zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def begin_with(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """All but what was made for another task or for other classes; that is fresh here."""
        own = {n: t for n, t in self.state_dict().items() if n.startswith(HEADS)}
        own.pop("output.weight", None)  # the embedding's
        made = {n: t for n, t in own.items() if n not in weights or weights[n].shape != t.shape}
        self.fresh = tuple(dict.fromkeys(f"{name.partition('.')[0]}." for name in made))
        kept = {n: t for n, t in weights.items() if n in own or not n.startswith(HEADS)}
        return {**kept, **made}

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers((self.embedding,), self.output)

    @property
    def output_weight(self) -> Tensor | None:
        """None: a layer and a bias stand between hidden states and logits."""
        return None

    def padding(self, tokens: Tensor) -> Tensor | None:
        """[B, T] True at padding; None if there is none (only a CPU is asked: no waiting)."""
        if self.pad_id is None:
            return None
        padding = tokens == self.pad_id
        return None if padding.device.type == "cpu" and not padding.any() else padding

    def hidden(
        self,
        tokens: Tensor,
        padding: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] int64 → [B, T, D], the last layer.

        ``padding`` [B, T] is True where there is no token; ``segments`` [B, T] int64 tells which
        text of a row a token belongs to (None: all to the first).
        """
        self.check_length(tokens.shape[1])
        places = slice(0, tokens.shape[1])
        x = self.embedding(tokens)  # [B, T, D]
        dtype = x.dtype
        if self.config.positions == "sinusoidal":  # learned ones are as small as embeddings are
            x = x * math.sqrt(self.config.d_model)
        x = self.positions(x, places)
        if self.segments is not None:
            x = x + (self.segments.weight[0] if segments is None else self.segments(segments))
        x = self.dropout(lowered(self.embedding_norm(x)))
        rotation = None if self.rotary is None else self.rotary(places)
        mask = padding_mask(padding, x.dtype)
        for layer in self.blocks:
            x = layer(x, rotation, mask)
        return self.norm(x).to(dtype)

    def encode(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """tokens [B, T], padding as in :meth:`hidden` → what classes are told from, [B, D]."""
        hidden = self.hidden(tokens, padding)
        pooled = pool(hidden, padding, self.config.pooling)
        return pooled if self.pooler is None else torch.tanh(self.pooler(pooled))

    def project(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] of masked places → logits [..., V] of what stood there."""
        activate = ACTIVATIONS[self.config.activation]
        return super().project(self.transform_norm(activate(self.transform(hidden))))

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """tokens [B, T] → logits [B, classes], or [B, T, V] of a model of masked words; without
        ``padding``, the padding token tells it."""
        padding = self.padding(tokens) if padding is None else padding
        if self.output is not None:
            return self.project(self.hidden(tokens, padding))
        return self.head(self.dropout(self.encode(tokens, padding)))

    @torch.no_grad()
    def attention_maps(self, tokens: Tensor) -> Tensor:
        """Attention weights of every layer and head, [layers, B, H, T, T]."""
        with recording(self) as maps:
            self.hidden(tokens, self.padding(tokens))
        return torch.stack(maps["blocks"])


def pool(hidden: Tensor, padding: Tensor | None, how: str) -> Tensor:
    """hidden [B, T, D] → [B, D]: its first token, or the mean or maximum of those that are no
    padding."""
    if how == "cls":
        return hidden[:, 0]
    if how == "max":
        if padding is not None:
            hidden = hidden.masked_fill(padding[..., None], float("-inf"))
        return hidden.amax(1)
    if padding is None:
        return hidden.mean(1)
    weights = (~padding)[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def block(config: TextEncoder.Config) -> Block:
    """norm(x + attention(x)), then norm(x + feed_forward(x)), or with the norms before."""
    d_model, heads, eps = config.d_model, config.n_heads, config.norm_eps
    return Block(
        config.norm,
        config.dropout,
        attention=SelfAttention(d_model, heads, config.attention_dropout),
        attention_norm=nn.LayerNorm(d_model, eps),
        feed_forward=FeedForward(d_model, config.d_ff or 4 * d_model, config.activation),
        feed_forward_norm=nn.LayerNorm(d_model, eps),
    )


def longest_text(config: TextEncoder.Config, spec: Spec) -> int:
    """The longest text in tokens: the option, or else the data set's, which must fit anyway."""
    size = config.max_length or spec.max_length
    if size is None:
        raise UserError(
            "model.max_length is needed: the data set does not bound its texts",
            "For example model.max_length=128.",
        )
    if spec.max_length is not None and spec.max_length > size:
        raise UserError(
            f"the data set's texts of up to {spec.max_length} tokens are longer than "
            f"model.max_length={size}",
            f"Set model.max_length={spec.max_length} for a model that learns from nothing, or a "
            "smaller dataset.max_length (dataset.block_size of running text).",
        )
    return size
