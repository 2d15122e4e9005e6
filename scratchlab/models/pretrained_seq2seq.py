"""Pretrained encoder-decoder models of the Hugging Face hub (T5, BART and others).

A thin module around a model of transformers (``inner``) that offers what the from-scratch
encoder-decoder offers: ``encode`` and ``decode`` for training, a cache and one step for decoding.
Shapes: B texts, S source tokens, T target tokens, D = d_model, K beams, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, EncoderDecoderCache

from scratchlab.data.contract import DataContext, Spec
from scratchlab.errors import UserError
from scratchlab.models.pretrained import PretrainedGenerator, check_fit, load_inner, set_dropout
from scratchlab.registry import option, register


class _OwnLayer(CacheLayerMixin):
    """Keys and values of the target tokens so far in one layer, [B * K, H, max_length, size]."""

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.max_length, self.length = max_length, 0
        self.is_initialized = True
        self.both: tuple[Tensor, Tensor] | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Set the memory aside once its shape is known."""
        shape = (*key_states.shape[:2], self.max_length, key_states.shape[-1])
        self.both = (key_states.new_zeros(shape), value_states.new_zeros(shape))

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the new keys and values [B * K, H, 1, size]; all of them come back."""
        if self.both is None:
            self.lazy_initialization(key_states, value_states)
        assert self.both is not None
        keys, values = self.both
        end = self.length + key_states.shape[2]
        keys[:, :, self.length : end], values[:, :, self.length : end] = key_states, value_states
        self.length = end
        return keys[:, :, :end], values[:, :, :end]

    def choose(self, rows: Tensor) -> None:
        """Row i becomes what row ``rows[i]`` was; fewer rows than before let the others go."""
        if self.both is not None:
            keys, values = self.both
            for memory in (keys, values):
                memory[: len(rows), :, : self.length] = memory[rows, :, : self.length]
            self.both = (keys[: len(rows)], values[: len(rows)])

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.max_length


class Seq2SeqCache:
    """The encoder's output and the decoder's keys and values, for B texts with K beams each."""

    def __init__(
        self, memory: Tensor, padding: Tensor | None, layers: int, max_length: int, beams: int
    ) -> None:
        self.beams = beams
        self.memory = memory.repeat_interleave(beams, 0)  # [B * K, S, D]
        self.mask = None if padding is None else (~padding).repeat_interleave(beams, 0)
        self.own = [_OwnLayer(max_length) for _ in range(layers)]
        self.inner = EncoderDecoderCache(Cache(layers=list(self.own)), DynamicCache())

    def reorder(self, parents: Tensor) -> None:
        """parents [B, K]: the beam that each beam goes on from."""
        first = torch.arange(len(parents), device=parents.device)[:, None] * self.beams
        self._choose((first + parents).flatten())

    def select(self, sentences: Tensor) -> None:
        """Keep these texts only (ascending indices)."""
        beams = torch.arange(self.beams, device=sentences.device)
        rows = (sentences[:, None] * self.beams + beams).flatten()
        self._choose(rows)
        self.memory = self.memory[rows]
        self.mask = None if self.mask is None else self.mask[rows]
        self.inner.cross_attention_cache.batch_select_indices(rows)

    def _choose(self, rows: Tensor) -> None:
        for layer in self.own:
            layer.choose(rows)


@register(
    "model",
    "pretrained_seq2seq",
    tasks=("seq2seq",),
    pretrained=True,
    needs=("transformers",),
    extra="pretrained",
)
class PretrainedSeq2Seq(PretrainedGenerator):
    """A pretrained encoder-decoder: T5, BART, any of the hub that transformers can load."""

    @dataclass(frozen=True)
    class Config:
        checkpoint: str = option(
            "google-t5/t5-small", "a name of the hub, or the folder of a checkpoint", path="name"
        )
        dropout: float | None = option(
            None, "dropped share in training; null: as the checkpoint says", min=0, below=1
        )

    def __init__(
        self,
        config: Config,
        spec: Spec,
        context: DataContext,
        folder: Path | None = None,
        skeleton: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.inner, self.origin = load_inner(
            AutoModelForSeq2SeqLM, config.checkpoint, context, folder, skeleton
        )
        settings = self.inner.config
        # T5's positions are relative: its texts may have any length.
        relative = hasattr(settings, "relative_attention_num_buckets")
        longest = None if relative else getattr(settings, "max_position_embeddings", None)
        self.block_size = int(longest or 1 << 20)
        check_fit(spec, self.inner, self.block_size, config.checkpoint)
        self.pad_id = spec.pad_id
        tied = settings.model_type == "umt5" and settings.tie_word_embeddings
        scaled = getattr(settings, "scale_decoder_outputs", False) or tied
        self.scale = float(settings.d_model) ** -0.5 if scaled else 1.0
        if config.dropout is not None:
            set_dropout(self.inner, config.dropout)
        if not skeleton:
            self._check_agreement()

    @property
    def _bias(self) -> Tensor | None:
        """[1, V]: what is added to the logits (BART and its kin have such a buffer)."""
        bias: Tensor | None = getattr(self.inner, "final_logits_bias", None)
        return bias

    @property
    def output_weight(self) -> Tensor | None:
        """[V, D] where the logits are ``hidden @ output_weight.T``; None where they are not."""
        bias = self._bias
        if bias is not None and bias.device.type != "meta" and bool(bias.any()):
            return None
        return super().output_weight

    def encode(self, source: Tensor, source_padding: Tensor | None = None) -> Tensor:
        """source [B, S] int64, source_padding [B, S] True at padding → memory [B, S, D]."""
        mask = _shown(source_padding, source, source.shape[1])
        found = self.inner.get_encoder()(input_ids=source, attention_mask=mask)
        memory: Tensor = found.last_hidden_state
        return memory

    def decode(
        self, target_in: Tensor, memory: Tensor, source_padding: Tensor | None = None
    ) -> Tensor:
        """target_in [B, T] int64, memory [B, S, D] → hidden [B, T, D].

        Target padding needs no mask: it comes after every real token, so causality hides it.
        """
        own = None
        if target_in.device.type == "meta":
            own = _shown(None, target_in, target_in.shape[1])
        found = self.inner.get_decoder()(
            input_ids=target_in,
            attention_mask=own,
            encoder_hidden_states=memory,
            encoder_attention_mask=_shown(source_padding, target_in, memory.shape[1]),
            use_cache=False,
        )
        hidden: Tensor = found.last_hidden_state * self.scale
        return hidden

    def project(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] → logits [..., V]."""
        logits: Tensor = self.output(hidden)
        return logits if self._bias is None else logits + self._bias[0]

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """source [B, S], target_in [B, T] → logits [B, T, V]."""
        padding = torch.eq(source, -1 if self.pad_id is None else self.pad_id)
        return self.project(self.decode(target_in, self.encode(source, padding), padding))

    @torch.no_grad()
    def attention_maps(self, source: Tensor, target_in: Tensor) -> dict[str, Tensor]:
        """Attention weights of every layer for a batch (source [B, S]) or one text ([S]).

        ``encoder`` [layers, B, heads, S, S], ``decoder`` [layers, B, heads, T, T] and ``cross``
        [layers, B, heads, T, S]; without B for one text.
        """
        single = source.dim() == 1
        if single:
            source, target_in = source[None], target_in[None]
        mask = source != self.pad_id
        self.inner.set_attn_implementation("eager")
        try:
            found = self.inner(
                input_ids=source, attention_mask=mask, decoder_input_ids=target_in,
                use_cache=False, output_attentions=True,
            )  # fmt: skip
        finally:
            self.inner.set_attn_implementation("sdpa")
        maps = {
            "encoder": found.encoder_attentions,
            "decoder": found.decoder_attentions,
            "cross": found.cross_attentions,
        }
        stacked = {name: torch.stack(list(layers)) for name, layers in maps.items()}
        return {name: m[:, 0] for name, m in stacked.items()} if single else stacked

    def start_cache(
        self, memory: Tensor, source_padding: Tensor | None, max_length: int, beams: int = 1
    ) -> Seq2SeqCache:
        """A cache for decoding at most ``max_length`` tokens with ``beams`` beams a text."""
        settings = self.inner.config
        layers = getattr(settings, "num_decoder_layers", None) or settings.decoder_layers
        return Seq2SeqCache(memory, source_padding, int(layers), max_length, beams)

    def decode_step(self, tokens: Tensor, cache: Seq2SeqCache) -> Tensor:
        """tokens [B * K] int64, the newest token of every beam → logits [B * K, V] of the next."""
        found = self.inner.get_decoder()(
            input_ids=tokens[:, None],
            encoder_hidden_states=cache.memory,
            encoder_attention_mask=cache.mask,
            past_key_values=cache.inner,
            use_cache=True,
        )
        return self.project(found.last_hidden_state[:, 0] * self.scale)

    @torch.no_grad()
    def _check_agreement(self) -> None:
        """UserError if the library makes its logits otherwise than by this module's formula."""
        was_training = self.training
        self.eval()
        ids = torch.tensor([[3, 2]])
        plain = self.project(self.decode(ids, self.encode(ids)))
        library = self.inner(input_ids=ids, decoder_input_ids=ids, use_cache=False).logits
        if not torch.allclose(plain, library, rtol=1e-3, atol=1e-3 * float(library.std())):
            kind = self.inner.config.model_type
            raise UserError(
                f"{self.config.checkpoint} ({kind}) makes its logits in a way that is not supported"
            )
        self.train(was_training)


def _shown(padding: Tensor | None, like: Tensor, length: int) -> Tensor | None:
    """What may be seen: [B, length], or on ``meta``, where content is unknown, a whole mask."""
    if like.device.type == "meta":
        return like.new_zeros((len(like), 1, like.shape[1], length), dtype=torch.float32)
    return None if padding is None else ~padding
