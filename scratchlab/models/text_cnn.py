"""Convolutional network for sentences (Kim 2014): what filters over a few words find anywhere.

Embedding, filters of several widths over the words, the maximum of each over the whole text,
dropout, softmax layer. Shapes: B texts, T tokens, D = d_embedding, M maps of each width, F those of
all widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.contract import Model
from scratchlab.models.layers.token_layers import TokenLayers, is_plain
from scratchlab.models.layers.word_vectors import EmbeddingOptions, word_embedding
from scratchlab.registry import option, register


class MaxOverTime(nn.Module):
    """Filters of one width over a text, and the largest that each finds: [B, D, T] → [B, M].

    A text stands between ``width - 1`` zeros on either side, so that each of its words is seen at
    every place of a filter and the shortest text is long enough.
    """

    def __init__(self, inputs: int, maps: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.convolution = nn.Conv1d(inputs, maps, width, padding=width - 1)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """``lengths`` [B]: the words of each text, where zeros follow them in x; None: all T."""
        found = self.convolution(x)  # [B, M, T + width - 1]
        if lengths is not None:
            places = torch.arange(found.shape[2], device=x.device)
            beyond = places >= (lengths + self.width - 1)[:, None]  # windows of filling alone
            found = found.masked_fill(beyond[:, None], float("-inf"))
        return found.amax(2).relu()  # the maximum of what ReLU leaves is ReLU of the maximum


@register("model", "text_cnn", tasks=("classification",), begins_with=("vectors",))
class TextCNN(Model):
    """Filters over three to five words, the maximum of each over the text, a softmax layer."""

    @dataclass(frozen=True)
    class Config(EmbeddingOptions):
        d_embedding: int = option(100, "width of the embeddings; that of word vectors", min=1)
        widths: list[int] = option([3, 4, 5], "words that a filter sees, one kind each", min=1)
        maps: int = option(100, "filters of each width", min=1)
        dropout: float = option(0.5, "dropped share of what the filters found", min=0, below=1)
        max_norm: float | None = option(
            3.0, "longest that a class's weights may become; null: any", above=0
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        if spec.n_classes is None or spec.vocab_size is None:
            raise UserError(
                "text_cnn needs texts with classes", "For example dataset=docstring_topics."
            )
        if not config.widths:
            raise UserError("model.widths: the list is empty", "For example [3,4,5].")
        self.config, self.pad_id = config, spec.pad_id
        self.embed = word_embedding(spec.vocab_size, config.d_embedding, config.embedding)
        self.fixed = ("embed.",) if config.embedding == "frozen" else ()
        self.filters = nn.ModuleList(
            MaxOverTime(config.d_embedding, config.maps, width) for width in config.widths
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.maps * len(config.widths), spec.n_classes)

    @property
    def token_layers(self) -> TokenLayers:
        return TokenLayers((self.embed,))

    def features(self, x: Tensor) -> Tensor:
        """tokens [B, T] → what the filters found, [B, F]; padding at the end changes nothing."""
        vectors = self.embed(x)  # [B, T, D]
        lengths = None
        if self.pad_id is not None and x.device.type != "meta":
            real = x != self.pad_id
            vectors, lengths = vectors * real[..., None], real.sum(1)
        vectors = vectors.transpose(1, 2)  # [B, D, T]
        return torch.cat([one(vectors, lengths) for one in self.filters], 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] int64 → logits [B, classes]."""
        found, longest = self.dropout(self.features(tokens)), self.config.max_norm
        if longest is None or not is_plain(self.output):
            return self.output(found)
        # Rows that an update made too long are cut back to max_norm before they are used (Kim 2014,
        # section 2.1); only training changes what is stored.
        if not self.training:
            return F.linear(found, self.output.weight.renorm(2, 0, longest), self.output.bias)
        with torch.no_grad():
            self.output.weight.renorm_(2, 0, longest)
        return self.output(found)
