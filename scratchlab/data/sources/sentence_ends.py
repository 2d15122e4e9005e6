"""Where sentences end, in any script that says so by a mark.

Marks that also stand within sentences (the full stop of "e.g.") end one where white space follows
and then something that starts like a sentence: any letter that is not a small one, in Latin, Greek,
Cyrillic and scripts without case, or a figure. The marks of Chinese, Japanese and Hindi stand
nowhere else and need no space.
"""

from __future__ import annotations

import re
import unicodedata

_CERTAIN = re.compile(r"[。！？｡।॥]+[”’」』）»\"']*(?P<gap>\s*)(?=\S)")
# Behind the mark perhaps closing quotes; then perhaps opening ones.
_SURE = re.compile(
    r"(?P<mark>[.!?؟۔])[\"'”’)\]»]*(?P<gap>\s+)(?=(?P<quote>)(?:«\s)?[\"'“‘(\[«]*(?P<first>\w))"
)
_LOOSE = re.compile(r"(?P<mark>[.!?؟۔])[\"'”’)]*(?P<gap>\s+)(?=(?P<quote>[\"'“‘(«]?)(?P<first>\S))")


def starts_sentence(letter: str) -> bool:
    """Whether a sentence may begin with this letter or figure."""
    return letter.isdigit() or (letter.isalpha() and not letter.islower())


def split_sentences(text: str, *, loose: bool = False) -> list[str]:
    """The sentences of a text, without the white space between them.

    One letter before the full stop is taken for an initial or a part of "e.g.", unless ``loose``
    (then a quote, too, starts a sentence whatever follows it).
    """
    ends = [m.span("gap") for m in _CERTAIN.finditer(text)]
    for found in (_LOOSE if loose else _SURE).finditer(text):
        before = text[max(0, found.start() - 2) : found.start()]
        whole = loose or (len(before) == 2 and all(map(_in_word, before)))
        if whole and (found["quote"] or starts_sentence(found["first"])):
            ends.append(found.span("gap"))
    sentences, start = [], 0
    for first, last in sorted(ends):
        sentences.append(text[start:first])
        start = last
    return [*sentences, text[start:]]


def _in_word(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LNM"
