"""Sentences to words and punctuation, and back.

Two ways back. *Marked* words carry a joiner wherever no space stood between two of them, so that
joining them gives the sentence back to the last character; a subword model is trained on these and
a word has one form wherever it stands (``homme`` and ``l'homme`` share it). *Plain* words carry no
marks; joining those follows the typographic habits of English and French and can only be close.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# Which pattern cuts a text into words. A tokenizer keeps the number that it was learned with, so
# that checkpoints go on reading text as they learned to (no number: 1, of before there were any).
#   1  a combining mark is a word of its own
#   2  it stays with its letter (decomposed é; Hindi, Thai, vowelled Arabic and Hebrew), and the
#      parts of an emoji stay together; all other text is cut as by 1
OLD_PATTERN, PATTERN = 1, 2

# What counts as one word, tried in this order at each place:
#   an English clitic                  's  't  're  've  'm  'll  'd
#   letters elided by an apostrophe    l'  qu'  jusqu'   (a letter follows, and it is no clitic)
#   letters                            homme
#   digits                             2016
#   punctuation, once or repeated, with the narrow or no-break space that French puts before it
#   any other single character         (white space that is no plain space between words)
_CLITIC = r"['’](?i:s|t|re|ve|m|ll|d)(?!<letter_or_mark>)"
_ELISION = r"<letter>++(?!<clitic>)['’](?=<letter>)"
_MARKED = (
    r"( ?)(<clitic>|<elision>|<letter>++|<digit>++|[\u00a0\u2009\u202f]?(<sign>)(?i:\3)*+|[\s\S])"
)
# For plain words a hyphen inside a word belongs to it (t-shirt, a-t-il), as does a decimal point.
_PLAIN = (
    r"<clitic>|<elision>"
    r"|<letter_or_digit>++(?:[-‐‑]<letter_or_digit>++)*+(?:[.,](?=<digit>)<digit>++)*+"
    r"|(<sign>)(?i:\1)*+"
)
# (Nothing is given back: a word of a million characters would otherwise take a million steps back.)
_CLASSES = {
    OLD_PATTERN: {
        "clitic": _CLITIC,
        "letter": r"[^\W\d_]",
        "letter_or_mark": r"[^\W\d_]",
        "digit": r"\d",
        "letter_or_digit": r"[^\W_]",
        "sign": r"[^\w\s]|_",
    },
    # The same classes in the words of the package regex, each with the marks that follow it
    # (joiners are marks here); flags and the parts of an emoji are one sign.
    PATTERN: {
        "clitic": _CLITIC,
        "letter": r"(?:[\p{L}\p{Nl}\p{No}][\p{M}\u200c\u200d]*+)",
        "letter_or_mark": r"[\p{L}\p{Nl}\p{No}\p{M}]",
        "digit": r"(?:\p{Nd}[\p{M}\u200c\u200d]*+)",
        "letter_or_digit": r"(?:[\p{L}\p{N}][\p{M}\u200c\u200d]*+)",
        "sign": r"(?![\p{L}\p{N}\s\x1c-\x1f])(?:\p{RI}{2}|<picture>(?:\u200d<picture>)*+"
        r"|(?s:.)[\p{M}\u200c\u200d]*+)",
        "picture": r"\p{ExtPict}[\p{M}\p{EMod}\U000e0020-\U000e007f]*+",
    },
}


def _expression(template: str, pattern: int) -> str:
    """The regular expression that a template is with the classes of a pattern."""
    for name, expression in {"elision": _ELISION, **_CLASSES[pattern]}.items():
        template = template.replace(f"<{name}>", expression)
    if pattern == OLD_PATTERN:  # the module re gives back quickly (and, before 3.11.5, not well)
        template = template.replace("++", "+").replace("*+", "*")
    return template


def plain_pattern(pattern: int) -> str:
    """The regular expression whose matches in a lower-cased text are its plain words."""
    return _expression(_PLAIN, pattern)


def marked_pattern(pattern: int) -> str:
    """The regular expression whose matches in a text are its words, each with the space before."""
    return _expression(_MARKED, pattern)


@functools.cache
def _compiled(template: str, pattern: int) -> Any:
    import regex

    template = _expression(template, pattern)
    if pattern == OLD_PATTERN:
        return re.compile(template, re.IGNORECASE)
    # Not all of it: capitals with a mark among their other cases (Ι, U+0345) are no marks.
    return regex.compile(template)


JOINER = "\uffed"
START = "\u2581"
ESCAPE = "\uffee"
_MARKS = frozenset((JOINER, START, ESCAPE))
_ESCAPED = re.compile(f"{ESCAPE}(?:([0-9A-F]{{1,6}}){ESCAPE})?")
HEX_DIGITS = "0123456789ABCDEF"
PARTS_AT_ONCE = 1 << 19  # different parts of a text that are kept in memory
COUNTED_AT_ONCE = 1 << 16


def mark_words(text: str, known: frozenset[str] | None = None, pattern: int = PATTERN) -> list[str]:
    """The marked words of a sentence; each starts with ``START``.

    A character outside ``known`` (any character if None), a space that is no separator, and a mark
    that stands in the text itself are written as their code point between two ``ESCAPE``.
    """
    if text.isalpha():  # most parts of a text
        return [START + _spell(text, known)]
    words: list[str] = []
    before = "a"  # the word before; if it ends in a letter or digit, a joiner goes to the next one
    for match in _compiled(_MARKED, pattern).finditer(text):
        gap, word = match.groups()[:2]
        if gap and not words:  # a sentence that starts with a space
            words.append(f"{START}{escape(' ')}{JOINER}")
            gap = ""
        elif not gap and words:
            if word[0].isalnum() and not _ends_open(before, pattern):
                words[-1] += JOINER
            else:
                gap = JOINER
        words.append(START + gap.strip() + _spell(word, known))
        before = word
    return words


def _ends_open(word: str, pattern: int) -> bool:
    if pattern > OLD_PATTERN:
        word = next((c for c in reversed(word) if not _is_mark(c)), word)
    return word[-1].isalnum()


def _is_mark(character: str) -> bool:
    return not character.isascii() and (
        unicodedata.category(character)[0] == "M" or character in "\u200c\u200d"
    )


def escape(character: str) -> str:
    """How a character without an id of its own is spelled."""
    return f"{ESCAPE}{ord(character):X}{ESCAPE}"


def _spell(word: str, known: frozenset[str] | None) -> str:
    if known is None:
        plain = not (" " in word or _MARKS.intersection(word))
    else:
        plain = known.issuperset(word) and not _MARKS.intersection(word)
    if plain:
        return word
    return "".join(
        c if c != " " and c not in _MARKS and (known is None or c in known) else escape(c)
        for c in word
    )


def unmark(text: str) -> str:
    """The sentence that marked words, written one after the other, stand for.

    Defined for any text, since a model may write marks where no sentence would have them.
    """
    text = text.replace(START + JOINER, "").replace(JOINER + START, "")
    text = text.replace(JOINER, "").replace(START, " ")
    text = text[1:] if text.startswith(" ") else text
    return _ESCAPED.sub(_unescape, text)


def piece_label(piece: str) -> str:
    """A piece of a marked word for people: ``sing`` starts a word, ``+ing`` goes on with it."""
    starts = piece.startswith(START)
    text = unmark(piece.removeprefix(START))
    if not text:
        return "▁" if starts else "+"
    return text.replace(" ", "␣") if starts else f"+{text}"


def _unescape(match: re.Match[str]) -> str:
    if match.group(1) is None:  # half an escape
        return ""
    code = int(match.group(1), 16)
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else ""


def plain_words(text: str, pattern: int = PATTERN) -> list[str]:
    """The lower-cased words and punctuation of a sentence; white space is left out."""
    text = text.lower()
    if text.isalpha():
        return [text]
    return [m.group(0) for m in _compiled(_PLAIN, pattern).finditer(text)]


_BETWEEN_WORDS = re.compile(r"(?<=[^ ]) (?=[^ ])")


def parts(text: str) -> list[str]:
    """A text cut at its single spaces: the words of the parts are the words of the text."""
    if "  " in text or text.startswith(" ") or text.endswith(" "):
        return _BETWEEN_WORDS.split(text)
    return text.split(" ")


def count_words(texts: Iterable[str], words: Callable[[str], list[str]]) -> Counter[str]:
    """How often each word occurs in texts, where ``words`` cuts a part of one.

    A part is cut once however often it occurs, which is what takes the time in a large text.
    """
    counts: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    held: list[str] = []
    for text in texts:
        held += parts(text)
        if len(held) > COUNTED_AT_ONCE:
            seen.update(held)
            held = []
            if len(seen) > PARTS_AT_ONCE:
                _count_into(counts, seen, words)
    seen.update(held)
    _count_into(counts, seen, words)
    return counts


def _count_into(
    counts: Counter[str], seen: Counter[str], words: Callable[[str], list[str]]
) -> None:
    for part, times in seen.items():
        for word in words(part):
            counts[word] += times
    seen.clear()


class Memory(dict[Any, Any]):
    """What was made of the first ``limit`` keys that were asked for; others are made each time."""

    def __init__(self, make: Callable[[Any], Any], limit: int = PARTS_AT_ONCE) -> None:
        super().__init__()
        self._make, self._limit = make, limit

    def __missing__(self, key: Any) -> Any:
        value = self._make(key)
        if len(self) < self._limit:
            self[key] = value
        return value


_JOINED_LEFT = frozenset((",", ".", "...", "…", ")", "]", "}", "%", "!", "?", ";", ":", "”"))
_JOINED_RIGHT = frozenset(("(", "[", "{", "“", "$", "€", "£", "#", "@"))
_JOINED_BOTH = frozenset(("-", "/", "_"))


def join_plain_words(words: Sequence[str]) -> str:
    """A sentence of plain words: punctuation and clitics joined to what they belong to.

    Straight double quotes open and close in turn. The text stays lower-cased: compare it with
    lower-cased references.
    """
    clitic = _compiled(_CLITIC, OLD_PATTERN)
    pieces: list[str] = []
    glue = True  # no space before the next word
    quoted = False
    for word in words:
        opens = word == '"' and not quoted
        closes = word == '"' and quoted
        quoted ^= word == '"'
        left = closes or word in _JOINED_LEFT or word in _JOINED_BOTH
        if not (glue or left or clitic.fullmatch(word)):
            pieces.append(" ")
        pieces.append(word)
        elided = len(word) > 1 and word[-1] in "'’" and word[0].isalpha()
        glue = opens or elided or word in _JOINED_RIGHT or word in _JOINED_BOTH
    return "".join(pieces)


def alphabet(texts: Iterable[str]) -> frozenset[str]:
    """The characters of texts that marked words may be spelled with, and those of marks."""
    seen: set[str] = set()
    for text in texts:
        seen.update(text)
    return frozenset(seen - {" "} | _MARKS | set(HEX_DIGITS))
