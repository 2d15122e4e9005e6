"""Tokenizers whose tokens are learned from a training text: characters, words, pieces of words.

What an id means depends on the special tokens in front, so a data set says which it needs:
``MARKS`` (all four) where nothing else is said, ``RUNNING`` for running text, ``□⁇`` for characters
with masked spans. A vocabulary with start, end and mask is one for encoders: a text stands between
start and end there. Characters without ``<unk>`` are those of the whole corpus, since a character
that is none of them is refused. With ``lines`` the end of a line is a token: ``<eos>``, or of
characters ``\\n`` itself. A mask that is no special token in front is the last token.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.tokenizers.bpe import Merges
from scratchlab.data.tokenizers.contract import FORMAT, Ids, Tokenizer
from scratchlab.data.tokenizers.words import (
    JOINER,
    PATTERN,
    START,
    Memory,
    join_plain_words,
    mark_words,
    parts,
    piece_label,
    plain_words,
    unmark,
)
from scratchlab.data.tokenizers.workers import Workers, worth_it
from scratchlab.errors import UserError, shortened

UNKNOWN, PADDING, BEGIN, END = MARKS = ("<unk>", "<pad>", "<sos>", "<eos>")
PAD_CHARACTER, MASK_CHARACTER = "□", "⁇"
MASKED_CHARACTERS = (PAD_CHARACTER, MASK_CHARACTER)
RUNNING: dict[str, tuple[str, ...]] = {
    "char": (),
    "word": (UNKNOWN, END),
    "whitespace": (UNKNOWN, END),
    "bpe": MARKS,
}
"""The special tokens of running text."""
_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥"}


class Learned(Tokenizer):
    """``special`` tokens in front, what was learned behind them, perhaps a mask at the end."""

    def __init__(
        self,
        learned: Sequence[str],
        *,
        special: Sequence[str] = MARKS,
        lines: bool = False,
        mask: bool = False,
    ) -> None:
        self.special, self.lines = tuple(special), lines
        self.tokens = [*special, *learned, *([MASK_CHARACTER] if mask else [])]
        numbers = {name: i for i, name in enumerate(special)}
        first, last = len(special), len(special) + len(learned)
        self.ids = {token: i for i, token in enumerate(self.tokens[first:last], first)}
        if len(self.ids) < len(learned):
            twice = next(t for t, n in Counter(learned).items() if n > 1)
            raise UserError(f"the token {shortened(twice)} stands twice in a vocabulary")
        self.unk_id, self.sos_id = numbers.get(UNKNOWN), numbers.get(BEGIN)
        self.pad_id = numbers.get(PADDING, numbers.get(PAD_CHARACTER))
        self.mask_id = last if mask else numbers.get(MASK_CHARACTER)
        end = numbers.get(END)
        self.eos_id = end if self.mask_id is None else self.mask_id  # a mask ends an answer
        self.line_end_id = end if lines else None
        if self.mask_id is not None and self.sos_id is not None and end is not None:
            self.cls_id, self.sep_id = self.sos_id, end  # encoders read texts between these
        self._silent = {numbers.get(n) for n in (PADDING, PAD_CHARACTER, BEGIN, END)} - {
            self.line_end_id
        }

    def _spoken(self, ids: Iterable[int]) -> list[str]:
        """The tokens of ids without padding and ends."""
        return [self.tokens[i] for i in ids if i not in self._silent]

    def labels(self, ids: Iterable[int]) -> list[str]:
        return [_VISIBLE.get(self.tokens[i], self.tokens[i]) for i in ids]

    def to_json(self) -> dict[str, Any]:
        first, last = len(self.special), len(self.special) + len(self.ids)
        return {
            "format": FORMAT,
            "kind": self.kind,
            "special": list(self.special),
            "tokens": self.tokens[first:last],
            "lines": self.lines,
            "mask": len(self.tokens) > last,
        }


class Characters(Learned):
    """Characters as they are, the space among them."""

    kind = "char"
    unit = "character"

    def __init__(self, learned: Sequence[str], **layout: Any) -> None:
        super().__init__(learned, **layout)
        if PAD_CHARACTER in self.special and set(self.special) & set(learned):
            raise UserError(
                f"the characters {PAD_CHARACTER} and {MASK_CHARACTER} stand for padding and mask "
                "and must not occur in the corpus"
            )
        if not self.tokens or any(len(c) != 1 for c in learned):
            raise UserError("a vocabulary of characters needs at least one, each a single one")
        self.line_end_id = self.ids.get("\n") if self.lines else None
        known = {ord(c): i for c, i in self.ids.items()}
        if self.mask_id is not None:
            known[ord(MASK_CHARACTER)] = self.mask_id
        self._table = np.full(max(known, default=0) + 2, -1, dtype=np.int64)
        self._table[list(known)] = list(known.values())
        if self.unk_id is not None:
            self._table[self._table < 0] = self.unk_id

    def encode(self, text: str, where: str = "the text") -> list[int]:
        return self._ids(text, where).tolist()

    def encode_each(self, texts: Iterable[str], where: str = "the text") -> Iterator[Ids]:
        return (self._ids(text, where) for text in texts)

    def _ids(self, text: str, where: str) -> Ids:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        ids = self._table[np.minimum(points, len(self._table) - 1)]
        if len(ids) and ids.min() < 0:
            self._refuse(text, ids, where)
        return ids

    def _refuse(self, text: str, ids: Ids, where: str) -> None:
        unknown = np.flatnonzero(ids < 0)
        first = int(unknown[0])
        line = text.count("\n", 0, first) + 1
        column = first - text.rfind("\n", 0, first)
        named = list(dict.fromkeys(text[i] for i in unknown.tolist()))
        some = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in named[:5])
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        known = "".join(c for c in self.ids if c.isprintable())
        raise UserError(
            f"{where}, line {line}, column {column}: the vocabulary has no {some}{more}",
            f"It has {len(self.ids)} characters: {known[:100]}" + ("…" if len(known) > 100 else ""),
        )

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self._spoken(ids))


class OfParts(Learned):
    """What cuts a text at its spaces first: the tokens of a part never depend on those beside it.

    A mask in a text takes the place of words, so a space on either side of it is that between
    words. (It cannot be told from a mask that begins or ends within a word: a piece that goes on
    with a word has no text of its own.)
    """

    def __init__(self, learned: Sequence[str], *, pattern: int = PATTERN, **layout: Any) -> None:
        super().__init__(learned, **layout)
        self.pattern = pattern  # how a text is cut into words (scratchlab.data.tokenizers.words)
        self.ids_of_parts = Memory(self._encode_part)

    def cut(self, text: str) -> list[str]:
        """The parts of a line."""
        return parts(text)

    @abstractmethod
    def _encode_part(self, part: str) -> tuple[int, ...]:
        """The ids of a part of a text."""

    @abstractmethod
    def _joined(self, tokens: list[str]) -> str:
        """The text of tokens of one line."""

    @abstractmethod
    def _begins_word(self, token: str) -> bool:
        """Whether a space parts a token from what stands before it."""

    def encode(self, text: str, where: str = "the text") -> list[int]:
        ids_of = self.ids_of_parts.__getitem__
        if self.line_end_id is None:
            if self.mask_id is None or MASK_CHARACTER not in text:
                return list(chain.from_iterable(map(ids_of, self.cut(text))))
            return list(chain.from_iterable(self._encode_line(text)))
        found: list[tuple[int, ...]] = []
        masked = self.mask_id is not None and MASK_CHARACTER in text
        for line in text.split("\n"):
            found += self._encode_line(line) if masked else map(ids_of, self.cut(line))
            found.append((self.line_end_id,))
        found.pop()
        return list(chain.from_iterable(found))

    def encode_each(self, texts: Iterable[str], where: str = "the text") -> Iterator[Ids]:
        many, texts = worth_it(texts)
        if not many:
            yield from super().encode_each(texts, where)
            return
        with Workers({"encode": self.to_json()}) as workers:
            for answer in workers.map(texts):
                yield np.frombuffer(answer, dtype=np.uint32).astype(np.int64)

    def _encode_line(self, line: str) -> Iterator[tuple[int, ...]]:
        ids_of = self.ids_of_parts.__getitem__
        if self.mask_id is None or MASK_CHARACTER not in line:
            yield from map(ids_of, self.cut(line))
            return
        between = line.split(MASK_CHARACTER)
        for position, text in enumerate(between):
            if position:
                yield (self.mask_id,)
                text = text.removeprefix(" ")
            if position < len(between) - 1:
                text = text.removesuffix(" ")
            yield from map(ids_of, self.cut(text))

    def word_starts(self) -> NDArray[np.bool_]:
        return np.array([self._is_whole(token) for token in self.tokens])

    def _is_whole(self, token: str) -> bool:
        """Whether a token begins a word, be it one that was glued to another."""
        return True

    def decode(self, ids: Iterable[int]) -> str:
        return "\n".join(self._decode_line(line) for line in _parted(ids, self.line_end_id))

    def _decode_line(self, line: list[int]) -> str:
        text = ""
        for number, part in enumerate(_parted(line, self.mask_id)):
            spoken = self._spoken(part)
            if number:
                text += " " * (bool(text) and text[-1] != MASK_CHARACTER) + MASK_CHARACTER
                text += " " * (bool(spoken) and self._begins_word(spoken[0]))
            text += self._joined(spoken)
        return text

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"pattern": self.pattern}


class Words(OfParts):
    """Words by falling frequency; others are ``<unk>`` (kinds word and whitespace)."""

    unit = "word"

    def __init__(self, learned: Sequence[str], *, kind: str = "word", **layout: Any) -> None:
        self.kind, self.lower_case = kind, kind == "word"
        super().__init__(learned, **layout)

    def cut(self, text: str) -> list[str]:
        return parts(text) if self.lower_case else text.split()

    def _encode_part(self, part: str) -> tuple[int, ...]:
        words = plain_words(part, self.pattern) if self.lower_case else [part]
        return tuple(map(self.ids.get, words, repeat(self.unk_id)))  # type: ignore[arg-type]

    def _joined(self, tokens: list[str]) -> str:
        return join_plain_words(tokens) if self.lower_case else " ".join(tokens)

    def _begins_word(self, token: str) -> bool:
        return True


class Pieces(OfParts):
    """Byte-pair encoding over marked words (see :mod:`scratchlab.data.tokenizers.words`).

    Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units".
    The merges are learned by the ``tokenizers`` library and applied here, once for each distinct
    word, since BPE-dropout needs a procedure whose chance is seeded (:mod:`.bpe`).
    """

    kind = "bpe"

    def __init__(
        self, learned: Sequence[str], merges: Iterable[tuple[str, str]], **layout: Any
    ) -> None:
        super().__init__(learned, **layout)
        self.unit = "token" if self.lines else "subword"
        self.merges = Merges(self.ids, merges, self.unk_id or 0)
        self._known = frozenset(t for t in self.ids if len(t) == 1 and t != START)
        self._ids_of_words = Memory(self.merges.apply)

    def words(self, text: str) -> list[str]:
        """The marked words of a text, spelled in characters that all have an id."""
        return mark_words(text, self._known, self.pattern)

    def _encode_part(self, part: str) -> tuple[int, ...]:
        return tuple(i for word in self.words(part) for i in self._ids_of_words[word])

    def _joined(self, tokens: list[str]) -> str:
        return unmark("".join(tokens))

    def _is_whole(self, token: str) -> bool:
        return token.startswith(START)

    def _begins_word(self, token: str) -> bool:
        return token.startswith(START) and not token.startswith(START + JOINER)

    def labels(self, ids: Iterable[int]) -> list[str]:
        first, last = len(self.special), len(self.special) + len(self.ids)
        return [piece_label(self.tokens[i]) if first <= i < last else self.tokens[i] for i in ids]

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"merges": [list(pair) for pair in self.merges.pairs]}


def _parted(ids: Iterable[int], border: int | None) -> Iterator[list[int]]:
    """Ids between those that are ``border``."""
    part: list[int] = []
    for i in ids:
        if i == border:
            yield part
            part = []
        else:
            part.append(int(i))
    yield part
