"""Exact match and token F1 of short answers, as SQuAD defines them (Rajpurkar et al. 2016).

Case, punctuation, articles and white space do not count; of several right answers the best counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """What of an answer counts."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact(said: str, right: Sequence[str]) -> bool:
    """Whether an answer is one of the right ones."""
    return any(normalised(said) == normalised(answer) for answer in right)


def f1(said: str, right: Sequence[str]) -> float:
    """2 P R / (P + R) of the words that an answer shares with the right one it is nearest to."""
    return max(_f1(normalised(said).split(), normalised(answer).split()) for answer in right)


def _f1(said: list[str], right: list[str]) -> float:
    if not said or not right:
        return float(said == right)
    shared = sum((Counter(said) & Counter(right)).values())
    return 2 * shared / (len(said) + len(right))
