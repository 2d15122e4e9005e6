"""Attention of a recurrent decoder to its source: additive and multiplicative, with one head.

Bahdanau et al. (2015) call it an alignment model: each source state gets a score given a state of
the decoder, a softmax over the source makes weights of the scores, and the context is the sum of
the source's states weighted so. Shapes: B texts, S source tokens, Q queries to each, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from scratchlab.models.layers.attention import Attention
from scratchlab.models.layers.linear import Linear


class Source(NamedTuple):
    """What is looked at: states and keys [B, S, D], mask [B, 1, S] added to scores (None: all)."""

    memory: Tensor
    keys: Tensor
    mask: Tensor | None

    def select(self, rows: Tensor) -> Source:
        """These texts only."""
        mask = None if self.mask is None else self.mask[rows]
        return Source(self.memory[rows], self.keys[rows], mask)


class Alignment(Attention):
    """Scores to weights to a context; a kind of it says what the keys and the scores are."""

    looks = "cross"

    @abstractmethod
    def keys(self, memory: Tensor) -> Tensor:
        """memory [B, S, D] → [B, S, D], made once for a text, whatever is asked later."""

    @abstractmethod
    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """queries [B, Q, D], keys [B, S, D] → [B, Q, S]."""

    def forward(self, queries: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """queries [R, T, D] → contexts [R, T, D] and weights [R, T, S].

        R = B, or a multiple of it where several beams of a text look at one source.
        """
        grouped = queries.reshape(len(source.memory), -1, queries.shape[-1])  # [B, Q, D]
        scores = self.scores(grouped, source.keys)
        if source.mask is not None:
            scores = scores + source.mask
        weights = scores.softmax(-1)
        contexts = torch.bmm(weights, source.memory).view_as(queries)
        return contexts, weights.view(*queries.shape[:2], -1)

    def record(self, weights: Tensor) -> None:
        """Keep the weights [B, T, S] of a text's tokens, if somebody looks: as of one head."""
        if self.recorded is not None:
            self.recorded.append(weights.detach()[:, None])


class Additive(Alignment):
    """score(q, k) = v · tanh(W q + U k) (Bahdanau, Cho and Bengio 2015, appendix A.1.2)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = Linear(d_model, d_model, bias=False)
        self.key = Linear(d_model, d_model, bias=False)
        self.score = Linear(d_model, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        keys: Tensor = self.key(memory)
        return keys

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        both = self.query(queries)[:, :, None] + keys[:, None]  # [B, Q, S, D]
        scores: Tensor = self.score(both.tanh()).squeeze(-1)
        return scores


class Multiplicative(Alignment):
    """score(q, k) = q · W k (``general``) or q · k (``dot``) (Luong, Pham and Manning 2015)."""

    def __init__(self, d_model: int, score: str = "general") -> None:
        super().__init__()
        self.key = Linear(d_model, d_model, bias=False) if score == "general" else None

    def keys(self, memory: Tensor) -> Tensor:
        keys: Tensor = memory if self.key is None else self.key(memory)
        return keys

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        return torch.bmm(queries, keys.transpose(1, 2))
