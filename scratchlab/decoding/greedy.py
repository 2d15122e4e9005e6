"""Greedy decoding: the most probable next token, again and again."""

from __future__ import annotations

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
        """As promised by :class:`Decoder`; the score is the log-probability, and n must be 1."""
        if n != 1:
            raise UserError(
                f"greedy decoding finds one hypothesis, not {n}", "Choose decoding=beam."
            )
        allowed = NextToken(spec, limits, self.config.min_length)
        longest = max(allowed.limits)
        padding = model.padding(source)
        cache = model.start_cache(model.encode(source, padding), padding, longest)
        rows = list(range(source.shape[0]))  # the sentences still in the batch
        unfinished = set(rows)
        ids: list[list[int]] = [[] for _ in rows]
        log_probability = [0.0] * len(rows)
        token = torch.full((len(rows), 1), allowed.sos_id, device=source.device)
        for length in range(1, longest + 1):
            gains, found = allowed.best(model, token, cache, length, 1)  # [rows, 1, 1]
            token = found[..., 0]
            columns = rows, found.flatten().tolist(), gains.flatten().tolist()
            for row, one, gain in zip(*columns, strict=True):
                if row not in unfinished:
                    continue
                log_probability[row] += gain
                if one == allowed.eos_id:
                    unfinished.remove(row)
                else:
                    ids[row].append(one)
            if not unfinished:
                break
            if worth_shrinking(len(rows) - len(unfinished), len(rows)):
                kept = [i for i, row in enumerate(rows) if row in unfinished]
                rows = [rows[i] for i in kept]
                allowed.select(kept)
                index = torch.tensor(kept, device=source.device)
                token = token[index]
                cache.select(index)
        return [[Hypothesis(row, p, p)] for row, p in zip(ids, log_probability, strict=True)]
