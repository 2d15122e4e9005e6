"""Byte-pair merges: learning them, applying them, and applying them by chance (BPE-dropout)."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from scratchlab.data.tokenizers.words import START
from scratchlab.errors import MissingPackageError, UserError, shortened

# Longer words are learned from in slices, and drawn in slices by BPE-dropout.
LONGEST = 512
GONE = -1  # in place of a symbol that was merged into the one on its left


def _slices(word: str) -> list[str]:
    return [word[i : i + LONGEST] for i in range(0, len(word), LONGEST)]


def learn_merges(
    counts: Mapping[str, int], characters: Sequence[str], size: int, min_frequency: int
) -> tuple[list[str], list[tuple[str, str]]]:
    """Learn at most ``size`` tokens from words and their counts.

    Returns the tokens (``characters`` first, then one for each merge) and the merges in the order
    they were learned in. The result depends on the arguments only: words are handed over sorted
    and the library breaks ties between pairs by their ids. The library's time is quadratic in the
    length of a word, so no merge is learned across the slices of a very long one.
    """
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    except ImportError as error:
        raise MissingPackageError("tokenizers", "Learning a BPE vocabulary") from error
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(" ")
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        initial_alphabet=list(characters),
        show_progress=False,
    )
    learner.train_from_iterator(_repeated(counts), trainer)
    ids = learner.get_vocab()
    return sorted(ids, key=ids.__getitem__), _merges_of(learner.to_str())


def _repeated(counts: Mapping[str, int], at_once: int = 1000) -> Iterator[str]:
    """Each word as often as it was counted, since the library counts for itself."""
    if max(map(len, counts), default=0) > LONGEST:
        sliced: Counter[str] = Counter()
        for word, count in counts.items():
            for part in _slices(word):
                sliced[part] += count
        counts = sliced
    for word in sorted(counts):
        left = counts[word]
        while left > 0:
            yield " ".join([word] * min(left, at_once))
            left -= at_once


def _merges_of(stored: str) -> list[tuple[str, str]]:
    merges = json.loads(stored)["model"]["merges"]
    pairs = (m.split(" ") if isinstance(m, str) else m for m in merges)
    return [(left, right) for left, right in pairs]


class Merges:
    """A table of merges in the order they were learned in, applied to single words."""

    def __init__(
        self, ids: Mapping[str, int], pairs: Iterable[tuple[str, str]], unknown: int
    ) -> None:
        """``ids``: those of the characters and of all merged tokens; ``unknown``: of others."""
        self.pairs = list(pairs)
        self._ids, self._unknown = ids, unknown
        # (left id, right id) -> (rank, id of the merged token)
        self._table: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, (left, right) in enumerate(self.pairs):
            try:
                a, b, merged = (ids[token] for token in (left, right, left + right))
            except KeyError as error:
                raise UserError(
                    f"a merge of {shortened(left)} and {shortened(right)} leaves the vocabulary"
                ) from error
            self._table.setdefault((a, b), (rank, merged))
        if START not in ids:
            raise UserError(f"a BPE vocabulary needs the word mark {START!r}")

    def characters(self, word: str) -> list[int]:
        """The ids of a word's single characters."""
        return [self._ids.get(character, self._unknown) for character in word]

    def apply(self, word: str) -> list[int]:
        """The ids of a word: always the earliest learned merge first, the leftmost of these.

        A heap of the possible merges and links between the symbols that are left make it
        n log n in the word's length: there are words of millions of characters (genomes, base64).
        """
        ids = self.characters(word)
        table, size = self._table, len(ids)
        after, before = list(range(1, size + 1)), list(range(-1, size))
        possible = []  # (rank, where the left symbol begins, merged id)
        for place, pair in enumerate(pairwise(ids)):
            if (found := table.get(pair)) is not None:
                possible.append((found[0], place, found[1]))
        heapify(possible)
        while possible:
            rank, place, merged = heappop(possible)
            right = after[place]
            # One of the two may have been merged with another since.
            if right >= size or table.get((ids[place], ids[right]), (-1, 0))[0] != rank:
                continue
            ids[place], ids[right] = merged, GONE
            behind = after[place] = after[right]
            before[behind] = place
            for left, other in ((before[place], place), (place, behind)):
                if left >= 0 and other < size:
                    found = table.get((ids[left], ids[other]))
                    if found is not None:
                        heappush(possible, (found[0], left, found[1]))
        return [i for i in ids if i != GONE]

    def apply_dropout(self, word: str, probability: float, chance: Iterator[float]) -> list[int]:
        """The ids of a word where each possible merge is passed over with ``probability``.

        Provilkov, Emelianenko and Voita 2020, "BPE-Dropout: Simple and Effective Subword
        Regularization", algorithm 1: at each step every merge that the word allows at this moment
        is dropped by chance, and the earliest learned of the rest is carried out; the word is
        finished when none is left. ``chance`` gives numbers in [0, 1), one for each possible merge
        at each step. That is quadratic, so words of more than ``LONGEST`` characters are cut.
        """
        if len(word) > LONGEST:
            parts = (self.apply_dropout(part, probability, chance) for part in _slices(word))
            return [i for part in parts for i in part]
        ids = self.characters(word)
        table = self._table
        while len(ids) > 1:
            best = None
            for position, pair in enumerate(pairwise(ids)):
                found = table.get(pair)
                if (
                    found is not None
                    and next(chance) >= probability
                    and (best is None or found[0] < best[0])
                ):
                    best = (found[0], found[1], position)
            if best is None:
                break
            _, merged, position = best
            ids[position : position + 2] = [merged]
        return ids
