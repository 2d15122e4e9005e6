"""Running text to ids and back, for language models: characters, words, byte-pair encoding.

==============  =====================================  ======================  ==================
tokenizer       one token is                           the end of a line is    decoding gives
==============  =====================================  ======================  ==================
``char``        a character                            the character ``\\n``    the text
``word``        a lower-cased word or punctuation      ``<eos>``               lower-cased text
``whitespace``  what stands between spaces             ``<eos>``               tokens with spaces
``bpe``         a piece of a word, learned             ``<eos>``               the text
==============  =====================================  ======================  ==================

``whitespace`` is for corpora that were tokenised by others (WikiText, Penn Treebank); ``<unk>``
in such a text is the unknown word itself. A tokenizer is stored as JSON and is data only.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.reading import read_json
from scratchlab.data.sources.corpus import Read
from scratchlab.data.tokenizers.bpe import learn_merges
from scratchlab.data.tokenizers.pair_words import BPETokenizer, stored_pattern, tokenizer_from_json
from scratchlab.data.tokenizers.vocabulary import EOS_ID, PAD_ID, SPECIAL_TOKENS, UNK_ID, Vocabulary
from scratchlab.data.tokenizers.words import (
    JOINER,
    OLD_PATTERN,
    PATTERN,
    START,
    Memory,
    alphabet,
    count_words,
    join_plain_words,
    mark_words,
    parts,
    plain_words,
)
from scratchlab.errors import UserError, shortened
from scratchlab.run.atomic import write_text

FORMAT = 1
FILE = "text_tokenizer.json"
Ids = NDArray[np.int64]

PAD_CHARACTER, MASK_CHARACTER = "□", "⁇"


class TextTokenizer(ABC):
    """Turns text into ids and back; special ids that a kind does not have are None.

    ``line_end_id`` is the id of the end of a line, ``tokens`` the text of each id.
    """

    kind: str
    unit: ClassVar[str]
    tokens: list[str]
    unk_id: int | None = None
    pad_id: int | None = None
    eos_id: int | None = None
    mask_id: int | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def line_end_id(self) -> int | None:
        return self.eos_id

    @abstractmethod
    def encode(self, text: str, where: str = "the text") -> Ids:
        """Ids [n] of a text; each ``\\n`` is a token, so pieces that end in one can be joined.

        Raises:
            UserError: a character has no id and there is no ``<unk>``; ``where`` names the text.
        """

    def encode_each(self, texts: Iterable[str], where: str = "the text") -> Iterator[Ids]:
        """The ids of one text after the other; few are in memory at once."""
        return (self.encode(text, where) for text in texts)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that :func:`text_tokenizer_from_json` needs to make this tokenizer again."""

    def labels(self, ids: Iterable[int]) -> list[str]:
        """A printable name for each id."""
        return [_VISIBLE.get(self.tokens[i], self.tokens[i]) for i in ids]


_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥"}


class Characters(TextTokenizer):
    """Every character of the corpus, sorted by code point; padding and mask in front if wanted."""

    kind = "char"
    unit = "character"

    def __init__(self, characters: Sequence[str], *, with_mask: bool = False) -> None:
        special = [PAD_CHARACTER, MASK_CHARACTER] if with_mask else []
        if with_mask:
            self.pad_id, self.mask_id = 0, 1
            self.eos_id = self.mask_id
        self.characters = list(characters)
        self.tokens = [*special, *self.characters]
        taken = set(special) & set(characters)
        if taken or len(set(characters)) != len(characters):
            raise UserError(
                f"the characters {PAD_CHARACTER} and {MASK_CHARACTER} stand for padding and mask "
                "and must not occur in the corpus, nor any character twice in a vocabulary"
            )
        if not self.tokens or any(len(c) != 1 for c in self.tokens):
            raise UserError("a vocabulary of characters needs at least one, each a single one")
        points = np.array([ord(c) for c in self.tokens])
        self._table = np.full(int(points.max()) + 2, -1, dtype=np.int64)
        self._table[points] = np.arange(len(points))
        if with_mask:  # padding is never part of a text
            self._table[ord(PAD_CHARACTER)] = -1

    @classmethod
    def learn(cls, texts: Iterable[str], *, with_mask: bool = False) -> Characters:
        seen: set[str] = set()
        for text in texts:
            seen.update(text)
        return cls(sorted(seen), with_mask=with_mask)

    @property
    def line_end_id(self) -> int | None:
        return self.tokens.index("\n") if "\n" in self.tokens else None

    def encode(self, text: str, where: str = "the text") -> Ids:
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
        known = "".join(c for c in self.characters if c.isprintable())
        raise UserError(
            f"{where}, line {line}, column {column}: the vocabulary has no {some}{more}",
            f"It has {len(self.characters)} characters: {known[:100]}"
            + ("…" if len(known) > 100 else ""),
        )

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.tokens[i] for i in ids if i != self.pad_id)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "characters": "".join(self.characters),
            "with_mask": self.mask_id is not None,
        }


