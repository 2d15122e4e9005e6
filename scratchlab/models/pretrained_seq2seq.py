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
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from scratchlab.data.contract import DataContext, Spec
from scratchlab.errors import UserError
from scratchlab.models.contract import Seq2SeqModel
from scratchlab.models.pretrained import PretrainedWriter, check_fit, load_inner, set_dropout
from scratchlab.models.pretrained_cache import SlotCache
from scratchlab.registry import option, register


class Seq2SeqCache:
    """The encoder's output and the decoder's keys and values, for B texts with K beams each."""

    def __init__(
        self, memory: Tensor, padding: Tensor | None, layers: int, max_length: int, beams: int
    ) -> None:
        self.beams = beams
        self.memory = memory.repeat_interleave(beams, 0)  # [B * K, S, D]
        self.mask = None if padding is None else (~padding).repeat_interleave(beams, 0)
        self.own = SlotCache(layers, max_length)  # of B * K texts
        self.inner = EncoderDecoderCache(self.own.inner, DynamicCache())

    def reorder(self, parents: Tensor) -> None:
        """parents [B, K]: the beam that each beam goes on from."""
        first = torch.arange(len(parents), device=parents.device)[:, None] * self.beams
        self.own.select((first + parents).flatten())

    def select(self, rows: Tensor) -> None:
        """Keep these texts only (ascending indices)."""
        beams = torch.arange(self.beams, device=rows.device)
        rows = (rows[:, None] * self.beams + beams).flatten()
        self.own.select(rows)
        self.memory = self.memory[rows]
        self.mask = None if self.mask is None else self.mask[rows]
        self.inner.cross_attention_cache.batch_select_indices(rows)


@register(
    "model",
    "pretrained_seq2seq",
    tasks=("seq2seq",),
    pretrained=True,
    needs=("transformers",),
    extra="pretrained",
)
class PretrainedSeq2Seq(PretrainedWriter, Seq2SeqModel):
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
        self,
        target_in: Tensor,
        memory: Tensor | None = None,
        source_padding: Tensor | None = None,
        cache: Seq2SeqCache | None = None,
    ) -> Tensor:
        """target_in [B, T] int64, memory [B, S, D] → hidden [B, T, D].

        With a cache target_in [B, K] are the newest tokens of the beams, rows of their own here.
        """
        ids = target_in
        more: dict[str, Any] = {"use_cache": False}
        if cache is not None:
            ids = target_in.reshape(-1, 1)
            cache.own.extend(ids)
            memory, own, seen = cache.memory, None, cache.mask
            more = {"use_cache": True, "past_key_values": cache.inner}
        else:
            assert memory is not None
            own = _shown(None, ids, ids.shape[1])
            seen = _shown(source_padding, ids, memory.shape[1])
        found = self.inner.get_decoder()(
            input_ids=ids,
            attention_mask=own,
            encoder_hidden_states=memory,
            encoder_attention_mask=seen,
            **more,
        )
        hidden: Tensor = found.last_hidden_state * self.scale
        return hidden.view(*target_in.shape, -1)

    def project(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] → logits [..., V]."""
        logits: Tensor = self.output(hidden)
        return logits if self._bias is None else logits + self._bias[0]

    @torch.no_grad()
    def attention_maps(self, source: Tensor, target_in: Tensor) -> dict[str, Tensor]:
        """As promised; the library's own way, in its plain implementation."""
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
        return {name: torch.stack(list(layers)) for name, layers in maps.items()}

    def start_cache(
        self, memory: Tensor, source_padding: Tensor | None, max_length: int, beams: int = 1
    ) -> Seq2SeqCache:
        """A cache for decoding at most ``max_length`` tokens with ``beams`` beams a text."""
        settings = self.inner.config
        layers = getattr(settings, "num_decoder_layers", None) or settings.decoder_layers
        return Seq2SeqCache(memory, source_padding, int(layers), max_length, beams)

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
