"""Documents cut into passages: pieces of so many words, each sharing some with the one before."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.documents.reading import Document

_WORD = re.compile(r"\S+")
HASH_BYTES = 16


@dataclass(frozen=True)
class Passages:
    """``texts`` that are searched (title first); ``owners`` [passages], rising: the number of the
    document of each."""

    texts: list[str]
    owners: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)


def cut(text: str, words: int | None, overlap: int = 0) -> list[str]:
    """Pieces of at most ``words`` words, the last perhaps shorter; what stands between words stays
    as it is. Each begins with the last ``overlap`` words of the one before."""
    places = [match.span() for match in _WORD.finditer(text)]
    if words is None or len(places) <= words:
        return [text]
    starts = range(0, len(places) - overlap, words - overlap)
    return [text[places[a][0] : places[min(a + words, len(places)) - 1][1]] for a in starts]


def passages_of(
    documents: Sequence[Document], words: int | None = None, overlap: int = 0
) -> Passages:
    """The passages of all documents, in their order; each begins with its document's title."""
    texts, owners = [], []
    for number, document in enumerate(documents):
        for piece in cut(document.text, words, overlap):
            texts.append(f"{document.title} {piece}".strip())
            owners.append(number)
    return Passages(texts, np.array(owners, dtype=np.int64))


def hashes(texts: Sequence[str]) -> NDArray[np.uint8]:
    """A hash of each text [texts, 16], by which it is known again."""
    found = [hashlib.blake2b(t.encode(), digest_size=HASH_BYTES).digest() for t in texts]
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, HASH_BYTES)
