"""Which passages have the largest products with a query: exact search, in a fixed order of ties.

Products are made a block of queries at a time, so that the memory is bounded. A block has the same
shape however many queries are asked (rows of zeros fill it up), so that a query's products, to the
last bit, do not depend on what is asked beside it. Equal products are ranked by the number of the
passage. A product of nothing in common ranks nothing: a sparse 0 (no word is shared), and every
product of a query without any content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

AT_ONCE = 1 << 24  # products
MOST_QUERIES = 64  # of a block

Vectors = Any
"""[n, d]: a SciPy CSR matrix, or a NumPy array."""
Found = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Passages, best first, and their products with a query."""


class Nearest:
    """Passages as ``vectors`` [passages, d], ready to be searched.

    ``owners`` [passages], rising: the document of each passage; a document ranks as its best
    passage does. Without it every passage is a document.
    """

    def __init__(self, vectors: Vectors, owners: NDArray[np.int64] | None = None) -> None:
        self.vectors = vectors
        self.size, self.width = vectors.shape
        self.starts = (
            None if owners is None else np.flatnonzero(np.diff(owners, prepend=-1)).astype(np.int64)
        )
        self._by_feature = vectors.T.tocsr() if sparse.issparse(vectors) else vectors.T

    def scores(self, queries: Vectors) -> Iterator[NDArray[np.float32]]:
        """The products of each query with all passages [passages]; -inf where nothing is shared."""
        most = max(1, min(MOST_QUERIES, AT_ONCE // max(1, self.size)))
        for first in range(0, queries.shape[0], most):
            block = queries[first : first + most]
            yield from self._sparse(block) if sparse.issparse(block) else self._dense(block, most)

    def _sparse(self, block: Vectors) -> Iterator[NDArray[np.float32]]:
        found = (block @ self._by_feature).toarray().astype(np.float32)
        found[found == 0] = -np.inf
        yield from found

    def _dense(self, block: Vectors, rows: int) -> Iterator[NDArray[np.float32]]:
        filled = np.zeros((rows, self.width), dtype=np.float32)
        filled[: len(block)] = block
        found = filled @ self._by_feature
        found[~filled.any(axis=1)] = -np.inf
        yield from found[: len(block)]

    def get_state(self) -> dict[str, NDArray[Any]]:
        """What the search knows beside the vectors."""
        return {}

    def search(self, queries: Vectors, count: int) -> list[Found]:
        """Of each query the numbers of its best passages and their products, best first."""
        return [first(scores, count) for scores in self.scores(queries)]

    def ranks(
        self, queries: Vectors, wanted: Sequence[NDArray[np.int64]]
    ) -> list[NDArray[np.int64]]:
        """Of each query the ranks, from 1, of the documents that are wanted; 0: not ranked."""
        return [
            ranks_of(self.of_documents(scores), numbers)
            for scores, numbers in zip(self.scores(queries), wanted, strict=True)
        ]

    def of_documents(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The score of each document: that of its best passage."""
        return scores if self.starts is None else np.maximum.reduceat(scores, self.starts)


def first(scores: NDArray[np.float32], count: int) -> Found:
    """The numbers of the ``count`` largest scores and these, largest first, equal ones by their
    number."""
    count = min(count, len(scores))
    if not count:
        return np.zeros(0, dtype=np.int64), scores[:0]
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    chosen = np.flatnonzero((scores >= least) & (scores > -np.inf))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:count]]
    return chosen, scores[chosen]


def ranks_of(scores: NDArray[np.float32], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of some in the order of :func:`first`, from 1; 0 for what is not ranked."""
    found = np.zeros(len(numbers), dtype=np.int64)
    for place, number in enumerate(numbers.tolist()):
        own = scores[number]
        if own > -np.inf:
            above = int((scores > own).sum()) + int((scores[:number] == own).sum())
            found[place] = 1 + above
    return found
