"""Encoder-decoder Transformer for translation (Vaswani et al. 2017, "Attention Is All You Need").

Reads top to bottom: a layer of encoder or decoder, the cache, configuration, the model. Shapes:
B sentences, S source length, T target length, D = d_model, V vocabulary, K beams of a search.
Padding stands at the right end of a row only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.models.contract import Seq2SeqModel
from scratchlab.models.layers.attention import CrossAttention, SelfAttention, padding_mask
from scratchlab.models.layers.block import Block, KeysAndValues
from scratchlab.models.layers.cache import KeyValueCache, LayerCache, Places
from scratchlab.models.layers.dropout import Dropout
from scratchlab.models.layers.feed_forward import FeedForward
from scratchlab.models.layers.linear import Linear
from scratchlab.models.layers.lowered import lowered
from scratchlab.models.layers.positions import Positions, Rotary, Rotation
from scratchlab.models.layers.token_layers import Opening, TokenLayers, distinct
from scratchlab.models.layers.translation_tables import translation_tables
from scratchlab.registry import option, register

Part = TypeVar("Part", bound=nn.Module)
STACKED = {"qkv": 3, "kv": 2}  # outputs in one matrix


def layer(config: TransformerMT.Config, decodes: bool) -> Block:
    """A layer of the encoder, or of the decoder, which looks at the memory too."""
    d_model, heads, dropout = config.d_model, config.n_heads, config.attention_dropout
    own = SelfAttention(d_model, heads, dropout, causal=decodes, qk_norm=config.qk_norm)
    parts: dict[str, nn.Module] = {
        "attention": xavier(own),
        "attention_norm": nn.LayerNorm(d_model),
        "feed_forward": xavier(FeedForward(d_model, config.d_ff, config.activation)),
        "feed_forward_norm": nn.LayerNorm(d_model),
    }
    if decodes:
        parts["cross"] = xavier(CrossAttention(d_model, heads, dropout, config.qk_norm))
        parts["cross_norm"] = nn.LayerNorm(d_model)
    if config.zero_init:
        for name in {"attention", "cross", "feed_forward"} & parts.keys():
            nn.init.zeros_(parts[name].out.weight)  # type: ignore[union-attr, arg-type]
    return Block(config.norm, config.dropout, **parts)


def xavier(part: Part) -> Part:
    """Xavier-uniform weights in every linear layer (Glorot & Bengio 2010), each of the outputs that
    are stacked in one matrix by itself; zero biases."""
    for name, linear in part.named_children():
        if isinstance(linear, nn.Linear):
            for matrix in linear.weight.chunk(STACKED.get(name, 1)):
                nn.init.xavier_uniform_(matrix)
            nn.init.zeros_(linear.bias)
    return part


class DecoderCache:
    """All that decoding one more token needs: own keys and values, and those of the memory.

    The K beams of a sentence share its memory: they are K queries to the same keys.
    """

    def __init__(
        self, own: KeyValueCache, memory: list[KeysAndValues], memory_mask: Tensor | None
    ) -> None:
        self.own, self.memory, self.memory_mask = own, memory, memory_mask

    def reorder(self, parents: Tensor) -> None:
        """Beam i of each sentence continues beam ``parents[sentence, i]`` ([B, K], int64)."""
        self.own.reorder(parents)

    def select(self, rows: Tensor) -> None:
        """Keep these sentences (ascending indices, int64) only."""
        self.own.select(rows)
        self.memory = [(k[rows], v[rows]) for k, v in self.memory]
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask[rows]


@register("model", "transformer_mt", tasks=("seq2seq",), exports=("ctranslate2",))
class TransformerMT(Seq2SeqModel):
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
            "relu",
            "activation of the feed-forward blocks; relu2: the square of relu",
            choices=("relu", "gelu", "relu2"),
        )
        qk_norm: bool = option(False, "queries and keys of each head at one length, with a gain")
        zero_init: bool = option(False, "what layers add to their input begins at zero")
        logit_softcap: float | None = option(
            None, "logits stay below: cap · tanh(logits / cap); null: unbounded", above=0
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
        self.config = config
        self.pad_id, self.softcap = spec.pad_id, config.logit_softcap
        d_model = config.d_model
        self.target_embedding, self.source_embedding = translation_tables(
            "transformer_mt", spec, d_model, config.tie_embeddings
        )
        self.output = Linear(d_model, self.target_embedding.num_embeddings, bias=False)
        if config.tie_embeddings:
            self.output.weight = self.target_embedding.weight
        else:
            nn.init.xavier_uniform_(self.output.weight)

        self.source_positions = Positions(config.positions, d_model, config.max_length)
        self.target_positions = Positions(config.positions, d_model, config.max_length)
        self.rotary: Rotary | None = None
        if config.positions == "rotary":
            self.rotary = Rotary(d_model // config.n_heads, config.max_length)
        self.encoder = nn.ModuleList(layer(config, False) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(layer(config, True) for _ in range(config.decoder_layers))
        final = config.norm == "pre"  # post-norm layers end in a norm already
        self.encoder_norm = nn.LayerNorm(d_model) if final else nn.Identity()
        self.decoder_norm = nn.LayerNorm(d_model) if final else nn.Identity()
        self.dropout = Dropout(config.dropout)

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers(distinct([self.source_embedding, self.target_embedding]), self.output)

    def encode(self, source: Tensor, source_padding: Tensor | None = None) -> Tensor:
        """source [B, S] int64, source_padding [B, S] True at padding → memory [B, S, D]."""
        places = slice(0, source.shape[1])
        x, rotation = self.embed(source, self.source_embedding, self.source_positions, places)
        if self.reader is not None:
            found: Tensor | None = self.reader.read(x, rotation, source_padding)
            if found is not None:
                return found
        mask = padding_mask(source_padding, x.dtype)
        for block in self.encoder:
            x = block(x, rotation, mask)
        return self.encoder_norm(x)

    def decode(
        self,
        target_in: Tensor,
        memory: Tensor | None = None,
        source_padding: Tensor | None = None,
        cache: DecoderCache | None = None,
    ) -> Tensor:
        """target_in [B, T] int64, memory [B, S, D] → hidden [B, T, D].

        With a cache target_in [B, K] are the newest tokens of the beams.
        """
        blocks = cast("list[Block]", self.decoder)
        if cache is not None:
            places, mask = cache.own.extend(target_in)
            own: Sequence[LayerCache | None] = cache.own.layers
            seen: Sequence[Tensor | KeysAndValues] = cache.memory
            seen_mask = cache.memory_mask
        else:
            assert memory is not None
            places, mask, own = slice(0, target_in.shape[1]), None, [None] * len(blocks)
            seen, seen_mask = [memory] * len(blocks), padding_mask(source_padding, memory.dtype)
        x, rotation = self.embed(target_in, self.target_embedding, self.target_positions, places)
        if self.stack is not None and cache is not None:
            found: Tensor | None = self.stack(
                x, cache.own, mask, rotation, cache.memory, cache.memory_mask
            )
            if found is not None:
                return found
        for block, its, kept in zip(blocks, seen, own, strict=True):
            x = block(x, rotation, mask, kept, its, seen_mask)
        return self.decoder_norm(x)

    def stacked(self) -> tuple[Sequence[Block], nn.Module, Any, Opening]:
        factor = math.sqrt(self.config.d_model)
        opening = Opening(self.target_embedding, factor, self.target_positions, self.rotary)
        return cast("list[Block]", self.decoder), self.decoder_norm, self.output, opening

    def likeliest(
        self,
        newest: Tensor,
        cache: DecoderCache,
        best: int,
        barred: Tensor,
        only: Mapping[int, int],
    ) -> tuple[Tensor, Tensor] | None:
        """The ``best`` tokens that may follow each of ``newest`` [B, K], with none of those
        ``barred`` [n], and in the sentences of ``only`` that token: their log-probabilities (-inf
        where there are no more) and ids, [B, K, best] both; by the compiled step alone. None: ask
        :meth:`next_logits`."""
        if self.stack is None or self.softcap is not None:
            return None
        found: tuple[Tensor, Tensor] | None = self.stack.likeliest(
            newest, cache.own, cache.memory, cache.memory_mask, best, barred, only
        )
        return found

    def reads(self) -> tuple[Sequence[Block], nn.Module]:
        return cast("list[Block]", self.encoder), self.encoder_norm

    def start_cache(
        self, memory: Tensor, source_padding: Tensor | None, max_length: int, beams: int = 1
    ) -> DecoderCache:
        """A cache for decoding at most ``max_length`` tokens with ``beams`` beams a sentence."""
        own = KeyValueCache(len(self.decoder), max_length, beams)
        blocks = cast("list[Block]", self.decoder)
        seen = [block.cross.keys_and_values(memory) for block in blocks]
        kept = [(k.contiguous(), v.contiguous()) for k, v in seen]
        return DecoderCache(own, kept, padding_mask(source_padding, memory.dtype))

    def embed(
        self, ids: Tensor, embedding: nn.Module, positions: Positions, places: Places
    ) -> tuple[Tensor, Rotation | None]:
        """ids [B, T] → [B, T, D], scaled by √D, with positions; and the rotation of ``places``."""
        x = embedding(ids).mul_(math.sqrt(self.config.d_model))
        rotation = None if self.rotary is None else self.rotary(places)
        return self.dropout(lowered(positions(x, places))), rotation
