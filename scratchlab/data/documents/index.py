"""Passages under a representation, ready to be searched, kept and opened again.

A representation (:mod:`scratchlab.representations.contract`) is fitted on the passages and makes
rows of them and of queries; the score of a passage is the dot product of its row with the query's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scratchlab.data.documents.inverted_lists import InvertedLists, require_faiss
from scratchlab.data.documents.nearest import Found, Nearest, Vectors
from scratchlab.data.documents.passages import HASH_BYTES, Passages, hashes
from scratchlab.errors import UserError, number_of

REPRESENTATION = "representation."


class PassageIndex:
    """``hashes`` [passages, 16] are of the texts that were indexed, by which these are known again;
    ``nearest`` ranks them: exactly, or (``probes``) by that many of FAISS's inverted lists."""

    nearest: Nearest
    owners: NDArray[np.int64]
    hashes: NDArray[np.uint8]

    def __init__(self, representation: Any, probes: int | None = None) -> None:
        self.representation, self.probes = representation, probes
        if probes is not None:
            require_faiss(representation.sparse)

    def fit(self, passages: Passages) -> Self:
        """Index all passages; UserError if there is none."""
        if not len(passages):
            raise UserError("there is nothing to index", "A collection needs at least one text.")
        self.hashes = hashes(passages.texts)
        self._hold(self.representation.fit_transform(passages.texts), passages.owners)
        return self

    def _hold(
        self, vectors: Vectors, owners: NDArray[np.int64], state: Mapping[str, Any] | None = None
    ) -> None:
        rows: Any = sparse.csr_array(vectors) if sparse.issparse(vectors) else np.asarray(vectors)
        rows, self.owners = rows.astype(np.float32), owners
        if self.probes is None:
            self.nearest = Nearest(rows, owners)
        else:
            self.nearest = InvertedLists(rows, owners, self.probes, state)

    # --- searching --------------------------------------------------------------------------------

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Queries as rows [queries, d]."""
        return self.representation.transform_queries(texts).astype(np.float32)

    def search(self, texts: Sequence[str], count: int, passages: Passages) -> list[Found]:
        """Of each query the best of the passages that are there now, by their present numbers."""
        places = self.places(passages)
        gone = int((places < 0).sum())
        found = []
        for numbers, scores in self.nearest.search(self.queries(texts), count + gone):
            here = places[numbers] >= 0
            found.append((places[numbers][here][:count], scores[here][:count]))
        return found

    # --- what changed since -----------------------------------------------------------------------

    def places(self, passages: Passages) -> NDArray[np.int64]:
        """The present number of each passage that was indexed; -1: it is no longer there."""
        now = hashes(passages.texts)
        if np.array_equal(now, self.hashes):
            return np.arange(len(now))
        known = {row.tobytes(): place for place, row in enumerate(now)}
        return np.array([known.get(row.tobytes(), -1) for row in self.hashes], dtype=np.int64)

    def changed(self, passages: Passages) -> str:
        """What of the collection is no longer as it was indexed; "" if nothing is."""
        now = hashes(passages.texts)
        if np.array_equal(now, self.hashes):
            return ""
        before, after = ({row.tobytes() for row in rows} for rows in (self.hashes, now))
        return (
            "the documents have changed since the index was built: "
            f"{len(before - after):,} of {number_of(len(self.hashes), 'passage')} are no longer "
            f"there, {len(after - before):,} are new"
        )

    # --- keeping ----------------------------------------------------------------------------------

    def get_state(self) -> dict[str, NDArray[Any]]:
        """All of it as named arrays."""
        vectors = self.nearest.vectors
        held = {"vectors": vectors}
        if sparse.issparse(vectors):
            held = {
                "values": vectors.data,
                "columns": vectors.indices.astype(np.int32),
                "bounds": vectors.indptr.astype(np.int64),
                "width": np.array(vectors.shape[1]),
            }
        own = {"owners": self.owners, "hashes": self.hashes, **held, **self.nearest.get_state()}
        learnt = self.representation.get_state()
        return own | {f"{REPRESENTATION}{name}": array for name, array in learnt.items()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> Self:
        """Take a state back; ValueError if it does not hold together."""
        learnt = {
            name.removeprefix(REPRESENTATION): array
            for name, array in state.items()
            if name.startswith(REPRESENTATION)
        }
        self.representation.set_state(learnt)
        owners = np.array(state["owners"], dtype=np.int64)
        self.hashes = np.array(state["hashes"], dtype=np.uint8)
        if "vectors" in state:
            vectors: Any = np.array(state["vectors"], dtype=np.float32)
        else:
            parts = (state["values"], state["columns"], state["bounds"])
            vectors = sparse.csr_array(parts, shape=(len(owners), state["width"].item()))
            vectors.check_format(full_check=True)
        if vectors.ndim != 2 or vectors.shape[0] != len(owners) or not len(owners):
            raise ValueError(f"{len(owners)} passages have vectors of shape {vectors.shape}")
        if self.hashes.shape != (len(owners), HASH_BYTES):
            raise ValueError("the hashes of its passages are missing")
        if owners[0] != 0 or not np.isin(np.diff(owners), (0, 1)).all():
            raise ValueError("its passages are out of order")
        self._hold(vectors, owners, state)
        return self
