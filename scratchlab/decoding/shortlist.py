"""A vocabulary shortlist: a search looks only at tokens that go with those of its source.

For one sentence much of a step's time goes into the output layer, which has a row for each token of
the vocabulary. As Jean et al. (2015, section 3.3) do, a translation is looked for among the most
frequent tokens and, for each token of the source, those that it is most probably translated by.
These come from the training data by IBM model 1 (Brown et al. 1993): with t(f | e) the probability
that source token e is translated by f, each target token comes from any of its source's with equal
chance. A step of EM shares each f among the e of its sentence in proportion to t(f | e), and sets
t(f | e) to what e got of f in all sentences, as a share of what it got of all. The end of a source
counts as one of its tokens: it takes what no word explains.

What a search ranks by is then the probability among those tokens alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from scratchlab.data.batching.cache import Arrays
from scratchlab.data.batching.plans import Ragged
from scratchlab.data.contract import Spec
from scratchlab.errors import UserError
from scratchlab.models.layers.softcap import softcapped

STEPS = 5  # of EM
FREQUENT = 100  # most frequent tokens that are always looked at
MOST = 10_000_000  # of a source and a target token that meet: more change few candidates


def learned(source: Ragged, target: Ragged, spec: Spec, count: int) -> Arrays:
    """The tables of a :class:`Shortlist` with up to ``count`` candidates for each source token.

    ``source``, ``target``: ids of sentence pairs, without marks of beginning and end.
    """
    assert spec.source_vocab_size and spec.vocab_size and spec.eos_id is not None
    meetings = int(((source.lengths + 1) * target.lengths).sum())
    rows = np.arange(0, len(source), 1 + meetings // MOST)  # some of many, evenly chosen
    source, target = source.take(rows), target.take(rows)
    given, asked, sentences = token_pairs(source, target, spec.eos_id)
    names, pair = np.unique(given * spec.vocab_size + asked, return_inverse=True)
    e, f = names // spec.vocab_size, names % spec.vocab_size
    p = translation_probabilities(e, pair, sentences)
    order = np.lexsort((f, -p, e))  # of each e the most probable first
    e, f = e[order], f[order]
    rank = np.arange(len(e)) - np.searchsorted(e, e)
    kept = rank < count
    candidates = np.full((spec.source_vocab_size, count), spec.eos_id, dtype=np.int32)
    candidates[e[kept], rank[kept]] = f[kept]
    counts = np.bincount(target.values, minlength=spec.vocab_size)
    frequent = np.argsort(-counts, kind="stable")[:FREQUENT]
    return {"candidates": candidates, "frequent": frequent[counts[frequent] > 0].astype(np.int32)}


def token_pairs(source: Ragged, target: Ragged, eos_id: int) -> tuple[NDArray[Any], ...]:
    """Each target token with each token of its source and the end of that: ids of both, and which
    target token of all it is, three arrays of one length."""
    wide = source.lengths + 1  # with the end
    beside = np.repeat(wide, target.lengths)  # source tokens of each target token
    which = np.repeat(np.arange(len(beside)), beside)
    first = np.cumsum(wide) - wide
    ended = np.insert(source.values.astype(np.int64), source.offsets[1:], eos_id)
    within = np.arange(len(which)) - np.repeat(np.cumsum(beside) - beside, beside)
    start = np.repeat(first, target.lengths)
    return ended[start[which] + within], target.values.astype(np.int64)[which], which


def translation_probabilities(
    e: NDArray[Any], pair: NDArray[Any], which: NDArray[Any]
) -> NDArray[np.float64]:
    """t(f | e) of each pair of tokens that meet; ``e``: its source token, ``pair``: which of them a
    meeting is one of, ``which``: the target token that it explains."""
    t: NDArray[np.float64] = np.ones(len(e))
    for _ in range(STEPS):
        share: NDArray[np.float64] = t[pair]
        share /= np.bincount(which, share)[which]
        t = np.bincount(pair, share, minlength=len(e)).astype(np.float64)
        t /= np.bincount(e, t)[e]
    return t


@dataclass(frozen=True)
class Shortlist:
    """``candidates`` [source vocabulary, N] of each source token, filled up with ``<eos>``, and the
    ``frequent`` tokens [M] that are always looked at."""

    candidates: Tensor
    frequent: Tensor

    @classmethod
    def of(cls, tables: Arrays, spec: Spec) -> Shortlist:
        """From what :func:`learned` returned; UserError if it does not fit the vocabulary."""
        found = [tables.get(name, np.zeros(0)) for name in ("candidates", "frequent")]
        sizes = spec.source_vocab_size or 0, spec.vocab_size or 0
        ids = all(t.dtype == np.int32 and (t >= 0).all() and (t < sizes[1]).all() for t in found)
        if not ids or found[0].ndim != 2 or len(found[0]) != sizes[0] or found[1].ndim != 1:
            raise UserError(
                "decoding.shortlist: the candidates that are kept are not of this vocabulary",
                "Remove the file shortlist-….npz of the run, and they are learned again.",
            )
        return cls(*(torch.from_numpy(t).long() for t in found))

    def tokens(self, source: Tensor, marks: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """The tokens [n] that may be in translations of source [B, S], ascending, ``marks`` among
        them, and which of them each sentence may have, [B, n] (None: all)."""
        always = torch.cat([self.frequent, torch.tensor(marks)])
        own = self.candidates[source.cpu()].flatten(1)
        every = torch.cat([always.expand(len(own), -1), own], 1)
        ids, place = every.unique(return_inverse=True)
        if len(source) == 1:
            return ids.to(source.device), None
        may = torch.zeros(len(source), len(ids), dtype=torch.bool).scatter_(1, place, True)
        return ids.to(source.device), may.to(source.device)


class Shortened:
    """A model whose vocabulary are the tokens of a shortlist, as a search of ``source`` sees it.

    Its ids are places in ``ids``, in what it reads of the target and in what comes out; ``spec``
    has the marks so.
    """

    def __init__(self, model: Any, source: Tensor, spec: Spec, shortlist: Shortlist) -> None:
        self.model = model
        marks = {"pad_id": spec.pad_id, "sos_id": spec.sos_id, "eos_id": spec.eos_id}
        self.ids, self.may = shortlist.tokens(source, [i for i in marks.values() if i is not None])
        places: dict[str, Any] = {
            k: None if i is None else int((self.ids < i).sum()) for k, i in marks.items()
        }
        self.spec = replace(spec, vocab_size=len(self.ids), **places)
        whole = getattr(model, "output_weight", None)
        self.weight = None if whole is None else whole[self.ids]

    def padding(self, source: Tensor) -> Any:
        return self.model.padding(source)

    def encode(self, source: Tensor, padding: Tensor | None) -> Any:
        return self.model.encode(source, padding)

    def start_cache(self, *given: Any) -> ShortenedCache:
        hidden = None
        if self.may is not None:
            hidden = torch.zeros(self.may.shape, device=self.may.device)
            hidden.masked_fill_(~self.may, float("-inf"))
        return ShortenedCache(self.model.start_cache(*given), hidden)

    def next_logits(self, tokens: Tensor, cache: ShortenedCache) -> Tensor:
        """tokens [B, K], the newest of every beam → logits [B, K, n]."""
        tokens = self.ids[tokens]
        if self.weight is None:
            logits: Tensor = self.model.next_logits(tokens, cache.inner)[..., self.ids]
        else:
            hidden = self.model.decode(tokens, cache=cache.inner)
            logits = softcapped(F.linear(hidden, self.weight), self.model.softcap)
        return logits if cache.hidden is None else logits + cache.hidden[:, None]

    def whole(self, ids: Sequence[int]) -> list[int]:
        """Ids of the model's own vocabulary."""
        found: list[int] = self.ids[torch.tensor(ids, dtype=torch.long)].tolist()
        return found


class ShortenedCache:
    """A model's cache, and what is added to the logits of each sentence, [B, n] (None: nothing)."""

    def __init__(self, inner: Any, hidden: Tensor | None) -> None:
        self.inner, self.hidden = inner, hidden

    def reorder(self, parents: Tensor) -> None:
        self.inner.reorder(parents)

    def select(self, rows: Tensor) -> None:
        self.inner.select(rows)
        if self.hidden is not None:
            self.hidden = self.hidden[rows]
