"""Beam search with a length penalty.

A search starts with K slots for a sentence. At each step the best continuations fill the slots that
are left; a continuation that ends in ``<eos>`` is finished and keeps its slot for good. So one slot
is exactly greedy decoding, and a search ends by itself. Finished hypotheses are ranked by

    log-probability / ((5 + length) / 6) ** length_penalty        (Wu et al. 2016, section 7)

with ``<eos>`` counted in the length. A search also ends as soon as no live hypothesis could still
enter the list of the best n, however long it became: this changes no result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scratchlab.data.contract import Spec
from scratchlab.decoding.contract import (
    Decoder,
    Hypothesis,
    NextToken,
    worth_shrinking,
)
from scratchlab.errors import UserError
from scratchlab.registry import option, register


@register("decoding", "beam", tasks=("seq2seq",))
class Beam(Decoder):
    """Beam search with length penalty, batched over sentences."""

    @dataclass(frozen=True)
    class Config:
        beam_size: int = option(5, "hypotheses kept for each sentence", min=1, max=10_000)
        length_penalty: float = option(
            0.6, "exponent of the length penalty; 0 ranks by log-probability alone", min=0
        )
        max_length_factor: float = option(
            2.0, "longest output, in multiples of the source length", min=0
        )
        max_length_extra: int = option(10, "tokens added to the longest output", min=0)
        min_length: int = option(0, "shortest output in tokens, <eos> included", min=0)
        shortlist: int | None = option(
            None,
            "look only at frequent tokens and so many for each token of the source, as learned "
            "from the training data; null: at all tokens",
            min=1,
        )
        compiled: bool | None = option(
            None,
            "steps of up to 8 rows (texts times beams) as one compiled function; null: where its "
            "second of compiling is won back",
        )

    @torch.inference_mode()
    def search(
        self, model: Any, source: Tensor, limits: Tensor, spec: Spec, n: int
    ) -> list[list[Hypothesis]]:
        """As promised by :class:`Decoder`; ``n`` may be at most ``beam_size``."""
        beams = self.config.beam_size
        if not 1 <= n <= beams:
            raise UserError(
                f"{n} hypotheses cannot come from a beam of {beams}",
                f"Set decoding.beam_size to at least {n}.",
            )
        allowed = NextToken(spec, limits, self.config.min_length)
        longest = max(allowed.limits)
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, longest, beams)
        search = _Search(source.shape[0], beams, allowed, self.config.length_penalty, source.device)
        for length in range(1, longest + 1):
            best = allowed.best(model, search.newest, cache, length, beams)  # of each beam
            parents = search.advance(*best, length)
            open_rows = search.still_open(n)
            if not open_rows:
                break
            cache.reorder(parents)
            if worth_shrinking(len(search.rows) - len(open_rows), len(search.rows)):
                cache.select(torch.tensor(open_rows, device=source.device))
                search.select(open_rows)
        return search.results(n)


Chain = tuple[Any, int] | None
"""A text from its end: all but its last token, as a chain, and that token; None: no token yet."""


class _Search:
    """The state of a batch of searches: live hypotheses of open ones, finished ones of all.

    b: the sentences still in the batch; K: beams.
    """

    def __init__(
        self, batch: int, beams: int, allowed: NextToken, penalty: float, device: torch.device
    ) -> None:
        self.allowed = allowed
        self.beams = beams
        self.length_penalty = penalty
        self.rows = list(range(batch))  # which sentences are in the batch
        self.scores = torch.full((batch, beams), -math.inf, device=device)  # [b, K] log p
        self.scores[:, 0] = 0.0  # at first all beams are the same one
        self.best = [0.0] * batch  # the highest of each row's scores
        self.newest = torch.full((batch, beams), allowed.sos_id, device=device)  # [b, K]
        self.chains: list[list[Chain]] = [[None] * beams for _ in self.rows]  # of [b][K]
        self.finished: list[list[Hypothesis]] = [[] for _ in self.rows]  # of all sentences

    def penalty(self, length: int) -> float:
        return float(((5 + length) / 6) ** self.length_penalty)

    def advance(self, best: Tensor, tokens: Tensor, length: int) -> Tensor:
        """Take one step with the ``best`` log-probabilities of each beam and their ``tokens``, at
        most K, [b, K, k] both; returns the beam each beam continues, [b, K]."""
        # the K best of these
        scores, chosen = (best + self.scores[..., None]).flatten(1).topk(self.beams)  # [b, K]
        parents = chosen.div(best.shape[-1], rounding_mode="floor")
        self.newest = tokens.flatten(1).gather(1, chosen)
        columns = (scores.tolist(), parents.tolist(), self.newest.tolist())
        lived = [self._extend(b, *row, length) for b, row in enumerate(zip(*columns, strict=True))]
        self.scores = torch.tensor(lived, dtype=scores.dtype, device=scores.device)
        return parents

    def _extend(
        self, b: int, scores: list[float], parents: list[int], tokens: list[int], length: int
    ) -> list[float]:
        """Let each beam of row b go on as given; the scores of those that live, -inf of others."""
        chains, finished = self.chains[b], self.finished[self.rows[b]]
        self.chains[b] = [(chains[i], token) for i, token in zip(parents, tokens, strict=True)]
        lived = [-math.inf] * self.beams
        for beam in range(self.beams - len(finished)):
            score = scores[beam]
            if not score > -math.inf:
                continue
            if tokens[beam] != self.allowed.eos_id:
                lived[beam] = score
            else:
                ids = ids_of(chains[parents[beam]])
                finished.append(Hypothesis(ids, score / self.penalty(length), score))
        self.best[b] = max(lived)
        return lived

    def still_open(self, n: int) -> list[int]:
        """Indices into the batch of the searches that could still change their best n."""
        found = []
        for b, (row, limit) in enumerate(zip(self.rows, self.allowed.limits, strict=True)):
            # log-probabilities only fall and the penalty only grows, up to the longest output
            hope = self.best[b] / self.penalty(limit)  # -inf where nothing is alive
            scores = sorted((one.score for one in self.finished[row]), reverse=True)
            if hope > (scores[n - 1] if len(scores) >= n else -math.inf):
                found.append(b)
        return found

    def select(self, kept: list[int]) -> None:
        """Let the searches of other rows of the batch go; what they found is kept."""
        self.scores, self.newest = self.scores[kept], self.newest[kept]
        self.rows, self.best = [self.rows[b] for b in kept], [self.best[b] for b in kept]
        self.chains = [self.chains[b] for b in kept]
        self.allowed.select(kept)

    def results(self, n: int) -> list[list[Hypothesis]]:
        """The best n of each sentence, the first found of equal ones first."""
        return [sorted(found, key=lambda one: -one.score)[:n] for found in self.finished]


def ids_of(chain: Chain) -> list[int]:
    """The tokens of a chain, in their order."""
    ids: list[int] = []
    while chain is not None:
        chain, token = chain
        ids.append(token)
    return ids[::-1]
