"""Several translators that write together: each token from the mean of their distributions.

Sutskever, Vinyals and Le 2014 decode with such an ensemble. The members read the same ids; in all
else they may differ. It has what a search asks of a model and no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scratchlab.models.contract import Seq2SeqModel


class EnsembleCache:
    """The caches of all members."""

    def __init__(self, caches: Sequence[Any]) -> None:
        self.caches = caches

    def reorder(self, parents: Tensor) -> None:
        """Beam i of each text continues beam ``parents[text, i]`` ([B, K], int64)."""
        for cache in self.caches:
            cache.reorder(parents)

    def select(self, rows: Tensor) -> None:
        """Keep these texts (ascending indices, int64) only."""
        for cache in self.caches:
            cache.select(rows)


class Ensemble(nn.Module):
    """``members`` are in ``eval()`` mode; shapes are those of :class:`Seq2SeqModel`."""

    def __init__(self, members: Sequence[Seq2SeqModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def padding(self, source: Tensor) -> Tensor | None:
        found: Tensor | None = self._first.padding(source)
        return found

    def encode(self, source: Tensor, source_padding: Tensor | None = None) -> list[Tensor]:
        """The memory of each member."""
        return [member.encode(source, source_padding) for member in self._each]

    def start_cache(
        self, memory: list[Tensor], source_padding: Tensor | None, max_length: int, beams: int = 1
    ) -> EnsembleCache:
        pairs = zip(self._each, memory, strict=True)
        return EnsembleCache(
            [member.start_cache(own, source_padding, max_length, beams) for member, own in pairs]
        )

    def next_logits(self, tokens: Tensor, cache: EnsembleCache) -> Tensor:
        """tokens [B, K], the newest of every beam → log of the mean of p, [B, K, V]."""
        pairs = zip(self._each, cache.caches, strict=True)
        found = [m.next_logits(tokens, own).float().log_softmax(-1) for m, own in pairs]
        return torch.stack(found).logsumexp(0) - math.log(len(found))

    @property
    def _each(self) -> Any:
        return self.members

    @property
    def _first(self) -> Any:
        return self.members[0]
