"""Classifier of texts that reads word after word: simple RNN, LSTM or GRU, one way or both ways.

Embedding, recurrent layers, one vector of all their outputs, softmax layer. That vector is the
output at the last word, the mean over the words, or their sum weighted by attention, which learns
which words matter (Bahdanau et al. 2015; Yang et al. 2016). Shapes: B texts, T tokens,
D = d_embedding, H = d_hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.contract import Model
from scratchlab.models.layers.attention import Attention
from scratchlab.models.layers.dropout import LockedDropout
from scratchlab.models.layers.recurrent_cells import (
    Bidirectional,
    make_layer,
    run_layer,
    start_state,
    turned_order,
)
from scratchlab.models.layers.token_layers import TokenLayers
from scratchlab.models.layers.word_vectors import EmbeddingOptions, word_embedding
from scratchlab.registry import option, register


class AttentionPooling(Attention):
    """The states of a text in one: the sum of ``a_t h_t``, a = softmax of ``v · tanh(W h_t + b)``.

    That is additive attention without a state that asks: what is looked for, b, is learned.
    """

    looks = "pooling"

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner)
        self.score = nn.Linear(inner, 1, bias=False)
        # Fresh scores tell words apart. With small ones attention begins as a mean, which is nearly
        # as good, and is still one when the words are known by heart.
        nn.init.normal_(self.score.weight)

    def forward(self, states: Tensor, padding: Tensor | None) -> Tensor:
        """states [B, T, H], padding [B, T] True where there is no word → [B, H]."""
        scores = self.score(self.inner(states).tanh()).squeeze(-1)  # [B, T]
        if padding is not None:
            scores = scores.masked_fill(padding, float("-inf"))
        weights = scores.softmax(-1)
        if self.recorded is not None:
            self.recorded.append(weights.detach()[:, None, None])  # one head, one that looks
        return torch.bmm(weights[:, None], states).squeeze(1)


@register(
    "model",
    "rnn_classifier",
    tasks=("classification",),
    begins_with=("vectors",),
    offers=("word_weights",),
)
class RNNClassifier(Model):
    """Recurrent layers over the words (RNN, LSTM, GRU), pooled, and a softmax layer."""

    @dataclass(frozen=True)
    class Config(EmbeddingOptions):
        cell: str = option("lstm", "kind of recurrent layer", choices=("rnn", "lstm", "gru"))
        cell_impl: str = option(
            "torch",
            "torch: its fused layers; scratch: written out, with the same parameters",
            choices=("torch", "scratch"),
        )
        d_embedding: int = option(100, "width of the embeddings; that of word vectors", min=1)
        d_hidden: int = option(128, "units of a layer, those of both directions together", min=1)
        n_layers: int = option(1, "recurrent layers", min=1, max=1000)
        bidirectional: bool = option(True, "half of the units read the text backwards")
        pooling: str = option(
            "attention",
            "what the output layer sees: the output at the last word (last), the mean over the "
            "words (mean), or their sum weighted by additive attention",
            choices=("last", "mean", "attention"),
        )
        d_attention: int = option(
            64, "inner units of the attention", min=1, when={"pooling": "attention"}
        )
        dropout: float = option(
            0.5, "dropped share of each layer's outputs and of what is pooled", min=0, below=1
        )
        input_dropout: float = option(
            0.5, "dropped share of the embeddings, one mask per text", min=0, below=1
        )
        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            (
                "not bidirectional or d_hidden % 2 == 0",
                "bidirectional=true parts the units between two directions: d_hidden must be even",
            ),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        if spec.n_classes is None or spec.vocab_size is None:
            raise UserError(
                "rnn_classifier needs texts with classes", "For example dataset=docstring_topics."
            )
        self.config, self.pad_id = config, spec.pad_id
        self.embed = word_embedding(spec.vocab_size, config.d_embedding, config.embedding)
        self.fixed = ("embed.",) if config.embedding == "frozen" else ()
        widths = [config.d_embedding, *[config.d_hidden] * config.n_layers]
        make: Any = Bidirectional if config.bidirectional else make_layer
        self.layers = nn.ModuleList(
            make(config.cell_impl, config.cell, widths[i], widths[i + 1])
            for i in range(config.n_layers)
        )
        self.input_dropout = LockedDropout(config.input_dropout)
        self.between = LockedDropout(config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        if config.pooling == "attention":
            self.attention = AttentionPooling(config.d_hidden, config.d_attention)
        self.output = nn.Linear(config.d_hidden, spec.n_classes)

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers((self.embed,))

    def states(self, tokens: Tensor, padding: Tensor | None) -> Tensor:
        """tokens [B, T] → the outputs of the last layer [B, T, H].

        Padding stands at the right end, behind all that is read (backwards too, see
        :class:`~scratchlab.models.layers.recurrent_cells.Bidirectional`): real words never see it.
        """
        order = None if padding is None else turned_order(padding)
        x = self.input_dropout(self.embed(tokens))  # [B, T, D]
        for number, layer in enumerate(self.layers):
            x = self.between(x) if number else x
            if isinstance(layer, Bidirectional):
                x = layer(x, order)  # [B, T, H]
            else:
                x, _ = run_layer(layer, x, start_state(layer, len(x)))
        return x

    def pooled(self, states: Tensor, padding: Tensor | None) -> Tensor:
        """states [B, T, H] → [B, H]; padding changes nothing."""
        if self.config.pooling == "attention":
            found: Tensor = self.attention(states, padding)
            return found
        batch, _, width = states.shape
        lengths = None if padding is None else (~padding).sum(1)
        if self.config.pooling == "mean":
            if padding is None or lengths is None:
                return states.mean(1)
            return (states * ~padding[..., None]).sum(1) / lengths[:, None]
        if lengths is None:
            last = states[:, -1]
        else:
            last = states[torch.arange(batch, device=states.device), lengths - 1]
        if not self.config.bidirectional:
            return last
        half = width // 2  # backwards the first word is read last
        return torch.cat([last[:, :half], states[:, 0, half:]], -1)

    def features(self, x: Tensor) -> Tensor:
        """tokens [B, T] → what the output layer reads, [B, H]."""
        padding = None
        if self.pad_id is not None and x.device.type != "meta":
            padding = x == self.pad_id
            if x.device.type == "cpu" and not padding.any():
                padding = None
        return self.pooled(self.states(x, padding), padding)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] int64 → logits [B, classes]."""
        return self.output(self.dropout(self.features(tokens)))
