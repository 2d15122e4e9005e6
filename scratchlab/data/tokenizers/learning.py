"""How tokens are learned from a training text: what is kept of it, and what is merged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from scratchlab.data.tokenizers.bpe import learn_merges
from scratchlab.data.tokenizers.learned import (
    MARKS,
    MASK_CHARACTER,
    UNKNOWN,
    Characters,
    Learned,
    Pieces,
    Words,
)
from scratchlab.data.tokenizers.words import alphabet, count_words, mark_words, plain_words
from scratchlab.data.tokenizers.workers import Workers, lines_together, worth_it
from scratchlab.errors import UserError

Texts = Callable[[], Iterable[str]]


def learn(
    kind: str,
    train: Texts,
    vocab_size: int | None,
    min_frequency: int,
    *,
    special: Sequence[str] = MARKS,
    lines: bool = False,
    mask: bool = False,
    everything: Texts | None = None,
) -> Learned:
    """A tokenizer of a training text; the same texts give the same tokens.

    ``vocab_size`` counts special tokens (None: no limit, 8000 for bpe). Words and characters seen
    less than ``min_frequency`` times are ``<unk>``; pieces are learned from all characters, and
    merges from pairs seen at least that often. Characters without ``<unk>`` are all those of
    ``everything`` (None: of ``train``), whatever size and frequency are.
    """
    layout: dict[str, Any] = {"special": special, "lines": lines, "mask": mask}
    texts = without_mask(train()) if mask else train()
    if kind == "char" and UNKNOWN not in special:
        seen: set[str] = set()
        for text in everything() if everything else texts:
            seen.update(text)
        return Characters(sorted(seen), **layout)
    size = None if vocab_size is None else max(0, vocab_size - len(special) - mask)
    if kind == "char":
        counts = Counter(chain.from_iterable(texts))
        return Characters(_frequent(kind, counts, size, min_frequency), **layout)
    counts = counted(texts, kind, lines=lines)
    if kind == "bpe":
        return _learn_pieces(counts, vocab_size or 8000, min_frequency, layout)
    for name in special:
        counts.pop(name, None)
    return Words(_frequent(kind, counts, size, min_frequency), kind=kind, **layout)


def _frequent(kind: str, counts: Counter[str], size: int | None, min_frequency: int) -> list[str]:
    """The tokens that are kept; a UserError if the texts hold some, but none is frequent enough."""
    kept = _most_frequent(counts, size, min_frequency)
    if counts and not kept and min_frequency > max(counts.values()):
        raise UserError(
            f"dataset.min_frequency={min_frequency} leaves no token of {len(counts):,}: the most "
            f"frequent {kind} occurs {max(counts.values()):,} times",
            "Lower it.",
        )
    return kept


CUT: dict[str, Callable[[str], list[str]]] = {
    "word": plain_words,
    "whitespace": str.split,
    "bpe": mark_words,
}


def counted(texts: Iterable[str], kind: str, *, lines: bool) -> Counter[str]:
    """How often each word of texts occurs, as tokens of a kind are learned from; with ``lines``
    no word goes on over the end of one."""
    together = lines_together(texts) if not lines and isinstance(texts, Sequence) else None
    many, texts = (True, together) if together else worth_it(texts) if lines else (False, texts)
    if not many:
        each = (line for text in texts for line in text.split("\n")) if lines else texts
        return count_words(each, CUT[kind])
    counts: Counter[str] = Counter()
    with Workers({"count": kind}) as workers:
        for _ in workers.map(texts):
            pass
        for answer in workers.last_words():
            counts.update(json.loads(answer))
    return counts


def _learn_pieces(
    counts: Mapping[str, int], vocab_size: int, min_frequency: int, layout: Mapping[str, Any]
) -> Pieces:
    characters = sorted(alphabet(counts))
    special = len(layout["special"]) + layout["mask"]
    if vocab_size < len(characters) + special:
        raise UserError(
            f"vocab_size={vocab_size} is too small for byte-pair encoding: the characters of the "
            f"training text alone need {len(characters) + special} tokens"
        )
    tokens, merges = learn_merges(counts, characters, vocab_size - special, min_frequency)
    return Pieces(tokens, merges, **layout)


def _most_frequent(counts: Mapping[str, int], size: int | None, min_frequency: int) -> list[str]:
    """At most ``size`` units, the most frequent first; ties in alphabetical order."""
    frequent = sorted((-n, unit) for unit, n in counts.items() if n >= min_frequency)
    return [unit for _, unit in frequent[:size]]


def without_mask(texts: Iterable[str]) -> Iterator[str]:
    """Texts of a corpus; UserError if the character of the mask stands in one."""
    for text in texts:
        if MASK_CHARACTER in text:
            place = text.index(MASK_CHARACTER)
            raise UserError(
                f"the character {MASK_CHARACTER} stands for the mask and must not occur in "
                f"the corpus: {text[max(0, place - 30) : place + 30].strip()!r}"
            )
        yield text
