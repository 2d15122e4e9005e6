"""A text as what a pretrained encoder makes of it: the mean of its last layer over the tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.contract import DataContext
from scratchlab.data.tokenizers.pretrained import PretrainedTokenizer, load_pretrained_tokenizer
from scratchlab.estimators.protocol import InputError, State
from scratchlab.registry import option, register
from scratchlab.representations.contract import Representation

log = logging.getLogger(__name__)


@register(
    "representation",
    "encoder",
    needs=("torch", "transformers"),
    extra="pretrained",
    computes_with="torch",
)
class PretrainedEncoderMean(Representation):
    """Sentence vectors of a pretrained encoder (Reimers & Gurevych 2019), at length 1.

    The mean of the last layer over the real tokens, special ones included, as sentence-transformers
    has it; products are cosines. Texts are cut to ``max_length`` tokens. Nothing is learnt here.
    """

    @dataclass(frozen=True)
    class Config:
        checkpoint: str = option(
            "minilm", "minilm (from a package), a folder, or a name of the hub", path="name"
        )
        max_length: int = option(256, "tokens of a text, special ones included", min=3)
        pooling: str = option(
            "mean",
            "what stands for the text: the mean of all tokens, or the first one",
            choices=("mean", "first"),
        )
        query_prefix: str = option("", "stands before a query, as the checkpoint was trained")
        document_prefix: str = option("", "the same before a document")
        batch_tokens: int = option(4096, "tokens computed at once, padding included", min=1)

    checkpoint: str
    max_length: int
    pooling: str
    query_prefix: str
    document_prefix: str
    batch_tokens: int

    @cached_property
    def _model(self) -> tuple[Any, NDArray[np.uint8]]:
        """The encoder, and the hash of its weights."""
        from transformers import AutoModel

        from scratchlab.models.pretrained import load_inner

        inner, origin = load_inner(AutoModel, self.checkpoint, self._where, None, False)
        assert origin is not None
        digest = np.frombuffer(bytes.fromhex(origin["sha256"]), dtype=np.uint8)
        return inner.eval().to(self.device), digest

    @cached_property
    def _tokenizer(self) -> PretrainedTokenizer:
        return load_pretrained_tokenizer(self.checkpoint, self._where.cache)

    @property
    def _where(self) -> DataContext:
        return self.context or DataContext(None, Path("~/.cache/scratchlab").expanduser())

    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Nothing is learnt; that the checkpoint can be read is seen here."""
        longest = getattr(self._model[0].config, "max_position_embeddings", None)
        if longest is not None and self.max_length > longest:
            raise InputError(
                f"max_length={self.max_length}: {self.checkpoint} reads at most {longest} tokens"
            )
        return self

    def transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encoded([self.document_prefix + text for text in texts])

    def transform_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A query without a letter is a row of 0."""
        found = self._encoded([self.query_prefix + text for text in texts])
        found[[not text.strip() for text in texts]] = 0
        return found

    def _encoded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        inner, tokenizer = self._model[0], self._tokenizer
        first, last = tokenizer.cls_id, tokenizer.sep_id
        head, tail = ([] if i is None else [i] for i in (first, last))
        room = self.max_length - len(head) - len(tail)
        none = [tokenizer.unk_id or 0]
        rows = tokenizer.encode_each(texts)
        ids = [[*head, *row[:room].tolist(), *tail] or none for row in rows]
        found = np.zeros((len(texts), int(inner.config.hidden_size)), dtype=np.float32)
        for chosen in self._batches([len(row) for row in ids]):
            width = max(len(ids[i]) for i in chosen)
            tokens = torch.full((len(chosen), width), tokenizer.pad_id or 0)
            mask = torch.zeros((len(chosen), width), dtype=torch.int64)
            for row, i in enumerate(chosen):
                tokens[row, : len(ids[i])] = torch.tensor(ids[i])
                mask[row, : len(ids[i])] = 1
            with torch.no_grad():
                mask = mask.to(self.device)
                hidden = inner(tokens.to(self.device), attention_mask=mask).last_hidden_state
                found[chosen] = self._pooled(hidden, mask).float().cpu().numpy()
        return found

    def _pooled(self, hidden: Any, mask: Any) -> Any:
        """hidden [B, T, D], mask [B, T] → rows of length 1 [B, D]."""
        from torch.nn.functional import normalize

        if self.pooling == "first":
            return normalize(hidden[:, 0], dim=1)
        weights = mask[..., None].to(hidden.dtype)
        return normalize((hidden * weights).sum(1) / weights.sum(1), dim=1)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Numbers of texts of like length, as many at once as ``batch_tokens`` allow."""
        order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        start = 0
        while start < len(order):
            size = max(1, self.batch_tokens // max(1, lengths[order[start]]))
            yield order[start : start + size]
            start += size

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        width = int(self._model[0].config.hidden_size)
        return np.array([f"dimension {i}" for i in range(width)], dtype=object)

    def get_state(self) -> State:
        return {"sha256": self._model[1]}

    def set_state(self, state: State) -> Self:
        if not np.array_equal(state["sha256"], self._model[1]):
            raise InputError(
                f"the weights of {self.checkpoint} are others than those it was made with"
            )
        return self