class Words(TextTokenizer):
    """Words by falling frequency behind ``<unk>`` and ``<eos>`` (kinds word and whitespace)."""

    unit = "word"
    unk_id: int = 0
    eos_id: int = 1
    SPECIAL: ClassVar[tuple[str, str]] = ("<unk>", "<eos>")

    def __init__(self, kind: str, words: Sequence[str], pattern: int = PATTERN) -> None:
        self.kind, self.pattern = kind, pattern
        self._ids_of_parts = Memory(self._encode_part)
        self.tokens = [*self.SPECIAL, *words]
        self._ids = {w: i for i, w in enumerate(self.tokens) if i >= len(self.SPECIAL)}
        if len(self._ids) != len(words):
            raise UserError("a word stands twice in a vocabulary")

    @classmethod
    def learn(
        cls, kind: str, texts: Iterable[str], vocab_size: int | None, min_frequency: int
    ) -> Words:
        counts: Counter[str] = Counter()
        if kind == "word":
            counts = count_words(_each_line(texts), plain_words)
        else:
            for text in texts:
                counts.update(text.split())
        for special in cls.SPECIAL:
            counts.pop(special, None)
        frequent = sorted((-n, w) for w, n in counts.items() if n >= min_frequency)
        size = None if vocab_size is None else max(0, vocab_size - len(cls.SPECIAL))
        return cls(kind, [w for _, w in frequent[:size]])

    def encode(self, text: str, where: str = "the text") -> Ids:
        cut = parts if self.kind == "word" else str.split
        return _of_lines(text, cut, self._ids_of_parts, self.eos_id)

    def _encode_part(self, part: str) -> tuple[int, ...]:
        words = plain_words(part, self.pattern) if self.kind == "word" else [part]
        return tuple(map(self._ids.get, words, repeat(self.unk_id)))

    def decode(self, ids: Iterable[int]) -> str:
        join = join_plain_words if self.kind == "word" else " ".join
        return "\n".join(join([self.tokens[i] for i in line]) for line in _lines(ids, self.eos_id))

    def to_json(self) -> dict[str, Any]:
        words = self.tokens[len(self.SPECIAL) :]
        described = {"format": FORMAT, "kind": self.kind, "words": words}
        return described if self.pattern == OLD_PATTERN else described | {"pattern": self.pattern}


def _each_line(texts: Iterable[str]) -> Iterator[str]:
    return (line for text in texts for line in text.split("\n"))


def _of_lines(
    text: str, cut: Callable[[str], list[str]], ids_of_parts: Memory, line_end: int
) -> Ids:
    """The ids of the parts that ``cut`` cuts each line into, ``line_end`` between two lines."""
    found: list[tuple[int, ...]] = []
    for line in text.split("\n"):
        found += map(ids_of_parts.__getitem__, cut(line))
        found.append((line_end,))
    found.pop()
    return np.fromiter(chain.from_iterable(found), np.int64, sum(map(len, found)))


class Pieces(TextTokenizer):
    """Byte-pair encoding line by line; lossless, and no character is ever ``<unk>``.

    With a mask, that is the last token, the character ⁇ in a text means it, and it ends an answer.
    """

    kind = "bpe"
    unit = "token"
    unk_id: int = UNK_ID
    pad_id: int = PAD_ID
    eos_id: int = EOS_ID

    def __init__(self, inner: BPETokenizer, *, with_mask: bool = False) -> None:
        self.inner = inner
        self.tokens = inner.vocabulary.tokens
        if with_mask:
            self.tokens = [*self.tokens, MASK_CHARACTER]
            self.mask_id = self.eos_id = len(self.tokens) - 1

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        vocab_size: int | None,
        min_frequency: int,
        *,
        with_mask: bool = False,
    ) -> Pieces:
        texts = _without_mask(texts) if with_mask else texts
        counts = count_words(_each_line(texts), mark_words)
        characters = alphabet(counts)
        size = 8000 if vocab_size is None else vocab_size
        special = len(SPECIAL_TOKENS) + with_mask
        if size < len(characters) + special:
            raise UserError(
                f"vocab_size={size} is too small for byte-pair encoding: the characters of the "
                f"training text alone need {len(characters) + special} tokens"
            )
        tokens, merges = learn_merges(counts, sorted(characters), size - special, min_frequency)
        inner = BPETokenizer(Vocabulary([*SPECIAL_TOKENS, *tokens]), merges)
        return cls(inner, with_mask=with_mask)

    @property
    def line_end_id(self) -> int | None:
        return EOS_ID

    def encode(self, text: str, where: str = "the text") -> Ids:
        if self.mask_id is None or MASK_CHARACTER not in text:
            return _of_lines(text, parts, self.inner.ids_of_parts, EOS_ID)
        found: list[int] = []
        for line in text.split("\n"):
            found += [*self._encode_line(line), EOS_ID]
        return np.array(found[:-1], dtype=np.int64)

    def _encode_line(self, line: str) -> list[int]:
        """A mask takes the place of words, so a space on either side of it is that between words.

        (It cannot be told from a mask that begins or ends within a word: a piece that goes on with
        a word has no text of its own.)
        """
        if self.mask_id is None or MASK_CHARACTER not in line:
            return self.inner.encode(line)
        found: list[int] = []
        first, *others = line.split(MASK_CHARACTER)
        found += self.inner.encode(first.removesuffix(" "))
        for position, part in enumerate(others, 1):
            inside = part.removesuffix(" ") if position < len(others) else part
            found += [self.mask_id, *self.inner.encode(inside.removeprefix(" "))]
        return found

    def decode(self, ids: Iterable[int]) -> str:
        return "\n".join(self._decode_line(line) for line in _lines(ids, EOS_ID))

    def _decode_line(self, line: list[int]) -> str:
        if self.mask_id is None or self.mask_id not in line:
            return self.inner.decode(line)
        text = ""
        for number, part in enumerate(_lines(line, self.mask_id)):
            if number:
                text += " " * (bool(text) and text[-1] != MASK_CHARACTER) + MASK_CHARACTER
            apart = number and part and self._begins_word(part[0])
            text += " " * bool(apart) + self.inner.decode(part)
        return text

    def _begins_word(self, piece: int) -> bool:
        token = self.tokens[piece]
        return token.startswith(START) and not token.startswith(START + JOINER)

    def labels(self, ids: Iterable[int]) -> list[str]:
        own = len(self.inner.vocabulary)
        return [self.inner.labels([i])[0] if i < own else self.tokens[i] for i in ids]

    def to_json(self) -> dict[str, Any]:
        described = {"format": FORMAT, "kind": self.kind, "tokenizer": self.inner.to_json()}
        return described if self.mask_id is None else {**described, "with_mask": True}


