"""Adaptive softmax (Grave et al. 2017): rare words cost little in a large vocabulary.

Ids must be sorted by frequency. The *head* holds the frequent words and one class for each
*cluster* of rarer words; the words of a cluster are told apart only where the target is one of
them, and in a smaller space. The log-probability of a rare word is that of its cluster plus its own
within the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.errors import UserError


class Piece(NamedTuple):
    """One softmax among several: ``hidden`` [n, d] of the positions ``rows`` [n] (None: all)
    against ``weight`` [classes, d], with their classes ``target`` [n]."""

    rows: Tensor | None
    hidden: Tensor
    weight: Tensor
    target: Tensor


class AdaptiveSoftmax(nn.Module):
    """Frequent words at full width D, cluster i of rarer ones at width D / 4^i.

    ``cutoffs`` are the first ids of the clusters. With ``tied`` [V, D] (the embedding) the frequent
    words share its first rows; clusters have weights of their own, as their width differs.
    """

    def __init__(
        self, d_model: int, vocab_size: int, cutoffs: Sequence[int], tied: Tensor | None = None
    ) -> None:
        super().__init__()
        if not cutoffs or any(a >= b for a, b in pairwise([*cutoffs, vocab_size])):
            raise UserError(
                f"cutoffs {list(cutoffs)} do not split a vocabulary of {vocab_size} words",
                "They must ascend and stay below the vocabulary's size; or take model.output=full.",
            )
        self.bounds = list(pairwise([*cutoffs, vocab_size]))
        self.shortlist = cutoffs[0]
        if tied is None:
            self.words = nn.Parameter(torch.empty(self.shortlist, d_model))
            nn.init.normal_(self.words, std=0.02)
        else:
            assert isinstance(tied, nn.Parameter)
            self.words = tied
        self.clusters = nn.Parameter(torch.empty(len(self.bounds), d_model))
        nn.init.normal_(self.clusters, std=0.02)
        widths = [max(1, d_model // 4**i) for i in range(1, len(self.bounds) + 1)]
        narrow = [nn.Linear(d_model, w, bias=False) for w in widths]
        self.narrow = nn.ModuleList(narrow)
        self.rare = nn.ParameterList(
            nn.Parameter(torch.empty(end - start, width))
            for (start, end), width in zip(self.bounds, widths, strict=True)
        )
        for down, weight in zip(narrow, self.rare, strict=True):
            nn.init.normal_(down.weight, std=d_model**-0.5)
            nn.init.normal_(weight, std=0.02)

    @property
    def head(self) -> Tensor:
        """[shortlist + clusters, D]"""
        return torch.cat([self.words[: self.shortlist], self.clusters])

    def tables(self) -> list[nn.Parameter]:
        """The weights with a row for each word or cluster."""
        return [self.words, self.clusters, *self.rare]

    def pieces(self, hidden: Tensor, targets: Tensor) -> Iterator[Piece]:
        """The softmaxes whose summed cross-entropy is the loss of ``targets`` [N] given ``hidden``
        [N, D]: the head for every position, then each cluster for the positions of its words."""
        classes = targets
        unknown = targets.device.type == "meta"  # where contents are unknown, every row counts
        members: list[Tensor | None] = []
        for number, (start, end) in enumerate(self.bounds):
            inside = (targets >= start) & (targets < end)
            classes = classes.masked_fill(inside, self.shortlist + number)
            members.append(None if unknown else inside.nonzero()[:, 0])
        yield Piece(None, hidden, self.head, classes)
        for number, rows in enumerate(members):
            if rows is not None and len(rows) == 0:
                continue
            start = self.bounds[number][0]
            chosen = hidden if rows is None else hidden[rows]
            wanted = targets if rows is None else targets[rows] - start
            yield Piece(rows, self.narrow[number](chosen), self.rare[number], wanted)

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """hidden [N, D], targets [N] → negative log-likelihood of each target in nats, [N]."""
        total = torch.zeros(targets.shape, dtype=torch.float32, device=hidden.device)
        for rows, its_hidden, weight, target in self.pieces(hidden, targets):
            loss = F.cross_entropy((its_hidden @ weight.t()).float(), target, reduction="none")
            total = total + loss if rows is None else total.index_add(0, rows, loss)
        return total

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] → log-probabilities [..., V] of all words."""
        head = (hidden @ self.head.t()).log_softmax(-1)
        parts = [head[..., : self.shortlist]]
        for number, (down, weight) in enumerate(zip(self.narrow, self.rare, strict=True)):
            within = (down(hidden) @ weight.t()).log_softmax(-1)
            parts.append(within + head[..., self.shortlist + number, None])
        return torch.cat(parts, -1)
