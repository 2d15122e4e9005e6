"""Text to ids and back: words, byte-pair encoding, characters.

============  =====================================  ============================================
tokenizer     one token is                           decoding gives
============  =====================================  ============================================
``word``      a lower-cased word or punctuation      lower-cased text, spaced by typographic habit
``bpe``       a piece of a word (Sennrich et al.,    the text to the last character; no character
              2016), learned by ``tokenizers``       is ever ``<unk>``
``char``      a character                            the text, but for characters never seen
============  =====================================  ============================================

BLEU of a ``word`` model compares lower-cased text (see :attr:`Tokenizer.lower_case`) and is not to
be compared with a cased score. A tokenizer is stored as JSON and is data only: opening one that a
stranger wrote runs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.config.reading import read_json
from scratchlab.data.tokenizers.bpe import Merges, learn_merges
from scratchlab.data.tokenizers.vocabulary import (
    EOS_ID,
    PAD_ID,
    SOS_ID,
    SPECIAL_TOKENS,
    UNK_ID,
    Vocabulary,
)
from scratchlab.data.tokenizers.words import (
    OLD_PATTERN,
    PATTERN,
    START,
    Memory,
    alphabet,
    count_words,
    join_plain_words,
    mark_words,
    parts,
    piece_label,
    plain_words,
    unmark,
)
from scratchlab.errors import UserError, shortened

FORMAT = 1
N_SPECIAL = len(SPECIAL_TOKENS)


class Tokenizer(ABC):
    """Turns text into ids (never those of padding and sentence ends) and back."""

    kind: ClassVar[str]
    unit: ClassVar[str]
    lower_case: ClassVar[bool] = False
    vocabulary: Vocabulary
    pattern: int = OLD_PATTERN  # how a text is cut into words (scratchlab.data.tokenizers.words)
    unk_id: int | None = UNK_ID
    pad_id: int = PAD_ID
    sos_id: int = SOS_ID
    eos_id: int = EOS_ID

    def __len__(self) -> int:
        return len(self.vocabulary)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens other than ``<unk>``."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; padding and sentence ends are left out, ``<unk>`` is written so."""

    def labels(self, ids: Iterable[int]) -> list[str]:
        """A printable name for each id."""
        return [self.vocabulary.tokens[i] for i in ids]

    def to_json(self) -> dict[str, Any]:
        """All that :func:`tokenizer_from_json` needs to make this tokenizer again."""
        tokens = self.vocabulary.tokens[N_SPECIAL:]
        described = {"format": FORMAT, "kind": self.kind, "tokens": tokens}
        return described if self.pattern == OLD_PATTERN else described | {"pattern": self.pattern}

    def _units(self, ids: Iterable[int]) -> list[str]:
        """The tokens of ids without padding and sentence ends."""
        tokens = self.vocabulary.tokens
        return [tokens[i] for i in ids if i >= N_SPECIAL or i == UNK_ID]


class WordTokenizer(Tokenizer):
    """Lower-cased words and punctuation; those seen less than ``min_frequency`` are ``<unk>``."""

    kind = "word"
    unit = "word"
    lower_case = True

    def __init__(self, vocabulary: Vocabulary, pattern: int = PATTERN) -> None:
        self.vocabulary, self.pattern = vocabulary, pattern

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, min_frequency: int) -> WordTokenizer:
        counts = count_words(texts, plain_words)
        return cls(Vocabulary.count(counts, vocab_size, min_frequency))

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.ids(plain_words(text, self.pattern))

    def decode(self, ids: Iterable[int]) -> str:
        return join_plain_words(self._units(ids))


class CharTokenizer(Tokenizer):
    """Characters as they are, the space among them."""

    kind = "char"
    unit = "character"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, min_frequency: int) -> CharTokenizer:
        characters = (c for t in texts for c in t)
        return cls(Vocabulary.count(characters, vocab_size, min_frequency))

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.ids(text)

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self._units(ids))

    def labels(self, ids: Iterable[int]) -> list[str]:
        return ["␣" if label == " " else label for label in super().labels(ids)]


