"""Recurrent encoder-decoder, without attention (Sutskever et al. 2014; Cho et al. 2014), with
additive (Bahdanau, Cho and Bengio 2015) or multiplicative attention (Luong, Pham & Manning 2015).

Reads top to bottom: what decoding keeps, configuration, the model. Shapes: B sentences, S source
length, T target length, D = d_model, K beams of a search, R = B · K rows of the decoder (training
has one beam). Padding stands at the right end of a row only, and nothing depends on it.

What comes first decides how fast training is. Multiplicative attention looks with the decoder's new
states, so the layers run over the whole target before anybody looks. Additive attention looks with
the state before: its first layer goes token by token, as do all with ``input_feeding``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.models.contract import Seq2SeqModel
from scratchlab.models.layers.alignment import Additive, Alignment, Multiplicative, Source
from scratchlab.models.layers.attention import padding_mask
from scratchlab.models.layers.dropout import Dropout
from scratchlab.models.layers.linear import Linear
from scratchlab.models.layers.recurrent_cells import (
    Bidirectional,
    FedLayer,
    State,
    make_layer,
    run_layer,
    start_state,
    turned_order,
)
from scratchlab.models.layers.token_layers import TokenLayers, distinct
from scratchlab.models.layers.translation_tables import translation_tables
from scratchlab.registry import option, register


class DecoderCache:
    """Where the decoder stands: the state of every layer, each [R, D], what is fed back into the
    next step [R, D], and the source, which the K beams of a sentence share."""

    def __init__(self, source: Source, states: list[State], feed: Tensor, beams: int) -> None:
        self.source, self.states, self.feed, self.beams = source, states, feed, beams

    def reorder(self, parents: Tensor) -> None:
        """Beam i of each sentence continues beam ``parents[sentence, i]`` ([B, K], int64)."""
        first = torch.arange(len(parents), device=parents.device)[:, None] * self.beams
        self._take((first + parents).flatten())

    def select(self, rows: Tensor) -> None:
        """Keep these sentences (ascending indices, int64) only."""
        beams = torch.arange(self.beams, device=rows.device)
        self._take((rows[:, None] * self.beams + beams).flatten())
        self.source = self.source.select(rows)

    def _take(self, rows: Tensor) -> None:
        self.states = [tuple(part[rows] for part in state) for state in self.states]
        self.feed = self.feed[rows]


@register("model", "rnn_seq2seq", tasks=("seq2seq",))
class RNNSeq2Seq(Seq2SeqModel):
    """Recurrent encoder-decoder (simple RNN, LSTM, GRU), with and without attention."""

    @dataclass(frozen=True)
    class Config:
        cell: str = option("lstm", "kind of recurrent layer", choices=("rnn", "lstm", "gru"))
        cell_impl: str = option(
            "torch",
            "torch: its fused layers; scratch: written out, with the same parameters",
            choices=("torch", "scratch"),
        )
        d_model: int = option(256, "width of embeddings, states and attention", min=1)
        encoder_layers: int = option(1, "layers of the encoder", min=1, max=1000)
        decoder_layers: int = option(1, "layers of the decoder", min=1, max=1000)
        bidirectional: bool = option(
            True, "the encoder reads both ways, with half of its units each"
        )
        attention: str = option(
            "additive",
            "how the decoder looks at the source: additive before its step (Bahdanau), "
            "multiplicative after it (Luong), or not at all",
            choices=("none", "additive", "multiplicative"),
        )
        score: str = option(
            "general",
            "multiplicative: a learned product q·Wk, or the plain one q·k",
            choices=("general", "dot"),
            when={"attention": "multiplicative"},
        )
        input_feeding: bool = option(
            False, "what multiplicative attention saw goes into the next step too"
        )
        dropout: float = option(
            0.2, "dropped share of embeddings, layers and output", min=0, below=1
        )
        tie_embeddings: bool = option(
            True, "one matrix for target embedding and output; for the source too if ids are shared"
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("not bidirectional or d_model % 2 == 0", "both directions need half of d_model each"),
            (
                "not input_feeding or attention == 'multiplicative'",
                "input_feeding goes with attention=multiplicative",
            ),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.config = config
        self.pad_id = spec.pad_id
        d_model, impl, cell = config.d_model, config.cell_impl, config.cell
        self.target_embedding, self.source_embedding = translation_tables(
            "rnn_seq2seq", spec, d_model, config.tie_embeddings
        )
        self.output = Linear(d_model, self.target_embedding.num_embeddings, bias=False)
        if config.tie_embeddings:
            self.output.weight = self.target_embedding.weight
        self.encoder = nn.ModuleList(
            Bidirectional(impl, cell, d_model, d_model)
            if config.bidirectional
            else make_layer(impl, cell, d_model, d_model)
            for _ in range(config.encoder_layers)
        )
        # What a first layer that goes token by token is fed stands beside the token.
        self.token_by_token = config.attention == "additive" or config.input_feeding
        self.decoder = nn.ModuleList(
            make_layer(impl, cell, d_model * (2 if first and self.token_by_token else 1), d_model)
            for first in (True, *[False] * (config.decoder_layers - 1))
        )
        parts = sum(len(start_state(layer, 1)) for layer in self.decoder)
        self.bridge = Linear(d_model, parts * d_model)
        self.attention: Alignment | None = None
        if config.attention == "additive":
            self.attention = Additive(d_model)
        elif config.attention == "multiplicative":
            self.attention = Multiplicative(d_model, config.score)
        if self.attention is not None:
            self.readout = Linear(2 * d_model, d_model)
        self.dropout = Dropout(config.dropout)

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers(distinct([self.source_embedding, self.target_embedding]), self.output)

    def embed(self, ids: Tensor, table: nn.Module) -> Tensor:
        """ids [B, T] → [B, T, D]."""
        return self.dropout(table(ids) * math.sqrt(self.config.d_model))

    def encode(self, source: Tensor, source_padding: Tensor | None = None) -> Tensor:
        """source [B, S] int64, source_padding [B, S] True at padding → memory [B, S, D]."""
        x = self.embed(source, self.source_embedding)
        order = None if source_padding is None else turned_order(source_padding)
        for layer in self.encoder:
            if isinstance(layer, Bidirectional):
                x = layer(x, order)
            else:
                x, _ = run_layer(layer, x, start_state(layer, len(x)))
            x = self.dropout(x)
        return x

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
        tokens = target_in
        if cache is None:
            assert memory is not None
            cache = self.start_cache(memory, source_padding, target_in.shape[1])
        else:
            tokens = target_in.reshape(-1, 1)  # [R, 1]
        x = self.embed(tokens, self.target_embedding)  # [R, T, D]
        if self.attention is None:
            hidden = self.run(x, cache)
        elif self.config.input_feeding:
            hidden = self.feed_back(self.attention, x, cache)
        elif self.token_by_token:
            hidden = self.look_then_step(self.attention, x, cache)
        else:
            hidden = self.step_then_look(self.attention, x, cache)
        return hidden.view(*target_in.shape, -1)

    def start_cache(
        self, memory: Tensor, source_padding: Tensor | None, max_length: int, beams: int = 1
    ) -> DecoderCache:
        """Where decoding begins: s₀ = tanh(W h) of the encoder's state at the last real token (of
        the backward direction: at the first one). The cell of an LSTM begins at W h itself."""
        if source_padding is None:
            end = memory[:, -1]
        else:
            last = (~source_padding).sum(1) - 1
            end = memory[torch.arange(len(last), device=last.device), last]  # [B, D]
        if self.config.bidirectional:
            half = self.config.d_model // 2
            end = torch.cat([end[:, :half], memory[:, 0, half:]], -1)
        made = self.bridge(end).unflatten(-1, (-1, self.config.d_model))  # [B, parts, D]
        parts = iter(made.repeat_interleave(beams, 0).unbind(1))
        states: list[State] = []
        for layer in self.decoder:
            h, *cell = (next(parts) for _ in start_state(layer, 1))
            states.append((h.tanh(), *cell))
        mask = padding_mask(source_padding, memory.dtype)
        keys = memory if self.attention is None else self.attention.keys(memory)
        source = Source(memory, keys, None if mask is None else mask[:, 0])
        return DecoderCache(source, states, torch.zeros_like(states[0][0]), beams)

    # --- how the decoder goes on: embeddings x [R, T, D] → hidden [R, T, D] -----------------------

    def run(self, x: Tensor, cache: DecoderCache, first: int = 0) -> Tensor:
        """The layers from ``first`` on, each over all tokens at once."""
        for number, layer in enumerate(self.decoder):
            if number >= first:
                x, cache.states[number] = run_layer(layer, x, cache.states[number])
                x = self.dropout(x)
        return x

    def step_then_look(self, attention: Alignment, x: Tensor, cache: DecoderCache) -> Tensor:
        """Luong et al. 2015, section 3: the new states look, h̃ = tanh(W [h; c])."""
        x = self.run(x, cache)
        context, weights = attention(x, cache.source)
        attention.record(weights)
        return self.read_out(x, context)

    def look_then_step(self, attention: Alignment, x: Tensor, cache: DecoderCache) -> Tensor:
        """Bahdanau et al. 2015: the state before looks, s' = cell([y; c], s).

        Layers above the first read its outputs. What is read out is Luong's h̃ instead of a maxout.
        """
        step = FedLayer(self.config.cell, self.decoder[0], x)
        outputs, contexts, seen = [], [], []
        state = cache.states[0]
        for now in step.from_tokens:
            context, weights = attention(state[0][:, None], cache.source)
            state = step(now, context[:, 0], state)
            outputs.append(state[0])
            contexts.append(context)
            seen.append(weights)
        cache.states[0] = state
        attention.record(torch.cat(seen, 1))
        x = self.run(self.dropout(torch.stack(outputs, 1)), cache, first=1)
        return self.read_out(x, torch.cat(contexts, 1))

    def feed_back(self, attention: Alignment, x: Tensor, cache: DecoderCache) -> Tensor:
        """Luong et al. 2015, section 3.3: h̃ of a token goes into the step of the next one."""
        step = FedLayer(self.config.cell, self.decoder[0], x)
        outputs, seen = [], []
        for now in step.from_tokens:
            cache.states[0] = step(now, cache.feed, cache.states[0])
            h = self.dropout(cache.states[0][0])[:, None]
            h = self.run(h, cache, first=1)
            context, weights = attention(h, cache.source)
            cache.feed = self.read_out(h, context)[:, 0]
            outputs.append(cache.feed)
            seen.append(weights)
        attention.record(torch.cat(seen, 1))
        return torch.stack(outputs, 1)

    def read_out(self, hidden: Tensor, context: Tensor) -> Tensor:
        """h̃ = tanh(W [h; c]): hidden, context [R, T, D] → [R, T, D]."""
        return self.dropout(self.readout(torch.cat([hidden, context], -1)).tanh())
