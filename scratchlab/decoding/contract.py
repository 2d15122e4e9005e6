"""What a decoder of a sequence-to-sequence model promises, and what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scratchlab.data.contract import Spec
from scratchlab.decoding.shortlist import Shortened, Shortlist
from scratchlab.errors import UserError
from scratchlab.models.compiled.fitting import compiled
from scratchlab.models.contract import Seq2SeqModel
from scratchlab.models.layers.linear import packed


class Hypothesis(NamedTuple):
    """A generated sequence: ids without ``<sos>`` and ``<eos>``, and the score it was ranked by.

    ``log_probability`` (nats) is the model's own, of all ids and the closing ``<eos>``.
    """

    ids: list[int]
    score: float
    log_probability: float


class Decoder(ABC):
    """Registered as ``@register("decoding", NAME)``; built as ``cls(config)``.

    ``config`` has at least ``max_length_factor``, ``max_length_extra``, ``min_length``,
    ``compiled`` and ``shortlist``: where that is a number, the candidates must be given
    (``shortlist`` of the object). What comes out for a sentence does not depend on those that are
    decoded beside it, but for rounding, which is that of the layers or of the compiled step.
    """

    shortlist: Shortlist | None = None

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def search(
        self, model: Any, source: Tensor, limits: Tensor, spec: Spec, n: int
    ) -> list[list[Hypothesis]]:
        """As :meth:`n_best`; ``limits`` [B]: how many tokens each sentence may get at most,
        ``spec``: the marks of what the model writes."""

    def n_best(
        self, model: Seq2SeqModel, source: Tensor, spec: Spec, n: int = 1
    ) -> list[list[Hypothesis]]:
        """The best ``n`` hypotheses of each row of ``source`` [B, S], best first."""
        limits = self.limits(source, required_ids(spec)[0])
        if self.config.shortlist is None:
            return self.search(model, source, limits, spec, n)
        if self.shortlist is None:
            raise UserError(
                "decoding.shortlist: no candidates were learned here",
                "Set decoding.shortlist=null.",
            )
        with torch.inference_mode():
            short = Shortened(model, source, spec, self.shortlist)
        found = self.search(short, source, limits, short.spec, n)
        return [[one._replace(ids=short.whole(one.ids)) for one in some] for some in found]

    def generate(self, model: Seq2SeqModel, source: Tensor, spec: Spec) -> list[Hypothesis]:
        """The best hypothesis of each row of ``source`` [B, S] (``spec.pad_id`` at the right end).

        ``model`` is in ``eval()`` mode.
        """
        return [hypotheses[0] for hypotheses in self.n_best(model, source, spec, 1)]

    def generate_all(
        self,
        model: Seq2SeqModel,
        sources: Sequence[Sequence[int]],
        spec: Spec,
        batch_size: int = 64,
    ) -> list[Hypothesis]:
        """The best hypothesis of any number of sentences, given as ids; the order is kept.

        Sentences of similar length are decoded together.
        """
        device = next(model.parameters()).device
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        steps = sum(len(sources[rows[-1]]) for rows in chunks)  # outputs are about as long
        found: dict[int, Hypothesis] = {}
        at_once = min(batch_size, len(sources)) * getattr(self.config, "beam_size", 1)
        with (
            compiled(model, at_once, steps, self.config.compiled) as all_steps,
            packed(model, at_once, 0 if all_steps else steps),
        ):
            for rows in chunks:
                batch = pad_rows([sources[i] for i in rows], required_ids(spec)[0])
                found.update(zip(rows, self.generate(model, batch.to(device), spec), strict=True))
        return [found[i] for i in range(len(sources))]

    def limits(self, source: Tensor, pad_id: int) -> Tensor:
        """[B]: how many tokens each sentence may get at most, ``<eos>`` included."""
        lengths = (source != pad_id).sum(1)
        limits = (lengths * self.config.max_length_factor).long() + self.config.max_length_extra
        return limits.clamp(min=1)


def required_ids(spec: Spec) -> tuple[int, int, int]:
    """pad, sos and eos ids of a data set; UserError where it has none."""
    if spec.pad_id is None or spec.sos_id is None or spec.eos_id is None:
        raise UserError("decoding needs a data set with <pad>, <sos> and <eos> tokens")
    return spec.pad_id, spec.sos_id, spec.eos_id


def pad_rows(rows: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """Lists of ids as one int64 tensor [len(rows), longest], filled up at the right end."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows])


class NextToken:
    """Which tokens may come next: never ``<pad>`` and ``<sos>``, ``<eos>`` not too early, and
    nothing but ``<eos>`` when a sentence has reached its limit. ``limits``: [B] of the sentences.
    """

    def __init__(self, spec: Spec, limits: Tensor, min_length: int) -> None:
        self.pad_id, self.sos_id, self.eos_id = required_ids(spec)
        self.limits: list[int] = limits.tolist()
        self.min_length = min_length
        never = [self.pad_id, *([self.sos_id] if self.sos_id != self.eos_id else [])]  # as BART's
        self.never = torch.tensor(never, device=limits.device)
        self.not_yet = torch.tensor([*never, self.eos_id], device=limits.device)

    def best(
        self, model: Any, newest: Tensor, cache: Any, length: int, count: int
    ) -> tuple[Tensor, Tensor]:
        """The ``count`` most probable tokens behind each of ``newest`` [B, K], fewer if the
        vocabulary is smaller: their log-probabilities (-inf: impossible) and ids, [B, K, count]
        both, the best first. ``length`` counts the token."""
        if hasattr(model, "likeliest"):
            only = dict.fromkeys(self.ends(length), self.eos_id)
            found = model.likeliest(newest, cache, count, self.barred(length), only)
            if found is not None:
                return found[0], found[1]
        log_p = model.next_logits(newest, cache).float().log_softmax(-1)  # [B, K, V]
        self.forbid(log_p, length)
        if count == 1:
            best, ids = log_p.max(-1, keepdim=True)
            return best, ids
        return top_k(log_p, min(count, log_p.shape[-1]))

    def barred(self, length: int) -> Tensor:
        """What no text may have as its token number ``length``."""
        return self.not_yet if length < self.min_length else self.never

    def ends(self, length: int) -> list[int]:
        """The sentences that must end there."""
        return [row for row, limit in enumerate(self.limits) if limit <= length]

    def forbid(self, logits: Tensor, length: int) -> None:
        """Set logits [B, ..., V] of impossible tokens to -inf; ``length`` counts the next one."""
        hidden, ends = float("-inf"), self.ends(length)
        if ends:
            eos = logits[ends, ..., self.eos_id]
        logits.index_fill_(-1, self.barred(length), hidden)
        if ends:
            logits[ends] = hidden
            logits[ends, ..., self.eos_id] = eos

    def select(self, sentences: Sequence[int]) -> None:
        self.limits = [self.limits[i] for i in sentences]


def top_k(logits: Tensor, k: int, block: int = 64) -> tuple[Tensor, Tensor]:
    """The k largest of the last dimension, the largest first, and their indices.

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


def worth_shrinking(finished: int, size: int) -> bool:
    """Dropping finished sentences copies the cache of the others: not for a few of many."""
    return finished * 4 >= size