class BPETokenizer(Tokenizer):
    """Byte-pair encoding over marked words (see :mod:`scratchlab.data.tokenizers.words`).

    Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units".
    The merges are learned by the ``tokenizers`` library and applied here, once for each distinct
    word, since BPE-dropout needs a procedure whose chance is seeded (:mod:`.bpe`).
    """

    kind = "bpe"
    unit = "subword"

    def __init__(
        self,
        vocabulary: Vocabulary,
        merges: Sequence[tuple[str, str]],
        pattern: int = PATTERN,
    ) -> None:
        self.vocabulary, self.pattern = vocabulary, pattern
        self.merges = Merges(vocabulary, merges)
        self._known = frozenset(t for t in vocabulary.tokens if len(t) == 1 and t != START)
        self._ids_of_words = Memory(self.merges.apply)
        self.ids_of_parts = Memory(self._encode_part)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, min_frequency: int) -> BPETokenizer:
        """Learn at most ``vocab_size`` tokens; the same texts give the same tokens.

        Every character of the texts becomes a token whatever ``min_frequency`` is; a merge is
        learned only from pairs seen at least that often.
        """
        counts = count_words(texts, mark_words)
        characters = sorted(alphabet(counts))
        if vocab_size < len(characters) + N_SPECIAL:
            raise UserError(
                f"vocab_size={vocab_size} is too small for byte-pair encoding: the characters of "
                f"the training text alone need {len(characters) + N_SPECIAL} tokens"
            )
        tokens, merges = learn_merges(counts, characters, vocab_size - N_SPECIAL, min_frequency)
        return cls(Vocabulary([*SPECIAL_TOKENS, *tokens]), merges)

    def words(self, text: str) -> list[str]:
        """The marked words of a text, spelled in characters that all have an id."""
        return mark_words(text, self._known, self.pattern)

    def encode(self, text: str) -> list[int]:
        return [i for part in parts(text) for i in self.ids_of_parts[part]]

    def _encode_part(self, part: str) -> tuple[int, ...]:
        return tuple(i for word in self.words(part) for i in self._ids_of_words[word])

    def decode(self, ids: Iterable[int]) -> str:
        return unmark("".join(self._units(ids)))

    def labels(self, ids: Iterable[int]) -> list[str]:
        tokens = self.vocabulary.tokens
        return [tokens[i] if i < N_SPECIAL else piece_label(tokens[i]) for i in ids]

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"merges": [list(pair) for pair in self.merges.pairs]}


TOKENIZERS: dict[str, type[WordTokenizer] | type[CharTokenizer] | type[BPETokenizer]] = {
    cls.kind: cls for cls in (WordTokenizer, CharTokenizer, BPETokenizer)
}


def tokenizer_from_json(stored: Any, where: str) -> Tokenizer:
    """The tokenizer that ``to_json`` described.

    Raises:
        UserError: ``stored`` (found at ``where``) is no description of a tokenizer.
    """
    try:
        if stored["format"] != FORMAT:
            raise UserError(f"format {shortened(stored['format'])} is not known, only {FORMAT} is")
        if stored["kind"] == "pretrained":
            from scratchlab.data.tokenizers.pair_tokenizer import PretrainedPairTokenizer

            return PretrainedPairTokenizer.from_json(stored)
        kind, tokens = stored["kind"], stored["tokens"]
        if kind not in TOKENIZERS or not all(isinstance(t, str) for t in tokens):
            raise ValueError(f"unknown kind {kind!r} or tokens that are no text")
        vocabulary = Vocabulary([*SPECIAL_TOKENS, *tokens])
        if kind == "char":
            return CharTokenizer(vocabulary)
        pattern = stored_pattern(stored)
        if kind == "word":
            return WordTokenizer(vocabulary, pattern)
        return BPETokenizer(vocabulary, [(a, b) for a, b in stored["merges"]], pattern)
    except UserError as error:
        raise UserError(f"{where}: {error.message.removeprefix(f'{where}: ')}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where}: not a tokenizer ({shortened(error)})") from error


def stored_pattern(stored: Mapping[str, Any]) -> int:
    """The pattern that a stored tokenizer cuts words with; ValueError if there is no such one."""
    pattern = stored.get("pattern", OLD_PATTERN)
    if isinstance(pattern, bool) or pattern not in (OLD_PATTERN, PATTERN):
        raise ValueError(f"unknown pattern {pattern!r}")
    return int(pattern)


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a JSON file."""
    return tokenizer_from_json(read_json(path), str(path))
