"""Recurrent language model: simple RNN, LSTM or GRU (Mikolov et al. 2010; Zaremba et al. 2014).

Embedding, recurrent layers, output tied to the embedding (Press & Wolf 2017), one dropout mask per
text instead of one per token (Gal & Ghahramani 2016), adaptive softmax if asked. Shapes: B texts,
T tokens, D = d_model, V vocabulary.

In training a batch goes on where the one before it stopped: the state is carried over, without its
gradient (truncated back-propagation through time).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.contract import LanguageModel
from scratchlab.models.layers.adaptive_softmax import AdaptiveSoftmax
from scratchlab.models.layers.dropout import LockedDropout
from scratchlab.models.layers.linear import Linear
from scratchlab.models.layers.recurrent_cells import State, make_layer, run_layer, start_state
from scratchlab.models.layers.token_layers import TokenLayers
from scratchlab.registry import option, register


class RecurrentCache:
    """What is remembered of texts while they go on: the state of every layer, without gradient."""

    def __init__(self, start: list[State]) -> None:
        self.start = self.states = start
        self.length = 0

    def clear(self) -> None:
        """Forget all texts."""
        self.states, self.length = self.start, 0

    def select(self, rows: Tensor) -> None:
        """Keep these texts (indices, int64) only."""
        self.start = [tuple(s[rows] for s in state) for state in self.start]
        self.states = [tuple(s[rows] for s in state) for state in self.states]


@register("model", "rnn_lm", tasks=("language_modeling",), begins_with=("vectors",))
class RNNLM(LanguageModel):
    """Recurrent language model (simple RNN, LSTM, GRU), from scratch or on torch's fused layers."""

    @dataclass(frozen=True)
    class Config:
        cell: str = option("lstm", "kind of recurrent layer", choices=("rnn", "lstm", "gru"))
        cell_impl: str = option(
            "torch",
            "torch: its fused layers; scratch: written out, with the same parameters",
            choices=("torch", "scratch"),
        )
        d_model: int = option(256, "width of embeddings and of the last layer", min=1)
        d_hidden: int | None = option(
            None, "width of the layers before the last; null: d_model", min=1
        )
        n_layers: int = option(2, "recurrent layers", min=1, max=1000)
        dropout: float = option(
            0.2, "dropped share of each layer's output, one mask per text", min=0, below=1
        )
        input_dropout: float = option(
            0.2, "dropped share of the embeddings, one mask per text", min=0, below=1
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
            (
                "logit_softcap is None or output == 'full'",
                "logit_softcap is for output=full: an adaptive softmax has several",
            ),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        if spec.vocab_size is None:
            raise UserError("rnn_lm needs a data set with a vocabulary",
                            "Choose a data set of task language_modeling.")  # fmt: skip
        self.config, self.softcap = config, config.logit_softcap
        d_model = config.d_model
        # As an output layer the embedding starts small; what the first layer reads is scaled up to
        # about one (Vaswani et al. 2017, section 3.4). Without that, the signal of a fresh LSTM is
        # lost on its way through the layers, and training starts with a long plateau.
        self.scale = d_model**0.5
        self.embedding = nn.Embedding(spec.vocab_size, d_model)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        inner = config.d_hidden or d_model
        widths = [d_model, *[inner] * (config.n_layers - 1), d_model]
        self.layers = nn.ModuleList(
            make_layer(config.cell_impl, config.cell, widths[i], widths[i + 1])
            for i in range(config.n_layers)
        )
        self.input_dropout = LockedDropout(config.input_dropout)
        self.dropout = LockedDropout(config.dropout)
        if config.output == "adaptive":
            tied = self.embedding.weight if config.tie_embeddings else None
            self.adaptive = AdaptiveSoftmax(d_model, spec.vocab_size, config.cutoffs, tied)
        else:
            self.output = Linear(d_model, spec.vocab_size, bias=False)
            nn.init.uniform_(self.output.weight, -0.1, 0.1)
            if config.tie_embeddings:
                self.output.weight = self.embedding.weight
        self._carried: dict[bool, RecurrentCache] = {}  # by self.training

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers((self.embedding,), None if self.adaptive else self.output)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: RecurrentCache | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] int64 → [B, T, D], the last layer's outputs.

        With a ``cache`` the texts go on from its states, which then are those after the last token
        (the first ``lengths`` [B] of each row); without one they begin anew.
        """
        if positions is not None or mask is not None:
            raise UserError(
                "a recurrent model reads a row from its start: it cannot hold several examples",
                "Set dataset.packing=false.",
            )
        if lengths is not None and bool((lengths == tokens.shape[1]).all()):
            lengths = None
        x = self.input_dropout(self.embedding(tokens) * self.scale)  # [B, T, D]
        ends: list[State] = []
        states = self.zero_state(len(tokens)) if cache is None else cache.states
        for layer, start in zip(self.layers, states, strict=True):
            x, end = run_layer(layer, x, start, lengths)  # [B, T, width]
            x = self.dropout(x)
            ends.append(tuple(s.detach() for s in end))
        if cache is not None:
            cache.states, cache.length = ends, cache.length + tokens.shape[1]
        return x

    def start_cache(self, batch_size: int, max_length: int) -> RecurrentCache:
        """A cache for generation; texts of any length fit, whatever ``max_length`` is."""
        return RecurrentCache(self.zero_state(batch_size))

    def zero_state(self, batch: int) -> list[State]:
        """The state before the first token, for ``batch`` texts."""
        return [start_state(layer, batch) for layer in self.layers]

    def _like(self) -> Tensor:
        """A tensor of the device and type of the states."""
        return next(self.layers.parameters())

    def carried(self, starts: Tensor) -> RecurrentCache:
        """The states that the batch before left in the same rows, anew where ``starts`` [B].

        Training and evaluation carry states of their own. A batch of another size begins anew.
        """
        kept = self._carried.get(self.training)
        if kept is None or len(kept.states[0][0]) != len(starts):
            cache = RecurrentCache(self.zero_state(len(starts)))
        else:
            like = self._like()
            anew = starts[:, None].to(like.device)
            cache = RecurrentCache(
                [tuple(s.to(like).masked_fill(anew, 0.0) for s in layer) for layer in kept.states]
            )
        self._carried[self.training] = cache
        return cache

    def carried_state(self) -> dict[str, Tensor]:
        """What training carries to its next batch, as named tensors (for checkpoints)."""
        kept = self._carried.get(True)
        return {
            f"{layer}.{'hc'[part]}": s
            for layer, state in enumerate(kept.states if kept else [])
            for part, s in enumerate(state)
        }

    def restore_carried_state(self, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`carried_state` returned; nothing at all means a fresh start."""
        self._carried.pop(True, None)
        if tensors:
            names = "hc" if self.config.cell == "lstm" else "h"
            for name, tensor in tensors.items():
                if tensor.ndim != 2 or not tensor.is_floating_point():
                    raise ValueError(f"{name} is {tuple(tensor.shape)} of {tensor.dtype}")
            states: list[State] = [
                tuple(tensors[f"{layer}.{name}"] for name in names)
                for layer in range(len(self.layers))
            ]
            self._carried[True] = RecurrentCache(states)
