"""Greedy decoding: the most probable next token, again and again."""

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


@register("decoding", "greedy", tasks=("seq2seq",))
class Greedy(Decoder):
    """The most probable next token at each step, until ``<eos>`` or the longest allowed length."""

    @dataclass(frozen=True)
    class Config:
        max_length_factor: float = option(
            2.0, "longest output, in multiples of the source length", min=0
        )
        max_length_extra: int = option(10, "tokens added to the longest output", min=0)
        min_length: int = option(0, "shortest output in tokens, <eos> included", min=0)

    @torch.inference_mode()
    def n_best(
        self, model: Seq2SeqModel, source: Tensor, spec: Spec, n: int = 1
    ) -> list[list[Hypothesis]]:
        """As promised by :class:`Decoder`; the score is the log-probability, and n must be 1."""
        if n != 1:
            raise UserError(
                f"greedy decoding finds one hypothesis, not {n}", "Choose decoding=beam."
            )
        batch = source.shape[0]
        allowed = NextToken(spec, self.limits(source, spec.pad_id or 0), self.config.min_length)
        longest = int(allowed.limits.max())
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, longest)
        ids = torch.full((batch, longest), allowed.eos_id, device=source.device)
        log_probability = torch.zeros(batch, device=source.device)
        rows = torch.arange(batch, device=source.device)  # the sentences still in the batch
        done = torch.zeros(batch, dtype=torch.bool, device=source.device)
        token = torch.full_like(rows, allowed.sos_id)
        for length in range(1, longest + 1):
            logits = model.next_logits(token[:, None], cache)[:, 0].float()  # [rows, V]
            log_p = logits.log_softmax(-1)
            allowed.forbid(log_p, length)
            gain, token = log_p.max(-1)
            log_probability[rows] += gain.masked_fill(done, 0.0)
            ids[rows, length - 1] = token.masked_fill(done, allowed.eos_id)
            done |= token == allowed.eos_id
            finished = int(done.sum())
            if finished == len(rows):
                break
            if worth_shrinking(finished, len(rows)):
                kept = (~done).nonzero()[:, 0]
                rows, token, done = rows[kept], token[kept], done[kept]
                allowed.select(kept)
                cache.select(kept)
        found = zip(ids.tolist(), log_probability.tolist(), strict=True)
        return [[Hypothesis(row[: row.index(allowed.eos_id)], p, p)] for row, p in found]
