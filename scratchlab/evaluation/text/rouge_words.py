"""The words that ROUGE compares, by the script of the texts.

The rouge-score library knows a–z and 0–9 only: of two equal texts in Cyrillic, Chinese or Hindi
nothing is left to compare. It takes another tokenizer, which this module chooses.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

PLAIN = "a-z and 0-9 (the library's own)"
UNICODE = "Unicode words"
CHARACTERS = "Unicode words, single characters where a script has no spaces"
# A few names with accents leave a text what it is: its scores stay comparable with others'.
FOREIGN = 0.005
SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
JOINERS = "\u200c\u200d"  # within words of Persian and of Indic scripts


def words_of(texts: Iterable[str]) -> str:
    """Which words suit these texts: :data:`PLAIN`, :data:`UNICODE` or :data:`CHARACTERS`."""
    letters = foreign = spaceless = 0
    for text in texts:
        for character in text:
            if character.isascii():
                letters += character.isalpha()
            elif character.isalpha():
                letters, foreign = letters + 1, foreign + 1
                spaceless += _is_spaceless(character)
    if foreign <= FOREIGN * letters:
        return PLAIN
    return CHARACTERS if spaceless else UNICODE


def tokenizer(words: str) -> Any:
    """What the library is to be given: None for its own (which alone knows stems)."""
    return None if words == PLAIN else UnicodeWords()


class UnicodeWords:
    """Lower-cased runs of letters, marks and figures; characters of scripts without spaces alone.

    A combining mark stays with its letter.
    """

    def tokenize(self, text: str) -> list[str]:
        found: list[str] = []
        inside = False  # whether the next letter goes on with the last word
        for character in unicodedata.normalize("NFC", text.lower()):
            kind = unicodedata.category(character)[0]
            if kind == "M" and found:
                found[-1] += character
            elif kind not in "LN":
                inside = inside and character in JOINERS
            elif _is_spaceless(character):
                found.append(character)
                inside = False
            elif inside:
                found[-1] += character
            else:
                found.append(character)
                inside = True
        return found


def _is_spaceless(character: str) -> bool:
    return not character.isascii() and unicodedata.name(character, "").startswith(SPACELESS)
