"""A search index as an estimator: the passages of a collection, ranked by a dot product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from scratchlab.data.documents.index import PassageIndex
from scratchlab.data.documents.inverted_lists import InvertedLists, share_found
from scratchlab.data.documents.judged import Queries
from scratchlab.data.documents.passages import Passages
from scratchlab.estimators.configured import Configured
from scratchlab.estimators.protocol import InputError, State
from scratchlab.registry import option, register


@register("estimator", "retriever", tasks=("retrieval",), loss="1 - MRR", represents=True)
class Retriever(Configured):
    """Ranks passages by the dot product of their vectors with the query's.

    ``representation`` is fitted on the passages; nothing is learnt from queries.
    """

    @dataclass(frozen=True)
    class Config:
        shown: int = option(5, "passages that predict prints for a query", min=1, max=1000)
        index: str = option(
            "exact",
            "exact: products with all passages; faiss: with those of the likeliest lists, which "
            "pays from a few 100,000 passages on and is for dense representations",
            choices=("exact", "faiss"),
        )
        probes: int = option(
            32, "lists that are looked through, of about √passages", min=1, when={"index": "faiss"}
        )

    shown: int
    index: str
    probes: int
    representation: Any = None
    index_: PassageIndex

    def search_under(self, representation: Any) -> None:
        """Take a representation; UserError if the index cannot search its rows."""
        self.representation = representation
        self._new()

    def fit(self, passages: Passages) -> Self:
        """Index passages."""
        self.index_ = self._new().fit(passages)
        return self

    def _new(self) -> PassageIndex:
        return PassageIndex(self.representation, self.probes if self.index == "faiss" else None)

    def evaluate(self, data: Passages | Queries) -> dict[str, float]:
        """Of queries the mean reciprocal rank of the first right document; of passages what share
        of the exact search FAISS finds."""
        nearest = self.index_.nearest
        if isinstance(data, Passages):
            if isinstance(nearest, InvertedLists):
                return {"found_of_nearest_10": share_found(nearest)}
            return {}
        found = nearest.ranks(self.index_.queries(data.texts), data.relevant)
        mrr = float(np.mean([1 / r[r > 0].min() if r.any() else 0.0 for r in found]))
        return {"loss": 1 - mrr, "mrr": mrr}

    def get_state(self) -> State:
        if not hasattr(self, "index_"):
            raise InputError("the Retriever is not trained", "call fit first")
        return self.index_.get_state()

    def set_state(self, state: State) -> Self:
        self.index_ = self._new().set_state(state)
        return self
