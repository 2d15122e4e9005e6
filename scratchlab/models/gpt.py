"""Decoder-only Transformer: GPT-2's architecture (Radford et al. 2019), from scratch.

Reads top to bottom: configuration, model, its block, whose parts are those of
:mod:`scratchlab.models.layers`. Shapes: B texts, T tokens, D = d_model, V vocabulary. Texts are
filled up at the right end, where causality hides the filling from every real token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.contract import LanguageModel
from scratchlab.models.layers.adaptive_softmax import AdaptiveSoftmax
from scratchlab.models.layers.attention import SelfAttention
from scratchlab.models.layers.block import Block
from scratchlab.models.layers.cache import KeyValueCache, Places
from scratchlab.models.layers.dropout import Dropout
from scratchlab.models.layers.feed_forward import FeedForward
from scratchlab.models.layers.linear import Linear
from scratchlab.models.layers.lowered import lowered
from scratchlab.models.layers.positions import Positions, Rotary
from scratchlab.models.layers.token_layers import TokenLayers
from scratchlab.registry import option, register


@register(
    "model",
    "gpt",
    tasks=("language_modeling",),
    exports=("hf", "ctranslate2"),
    begins_with=("vectors",),
)
class GPT(LanguageModel):
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
        activation: str = option(
            "gelu_tanh",
            "activation of the feed-forward blocks; relu2: the square of relu",
            choices=("gelu_tanh", "gelu", "relu", "relu2"),
        )
        qk_norm: bool = option(False, "queries and keys of each head at one length, with a gain")
        value_embeddings: bool = option(
            False, "in every other layer each token adds a row of a table to its values"
        )
        residual_scalars: bool = option(
            False, "each block begins with a x + b x0: x0 the embeddings, a and b learned"
        )
        zero_init: bool = option(
            False, "what blocks add begins at zero, and so does an output layer that is not tied"
        )
        tie_embeddings: bool = option(True, "one matrix for embedding and output")
        output: str = option(
            "full",
            "softmax over the whole vocabulary, or adaptive: ids must be sorted by frequency",
            choices=("full", "adaptive"),
        )
        cutoffs: list[int] = option(
            [2000, 10000],
            "adaptive: ids at which a rarer cluster begins",
            min=1,
            when={"output": "adaptive"},
        )
        logit_softcap: float | None = option(
            None, "logits stay below: cap · tanh(logits / cap); null: unbounded", above=0
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("d_model % n_heads == 0", "n_heads must divide d_model"),
            (
                "positions != 'rotary' or d_model % (2 * n_heads) == 0",
                "rotary positions need an even head size: d_model / n_heads",
            ),
            (
                "logit_softcap is None or output == 'full'",
                "logit_softcap is for output=full: an adaptive softmax has several",
            ),
        )

    block_size: int

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
        self.rotary: Rotary | None = None
        if config.positions == "rotary":
            self.rotary = Rotary(d_model // config.n_heads, self.block_size)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.n_layers))
        self.values, self.softcap = nn.ModuleDict(), config.logit_softcap
        if config.value_embeddings:
            for number in range(config.n_layers - 1, -1, -2):  # the last layer is one of them
                self.values[str(number)] = nn.Embedding(spec.vocab_size, d_model)
        self.stream: nn.Parameter | None = None
        if config.residual_scalars:  # a and b of each block, first those of a plain model
            self.stream = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(config.n_layers))
        self.norm = nn.LayerNorm(d_model, bias=config.bias)
        self.dropout = Dropout(config.dropout)
        if config.output == "full":
            self.output = Linear(d_model, spec.vocab_size, bias=False)
        self.initialize()
        if config.output == "adaptive":
            tied = self.embedding.weight if config.tie_embeddings else None
            self.adaptive = AdaptiveSoftmax(d_model, spec.vocab_size, config.cutoffs, tied)
        elif config.tie_embeddings:
            self.output.weight = self.embedding.weight
        elif config.zero_init:
            nn.init.zeros_(self.output.weight)

    def initialize(self) -> None:
        """GPT-2's start: normal with deviation 0.02, zero biases; what is added to the residual
        stream is scaled down by √(2 n_layers), so that the stream does not grow with depth."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith(".out")
                std = 0.02 / math.sqrt(2 * self.config.n_layers) if residual else 0.02
                nn.init.normal_(module.weight, std=std)
                if residual and self.config.zero_init:
                    nn.init.zeros_(module.weight)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def token_layers(self) -> TokenLayers:
        tables = (self.embedding, *self.values.values())
        return TokenLayers(tables, None if self.adaptive else self.output)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] int64 → [B, T, D]: in training, with a cache, and looked into."""
        self.check_length(tokens.shape[1] + (0 if cache is None else cache.length))
        places: Places = slice(0, tokens.shape[1]) if positions is None else positions
        if cache is not None:
            places, mask = cache.extend(tokens, lengths)
        x = self.embedding(tokens)  # [B, T, D]
        x = self.positions(x if self.scale == 1 else x * self.scale, places)
        x = self.dropout(lowered(x))
        rotation = None if self.rotary is None else self.rotary(places)
        if self.stack is not None and cache is not None:
            found: Tensor | None = self.stack(x, cache, mask, rotation)
            if found is not None:
                return found
        x0, stream = x, None if self.stream is None else self.stream.view(-1, 2)
        for number, layer in enumerate(self.blocks):
            if stream is not None:
                x = stream[number, 0] * x + stream[number, 1] * x0
            values = self.values[str(number)](tokens) if str(number) in self.values else None
            kept = None if cache is None else cache.layers[number]
            x = layer(x, rotation, mask, kept, values=values)
        return self.norm(x)

    def stacked(self) -> tuple[Sequence[Block], nn.Module, Any, None] | None:
        if self.values or self.stream is not None:
            return None
        output = None if self.adaptive else self.output
        return cast("list[Block]", self.blocks), self.norm, output, None

    def start_cache(self, batch_size: int, max_length: int) -> KeyValueCache:
        """An empty cache for texts of at most ``max_length`` tokens (never more than the block)."""
        return KeyValueCache(len(self.blocks), min(max_length, self.block_size))


def block(config: GPT.Config) -> Block:
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""
    d_model, heads, bias = config.d_model, config.n_heads, config.bias
    return Block(
        "pre",
        config.dropout,
        attention_norm=nn.LayerNorm(d_model, bias=bias),
        attention=SelfAttention(
            d_model,
            heads,
            config.attention_dropout,
            causal=True,
            bias=bias,
            qk_norm=config.qk_norm,
        ),
        feed_forward_norm=nn.LayerNorm(d_model, bias=bias),
        feed_forward=FeedForward(d_model, config.d_ff or 4 * d_model, config.activation, bias),
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