def _without_mask(texts: Iterable[str]) -> Iterator[str]:
    """Texts of a corpus; UserError if the character of the mask stands in one."""
    for text in texts:
        if MASK_CHARACTER in text:
            place = text.index(MASK_CHARACTER)
            raise UserError(
                f"the character {MASK_CHARACTER} stands for the mask and must not occur in "
                f"the corpus: {text[max(0, place - 30) : place + 30].strip()!r}"
            )
        yield text


def _lines(ids: Iterable[int], eos_id: int) -> Iterator[list[int]]:
    """Ids between those that are ``eos_id``."""
    line: list[int] = []
    for i in ids:
        if i == eos_id:
            yield line
            line = []
        else:
            line.append(int(i))
    yield line


def learn_tokenizer(
    kind: str, train: Read, everything: Read, vocab_size: int | None, min_frequency: int
) -> TextTokenizer:
    """A tokenizer of a corpus: characters of all its text, words and pieces of its training text.

    ``vocab_size`` (special tokens included; None: no limit, 8000 for bpe) and ``min_frequency`` do
    not apply to characters.
    """
    if kind == "char":
        return Characters.learn(everything())
    if kind == "bpe":
        return Pieces.learn(train(), vocab_size, min_frequency)
    return Words.learn(kind, train(), vocab_size, min_frequency)


def text_tokenizer_from_json(stored: Any, where: str) -> TextTokenizer:
    """The tokenizer that ``to_json`` described; UserError if ``stored`` is no such thing."""
    try:
        if stored["format"] != FORMAT:
            raise UserError(f"format {shortened(stored['format'])} is not known, only {FORMAT} is")
        kind = stored["kind"]
        if kind == "char":
            return Characters(stored["characters"], with_mask=bool(stored["with_mask"]))
        if kind in ("word", "whitespace") and all(isinstance(w, str) for w in stored["words"]):
            return Words(kind, stored["words"], stored_pattern(stored))
        if kind == "pretrained":
            from scratchlab.data.tokenizers.pretrained_tokenizer import PretrainedTokenizer

            return PretrainedTokenizer.from_json(stored)
        if kind == "bpe":
            inner = tokenizer_from_json(stored["tokenizer"], where)
            if isinstance(inner, BPETokenizer):
                return Pieces(inner, with_mask=bool(stored.get("with_mask", False)))
        raise ValueError(f"unknown kind {kind!r}, or words that are no text")
    except UserError as error:
        raise UserError(f"{where}: {error.message.removeprefix(f'{where}: ')}") from error
    except (KeyError, TypeError, ValueError) as error:
        problem = f"not a tokenizer of running text ({shortened(error)})"
        raise UserError(f"{where}: {problem}") from error


def write_text_tokenizer(folder: Path, tokenizer: TextTokenizer) -> None:
    """Put a tokenizer into a checkpoint's folder."""
    write_text(folder / FILE, json.dumps(tokenizer.to_json(), ensure_ascii=False, indent=0))


def read_text_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a checkpoint's folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        raise UserError(
            f"{path} is missing: the checkpoint belongs to no language model, or to one of another "
            "tokenizer"
        )
    return text_tokenizer_from_json(read_json(path), str(path))
