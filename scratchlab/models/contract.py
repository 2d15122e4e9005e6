"""What may be asked of a torch model, declared once; a model overrides what it has.

``Model`` is the base of all, ``LanguageModel`` and ``Seq2SeqModel`` of those that write. The same
forward serves training, decoding (with a ``cache`` of the tokens before) and looking inside (within
:func:`~scratchlab.models.layers.attention.recording`). Shapes: B texts, T tokens (S of a source),
D width of the last layer, V vocabulary, K beams of a search.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from scratchlab.errors import UserError
from scratchlab.models.layers.adaptive_softmax import AdaptiveSoftmax
from scratchlab.models.layers.attention import recording
from scratchlab.models.layers.softcap import softcapped
from scratchlab.models.layers.token_layers import Opening, TokenLayers, plain_weight


class Cache(Protocol):
    """What a model keeps of texts while it goes on with them."""

    length: int  # tokens so far, of the longest text

    def clear(self) -> None:
        """Forget all texts."""

    def select(self, rows: Tensor) -> None:
        """Keep these texts (ascending indices, int64) only."""


class BeamCache(Protocol):
    """The same for decoding with K beams a text."""

    def reorder(self, parents: Tensor) -> None:
        """Beam i of each text continues beam ``parents[text, i]`` ([B, K], int64)."""

    def select(self, rows: Tensor) -> None:
        """Keep these texts (ascending indices, int64) only."""


class Model(nn.Module):
    """Registered as ``@register("model", NAME)``; built as ``cls(config, spec)``."""

    block_size: int | None = None  # the longest context in tokens; None: any fits
    pad_id: int | None = None  # tells the padding of a text where nobody else does
    fresh: Sequence[str] = ()  # how names of weights begin that no checkpoint brought: they train
    fixed: Sequence[str] = ()  # the same of weights that an option of the model keeps as they are
    origin: dict[str, str] | None = None  # where the weights of a pretrained model come from
    notes: Sequence[str] = ()  # what a person should know of how it begins

    @property
    def token_layers(self) -> TokenLayers | None:
        """The layers that have a row for each token; None: it names none."""
        return None

    def tables(self) -> dict[nn.Parameter, str]:
        """Weights that are rows to be looked up or compared with, one a token or class, and no
        matrix that turns vectors into vectors: those of embeddings ("embedding") and of output
        layers that are not tied to them ("output")."""
        layers: list[nn.Module] = [m for m in self.modules() if isinstance(m, nn.Embedding)]
        outputs: list[nn.Module] = []
        if (named := self.token_layers) is not None:
            layers += named.embeddings
            outputs += [] if named.output is None else [named.output]
        found = {p: "output" for layer in outputs for p in layer.parameters()}
        for name, parameter in self.named_parameters():
            if name.startswith(("output.", "head.")):
                found[parameter] = "output"
        return found | {p: "embedding" for layer in layers for p in layer.parameters()}

    def begin_with(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Of the weights of another run or program those that this model starts from, with its own
        where these are of no use. Most models take them as they are."""
        return weights

    def carried_state(self) -> dict[str, Tensor]:
        """What training carries to its next batch beside the weights, for checkpoints."""
        return {}

    def restore_carried_state(self, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`carried_state` returned; nothing at all means a fresh start.

        Raises ValueError or KeyError where it does not fit.
        """

    def save_files(self, folder: Path) -> None:
        """Write into a checkpoint what it needs beside configuration and tensors."""

    def features(self, x: Tensor) -> Tensor | None:
        """What the last layer reads of inputs x, one row each; None: not told."""
        return None

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """What each block of convolutions makes of images x: [B, channels, h, w]."""
        return []


class Writer(Model):
    """What models that write texts share: the layer ``output`` that gives the logits."""

    output: Any
    softcap: float | None = None  # the bound of the logits (softcapped), which output_weight lacks
    stack: Any = None  # makes the steps of a few rows meanwhile (models/compiled/stack.py) …
    reader: Any = None  # … and reads the source

    @property
    def output_weight(self) -> Tensor | None:
        """[V, D] where the logits are ``hidden @ output_weight.T``; None where ``project`` must be
        asked, since a bias or what a method made of the layer has a say."""
        return plain_weight(self.output)

    def project(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] → logits [..., V]."""
        logits: Tensor | None = None if self.stack is None else self.stack.project(hidden)
        return softcapped(self.output(hidden) if logits is None else logits, self.softcap)

    def stacked(self) -> tuple[Sequence[Any], nn.Module, Any, Opening | None] | None:
        """The blocks through which the newest tokens go, the norm behind them and the output layer
        (None: it is another), if that is all there is between embedding and logits; last what is
        before the blocks (None: it is not told)."""
        return None

    def reads(self) -> tuple[Sequence[Any], nn.Module] | None:
        """The blocks of the encoder and the norm behind them; None: there is none like that."""
        return None

    def check_length(self, length: int) -> None:
        """UserError if a context is longer than the block."""
        if self.block_size is not None and length > self.block_size:
            raise UserError(
                f"a context of {length} tokens is longer than the model's block of "
                f"{self.block_size}",
                "Give a shorter one (dataset.block_size, dataset.max_length), or set a larger "
                "model.block_size of a model from scratch before it is trained.",
            )


class LanguageModel(Writer):
    """A model that says what comes next in a text. Filling stands at the right end of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.adaptive: AdaptiveSoftmax | None = None  # in the place of ``output``

    @abstractmethod
    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Any = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] int64 → [B, T, D], the last layer after its norm.

        ``positions`` [B, T] where tokens do not stand at 0 … T-1; ``mask``, added to the scores
        (broadcast to [B, H, T, T]), takes the place of the causal one. With a ``cache`` the tokens
        follow those that it holds, and are kept: the first ``lengths`` [B] of each row (None: all).
        """

    def tables(self) -> dict[nn.Parameter, str]:
        own = [] if self.adaptive is None else self.adaptive.tables()
        return dict.fromkeys(own, "output") | super().tables()

    def project(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] → logits [..., V] (log-probabilities if the output is adaptive)."""
        if self.adaptive is not None:
            return self.adaptive.log_probabilities(hidden)
        return super().project(hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T], each row a text of its own → logits [B, T, V]."""
        return self.project(self.hidden(tokens))

    def start_cache(self, batch_size: int, max_length: int) -> Any:
        """An empty :class:`Cache` for texts of at most ``max_length`` tokens; None: the model keeps
        nothing, texts are read anew for every token."""
        return None

    def carried(self, starts: Tensor) -> Any:
        """The cache that the batch before left behind, anew where ``starts`` [B] is True; None: the
        model remembers nothing of it."""
        return None

    def next_logits(
        self, tokens: Tensor, cache: Any = None, lengths: Tensor | None = None
    ) -> Tensor:
        """tokens [B, T], a prompt or the newest tokens → logits [B, V] of what follows the last of
        each row, or its token number ``lengths`` [B]."""
        hidden = self.hidden(tokens, cache=cache, lengths=lengths)
        if lengths is None:
            return self.project(hidden[:, -1])
        rows = torch.arange(len(tokens), device=tokens.device)
        return self.project(hidden[rows, lengths - 1])

    @torch.no_grad()
    def attention_maps(self, tokens: Tensor) -> Tensor | None:
        """Attention weights of every layer and head, [layers, B, H, T, T]; None: it has none."""
        with recording(self) as maps:
            self.hidden(tokens)
        found = [layer for layers in maps.values() for layer in layers]
        return torch.stack(found) if found else None


class Seq2SeqModel(Writer):
    """A model that turns one text into another. Padding stands at the right end of a row."""

    @abstractmethod
    def encode(self, source: Tensor, source_padding: Tensor | None = None) -> Tensor:
        """source [B, S] int64, source_padding [B, S] True at padding → memory [B, S, D]."""

    @abstractmethod
    def decode(
        self,
        target_in: Tensor,
        memory: Tensor | None = None,
        source_padding: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:
        """target_in [B, T] int64, memory [B, S, D] → hidden [B, T, D].

        With a ``cache``, which holds the memory and all tokens before, target_in [B, K] are the
        newest tokens of the K beams. Target padding needs no mask: it comes after every real token,
        so causality hides it.
        """

    @abstractmethod
    def start_cache(
        self, memory: Tensor, source_padding: Tensor | None, max_length: int, beams: int = 1
    ) -> Any:
        """A :class:`BeamCache` for decoding at most ``max_length`` tokens with ``beams`` beams."""

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """source [B, S], target_in [B, T] → logits [B, T, V]."""
        padding = self.padding(source)
        return self.project(self.decode(target_in, self.encode(source, padding), padding))

    def padding(self, source: Tensor) -> Tensor | None:
        """[B, S] True at padding; None if there is none (only a CPU is asked: no waiting)."""
        if self.pad_id is None:
            return None
        padding = source == self.pad_id
        if padding.device.type == "cpu" and not padding.any():
            return None
        return padding

    def next_logits(self, tokens: Tensor, cache: Any) -> Tensor:
        """tokens [B, K] int64, the newest of every beam → logits [B, K, V] of the next."""
        return self.project(self.decode(tokens, cache=cache))

    @torch.no_grad()
    def attention_maps(self, source: Tensor, target_in: Tensor) -> dict[str, Tensor]:
        """Attention weights of every layer: of those that the model has, ``encoder``
        [layers, B, H, S, S], ``decoder`` [layers, B, H, T, T] and ``cross`` [layers, B, H, T, S].
        """
        with recording(self) as maps:
            self(source, target_in)
        return {name: torch.stack(layers) for name, layers in maps.items()}
