"""Search through inverted lists by FAISS, for collections in which products with all are too slow.

Vectors are parted among the centres of a k-means clustering (Sivic & Zisserman 2003; Jégou, Douze &
Schmid 2011), and products are made with those of a query's nearest centres only. What lies with
other centres is missed; :func:`share_found` measures how much that is. The products of FAISS's
candidates are made again here, so that they are ordered as the exact search orders them, equal ones
by the number of the passage.

Centres and the list of each vector are kept as arrays: FAISS's own files are read without checks.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_info

from scratchlab.data.documents.nearest import MOST_QUERIES, Found, Nearest, Vectors, first
from scratchlab.errors import MissingPackageError, UserError

DEPTH = 1000  # passages that have a rank
SLACK = 8  # candidates beyond those that are wanted, for ties
POINTS_OF_A_LIST = 64  # from which its centre is learned
SEED = 1
CENTRES, LIST_OF = "list_centres", "list_of"


def require_faiss(sparse_rows: bool) -> None:
    """UserError if FAISS is not installed, or cannot search the rows of a representation."""
    if sparse_rows:
        raise UserError(
            "model.index=faiss: this representation makes sparse rows, which FAISS cannot search",
            "Leave model.index=exact, or choose representation=encoder or word_vectors.",
        )
    try:
        found = importlib.util.find_spec("faiss")
    except ValueError:  # its module is there without a specification
        found = None
    if found is None:
        raise MissingPackageError("faiss-cpu", "model.index=faiss", "search")


class InvertedLists(Nearest):
    """Passages as dense ``vectors`` [passages, d] in about √passages lists, of which ``probes``
    are looked through for a query.

    ``state``: what :meth:`get_state` gave; without it centres are learned here.
    """

    def __init__(
        self,
        vectors: Vectors,
        owners: NDArray[np.int64] | None,
        probes: int,
        state: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        require_faiss(sparse.issparse(vectors))
        super().__init__(np.ascontiguousarray(vectors, dtype=np.float32), owners)
        longest = float(np.linalg.norm(self.vectors, axis=1).max(initial=0))
        # How far a product that is added up in another order may lie, for a query of length 1.
        self.rounding = 8 * float(np.finfo(np.float32).eps) * math.sqrt(self.width) * longest
        state = state or {}
        self._index = self._built(state.get(CENTRES), state.get(LIST_OF))
        self._index.nprobe = min(probes, len(self.centres))

    def _built(self, centres: NDArray[Any] | None, list_of: NDArray[Any] | None) -> Any:
        """FAISS's index of the vectors; ValueError if kept lists are not theirs."""
        # FAISS is loaded after the threads of a run are set, and would take all cores.
        threads = max((pool["num_threads"] for pool in threadpool_info()), default=1)
        import faiss

        faiss.omp_set_num_threads(threads)
        fresh = centres is None or list_of is None
        lists = max(1, round(math.sqrt(self.size))) if centres is None else len(centres)
        quantizer = faiss.IndexFlatIP(self.width)
        index = faiss.IndexIVFFlat(quantizer, self.width, lists, faiss.METRIC_INNER_PRODUCT)
        if fresh:
            index.cp.seed, index.cp.min_points_per_centroid = SEED, 1
            index.cp.max_points_per_centroid = POINTS_OF_A_LIST
            index.train(self.vectors)
            kept: Any = quantizer.reconstruct_n(0, lists), quantizer.search(self.vectors, 1)[1]
        else:
            kept = centres, list_of
        self.centres = np.ascontiguousarray(kept[0], dtype=np.float32)
        self.list_of = np.ascontiguousarray(kept[1], dtype=np.int64).reshape(-1)
        if not fresh:
            self._check(lists)
            quantizer.add(self.centres)
            index.is_trained = True
        pointers = (faiss.swig_ptr(self.vectors), None, faiss.swig_ptr(self.list_of))
        index.add_core(self.size, *pointers)
        return index

    def _check(self, lists: int) -> None:
        if self.centres.shape != (lists, self.width) or not np.isfinite(self.centres).all():
            raise ValueError(f"the centres of its lists are {self.centres.shape}")
        if self.list_of.shape != (self.size,) or not lists:
            raise ValueError(f"{len(self.list_of)} of {self.size} passages are in lists")
        if self.list_of.min() < 0 or self.list_of.max() >= lists:
            raise ValueError("a passage is in a list that is not there")

    def get_state(self) -> dict[str, NDArray[Any]]:
        """The lists as arrays."""
        return {CENTRES: self.centres, LIST_OF: self.list_of.astype(np.int32)}

    def search(self, queries: Vectors, count: int) -> list[Found]:
        found: list[Found] = []
        for start in range(0, len(queries), MOST_QUERIES):
            block = np.ascontiguousarray(queries[start : start + MOST_QUERIES], dtype=np.float32)
            wanted = min(count + SLACK, self.size)
            found += [
                self._ordered(query, numbers, float(products[-1]), count)
                for query, products, numbers in zip(block, *self._index.search(block, wanted))
            ]
        return found

    def _ordered(
        self, query: NDArray[np.float32], numbers: NDArray[np.int64], last: float, count: int
    ) -> Found:
        """The best ``count`` of a query's candidates, of which FAISS gave the last one ``last``;
        more are asked for while others might be equal to the last that is wanted."""
        if not query.any():
            return numbers[:0], np.zeros(0, dtype=np.float32)
        rounding = self.rounding * float(np.linalg.norm(query))
        while True:
            every = len(numbers) == self.size or numbers[-1] < 0  # lists hold no more
            candidates = np.sort(numbers[numbers >= 0])
            products = (self.vectors[candidates] * query).sum(1)
            places, best = first(products, count)
            if every or len(best) < count or best[-1] > last + rounding:
                return candidates[places], best
            more, numbers = self._index.search(query[None], min(4 * len(numbers), self.size))
            last, numbers = float(more[0, -1]), numbers[0]

    def scores(self, queries: Vectors) -> Iterator[NDArray[np.float32]]:
        """As of the exact search, but -inf for all that is not among the first ``DEPTH``."""
        for numbers, products in self.search(queries, DEPTH):
            found = np.full(self.size, -np.inf, dtype=np.float32)
            found[numbers] = products
            yield found


def share_found(lists: InvertedLists, sample: int = 100, count: int = 10) -> float:
    """The share of the ``count`` passages nearest to a passage that are found, over a sample."""
    chosen = np.unique(np.linspace(0, lists.size - 1, min(sample, lists.size)).astype(int))
    queries, exact = lists.vectors[chosen], Nearest(lists.vectors)
    wanted, found = (near.search(queries, count + 1) for near in (exact, lists))
    shared = total = 0
    for own, (right, _), (numbers, _) in zip(chosen.tolist(), wanted, found):
        others = set(right.tolist()) - {own}
        shared, total = shared + len(others & set(numbers.tolist())), total + len(others)
    return shared / total if total else 1.0
