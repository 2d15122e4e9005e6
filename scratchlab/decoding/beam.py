"""Beam search with a length penalty.

A search starts with K slots for a sentence. At each step the best continuations fill the slots that
are left; a continuation that ends in ``<eos>`` is finished and keeps its slot for good. So one slot
is exactly greedy decoding, and a search ends by itself. Finished hypotheses are ranked by

    log-probability / ((5 + length) / 6) ** length_penalty        (Wu et al. 2016, section 7)

with ``<eos>`` counted in the length. A search also ends as soon as no live hypothesis could still
enter the list of the best n, however long it became: this changes no result.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from scratchlab.models.contract import Seq2SeqModel
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

    @torch.inference_mode()
    def n_best(
        self, model: Seq2SeqModel, source: Tensor, spec: Spec, n: int = 1
    ) -> list[list[Hypothesis]]:
        """As promised by :class:`Decoder`; ``n`` may be at most ``beam_size``."""
        beams = self.config.beam_size
        if not 1 <= n <= beams:
            raise UserError(
                f"{n} hypotheses cannot come from a beam of {beams}",
                f"Set decoding.beam_size to at least {n}.",
            )
        allowed = NextToken(spec, self.limits(source, spec.pad_id or 0), self.config.min_length)
        longest = int(allowed.limits.max())
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, longest, beams)
        search = _Search(source.shape[0], beams, longest, allowed, self.config.length_penalty)
        for length in range(1, longest + 1):
            logits = model.next_logits(search.newest, cache).float()  # [b, K, V]
            parents = search.advance(logits, length)
            open_rows = search.still_open(n)
            left = len(open_rows)
            if left == 0:
                break
            cache.reorder(parents)
            if worth_shrinking(len(search.rows) - left, len(search.rows)):
                cache.select(open_rows)
                search.select(open_rows)
        return search.results(n)


class _Search:
    """The state of a batch of searches: live hypotheses of open ones, finished ones of all.

    B: all sentences; b: those still in the batch; K: beams; T: longest output.
    """

    def __init__(
        self, batch: int, beams: int, longest: int, allowed: NextToken, length_penalty: float
    ) -> None:
        device = allowed.limits.device
        none = float("-inf")
        self.allowed = allowed
        self.beams = beams
        self.length_penalty = length_penalty
        self.rows = torch.arange(batch, device=device)  # [b] which sentences these are
        self.scores = torch.full((batch, beams), none, device=device)  # [b, K] log-probabilities
        self.scores[:, 0] = 0.0  # at first all beams are the same one
        self.newest = torch.full((batch, beams), allowed.sos_id, device=device)  # [b, K]
        self.ids = torch.full((batch, beams, longest), allowed.eos_id, device=device)
        self.finished = torch.zeros(batch, dtype=torch.long, device=device)  # [B] slots used up
        self.finished_scores = torch.full((batch, beams), none, device=device)
        self.finished_log_p = torch.full((batch, beams), none, device=device)
        self.finished_ids = self.ids.clone()

    def penalty(self, length: Tensor | int) -> Tensor | float:
        return ((5 + length) / 6) ** self.length_penalty

    def advance(self, logits: Tensor, length: int) -> Tensor:
        """Take one step with logits [b, K, V]; returns the beam each beam continues, [b, K]."""
        beams = self.beams
        log_p = logits.log_softmax(-1)  # [b, K, V]
        self.allowed.forbid(log_p, length)
        # the K best of each beam, then the K best of these
        best, tokens = top_k(log_p, min(beams, log_p.shape[-1]))
        width = best.shape[-1]
        scores, chosen = (best + self.scores[..., None]).flatten(1).topk(beams)  # [b, K]
        parents = chosen // width
        tokens = tokens.flatten(1).gather(1, chosen)

        free = beams - self.finished[self.rows]  # [b]
        rank = torch.arange(beams, device=free.device)
        valid = (rank < free[:, None]) & (scores > float("-inf"))
        self.ids = self.ids.gather(1, parents[..., None].expand_as(self.ids))
        self.ids[..., length - 1] = tokens
        ends = valid & (tokens == self.allowed.eos_id)
        self._finish(ends, scores, length)
        self.scores = scores.masked_fill(~valid | ends, float("-inf"))
        self.newest = tokens
        return parents

    def _finish(self, ends: Tensor, scores: Tensor, length: int) -> None:
        row, beam = ends.nonzero(as_tuple=True)
        if len(row) == 0:
            return
        sentence = self.rows[row]
        slot = self.finished[sentence] + ends.cumsum(1)[row, beam] - 1
        log_p = scores[row, beam]
        self.finished_log_p[sentence, slot] = log_p
        self.finished_scores[sentence, slot] = log_p / self.penalty(length)
        self.finished_ids[sentence, slot] = self.ids[row, beam]
        self.finished[self.rows] += ends.sum(1)

    def still_open(self, n: int) -> Tensor:
        """Indices into the batch of the searches that could still change their best n."""
        # log-probabilities only fall and the penalty only grows, up to the longest output
        limit = self.penalty(self.allowed.limits)
        hope = self.scores.amax(1) / limit  # -inf where nothing is alive
        nth = self.finished_scores[self.rows].topk(n, dim=1).values[:, -1]
        return (hope > nth).nonzero()[:, 0]

    def select(self, kept: Tensor) -> None:
        """Let the searches of other rows of the batch go; what they found is kept."""
        self.rows, self.scores = self.rows[kept], self.scores[kept]
        self.newest, self.ids = self.newest[kept], self.ids[kept]
        self.allowed.select(kept)

    def results(self, n: int) -> list[list[Hypothesis]]:
        order = self.finished_scores.sort(dim=1, descending=True, stable=True).indices
        found: list[list[Hypothesis]] = []
        eos = self.allowed.eos_id
        columns = (self.finished_ids, self.finished_scores, self.finished_log_p, order)
        for ids, scores, log_p, best in zip(*(c.tolist() for c in columns), strict=True):
            ranked = [i for i in best[:n] if scores[i] > float("-inf")]
            found.append(
                [Hypothesis(ids[i][: ids[i].index(eos)], scores[i], log_p[i]) for i in ranked]
            )
        return found


def top_k(logits: Tensor, k: int, block: int = 64) -> tuple[Tensor, Tensor]:
    """The k largest of the last dimension and their indices, in no particular order.

    ``torch.topk`` is slow for long rows on a CPU. The k largest elements lie in the k blocks with
    the largest maxima, so only those blocks are searched.
    """
    width = logits.shape[-1]
    blocks = width // block
    if blocks <= 2 * k or logits.device.type != "cpu":
        return logits.topk(k, dim=-1)
    body = logits[..., : blocks * block].unflatten(-1, (blocks, block))
    which = body.amax(-1).topk(k, dim=-1).indices  # [..., k]
    index = which[..., None] * block + torch.arange(block, device=logits.device)
    index = index.flatten(-2)  # [..., k * block]
    if blocks * block < width:
        tail = torch.arange(blocks * block, width, device=logits.device)
        index = torch.cat([index, tail.expand(*index.shape[:-1], -1)], dim=-1)
    best, place = logits.gather(-1, index).topk(k, dim=-1)
    return best, index.gather(-1, place)
