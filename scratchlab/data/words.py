"""Sentences to words and punctuation, and back.

Two ways back. *Marked* words carry a joiner wherever no space stood between two of them, so that
joining them gives the sentence back to the last character; a subword model is trained on these and
a word has one form wherever it stands (``homme`` and ``l'homme`` share it). *Plain* words carry no
marks; joining those follows the typographic habits of English and French and can only be close.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What counts as one word, tried in this order at each place:
#   an English clitic                  's  't  're  've  'm  'll  'd
#   letters elided by an apostrophe    l'  qu'  jusqu'   (a letter follows, and it is no clitic)
#   letters                            homme
#   digits                             2016
#   punctuation, once or repeated, with the narrow or no-break space that French puts before it
#   any other single character         (white space that is no plain space between words)
_CLITIC = r"['’](?:s|t|re|ve|m|ll|d)(?![^\W\d_])"
_ELISION = rf"[^\W\d_]+(?!{_CLITIC})['’](?=[^\W\d_])"
_PUNCTUATION = r"[\u00a0\u2009\u202f]?([^\w\s]|_)\3*"
_WORD = re.compile(
    rf"( ?)({_CLITIC}|{_ELISION}|[^\W\d_]+|\d+|{_PUNCTUATION}|[\s\S])", re.IGNORECASE
)
# For plain words a hyphen inside a word belongs to it (t-shirt, a-t-il), as does a decimal point.
_PLAIN_WORD = re.compile(
    rf"{_CLITIC}|{_ELISION}|[^\W_]+(?:[-‐‑][^\W_]+)*(?:[.,](?=\d)\d+)*|([^\w\s]|_)\1*",
    re.IGNORECASE,
)

JOINER = "\uffed"
START = "\u2581"
ESCAPE = "\uffee"
_MARKS = frozenset((JOINER, START, ESCAPE))
_ESCAPED = re.compile(f"{ESCAPE}(?:([0-9A-F]{{1,6}}){ESCAPE})?")
HEX_DIGITS = "0123456789ABCDEF"


def mark_words(text: str, known: frozenset[str] | None = None) -> list[str]:
    """The marked words of a sentence; each starts with ``START``.

    A character outside ``known`` (any character if None), a space that is no separator, and a mark
    that stands in the text itself are written as their code point between two ``ESCAPE``.
    """
    words: list[str] = []
    ends_open = True  # the word before ends in a letter or digit: a joiner goes to the next word
    for match in _WORD.finditer(text):
        gap, word = match.groups()[:2]
        if gap and not words:  # a sentence that starts with a space
            words.append(f"{START}{_escape(' ')}{JOINER}")
            gap = ""
        elif not gap and words:
            if word[0].isalnum() and not ends_open:
                words[-1] += JOINER
            else:
                gap = JOINER
        words.append(START + gap.strip() + _spell(word, known))
        ends_open = word[-1].isalnum()
    return words


def _escape(character: str) -> str:
    return f"{ESCAPE}{ord(character):X}{ESCAPE}"


def _spell(word: str, known: frozenset[str] | None) -> str:
    if known is None:
        plain = not (" " in word or _MARKS.intersection(word))
    else:
        plain = known.issuperset(word) and not _MARKS.intersection(word)
    if plain:
        return word
    return "".join(
        c if c != " " and c not in _MARKS and (known is None or c in known) else _escape(c)
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


def plain_words(text: str) -> list[str]:
    """The lower-cased words and punctuation of a sentence; white space is left out."""
    return [m.group(0) for m in _PLAIN_WORD.finditer(text.lower())]


_JOINED_LEFT = frozenset((",", ".", "...", "…", ")", "]", "}", "%", "!", "?", ";", ":", "”"))
_JOINED_RIGHT = frozenset(("(", "[", "{", "“", "$", "€", "£", "#", "@"))
_JOINED_BOTH = frozenset(("-", "/", "_"))
_CLITIC_ONLY = re.compile(_CLITIC + r"\Z", re.IGNORECASE)


def join_plain_words(words: Sequence[str]) -> str:
    """A sentence of plain words: punctuation and clitics joined to what they belong to.

    Straight double quotes open and close in turn. The text stays lower-cased: compare it with
    lower-cased references.
    """
    pieces: list[str] = []
    glue = True  # no space before the next word
    quoted = False
    for word in words:
        opens = word == '"' and not quoted
        closes = word == '"' and quoted
        quoted ^= word == '"'
        left = closes or word in _JOINED_LEFT or word in _JOINED_BOTH
        if not (glue or left or _CLITIC_ONLY.match(word)):
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
