"""Documents that are searched, and queries that say which of them should be found.

The split "train" holds the documents, "val" and "test" the queries. Nothing is learnt from queries:
those of "val" are for choosing settings, those of "test" for the figures.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext, Examples, Provenance, Spec
from scratchlab.data.documents.judged import Queries, nothing
from scratchlab.data.documents.passages import Passages, passages_of
from scratchlab.data.documents.reading import Document
from scratchlab.data.kinds.base import Kind


@dataclass
class SearchedDocuments:
    """A collection that was found, and the queries of its splits."""

    documents: list[Document]
    queries: dict[str, Queries]
    provenance: Provenance
    notes: list[str] = field(default_factory=list)


class RetrievalDataset(Kind):
    """A collection of documents with queries; ``config`` has the options of passages."""

    outputs = "ranked_passages"
    content_name = "documents"
    spec = Spec(task="retrieval", unit="passage")

    @classmethod
    @abstractmethod
    def locate(cls, config: Any, context: DataContext) -> SearchedDocuments:
        """Read documents and queries; UserError if there are none."""

    @property
    def notes(self) -> list[str]:
        return list(self.located.notes)

    @property
    def unmeasured(self) -> str:
        return "" if self.size("test") else "no queries are given (dataset.queries=FILE)"

    # --- what is searched -----------------------------------------------------------------------

    @property
    def documents(self) -> list[Document]:
        """The collection, in its order."""
        found: list[Document] = self.located.documents
        return found

    @functools.cached_property
    def passages(self) -> Passages:
        """What of it is ranked."""
        config = self.config
        return passages_of(self.documents, config.passage_words, config.passage_overlap)

    def queries(self, split: str) -> Queries:
        """The queries of "val" or "test"; none of "train"."""
        found: Queries = self.of_split({"train": nothing(), **self._queries}, split)
        return found

    @property
    def _queries(self) -> dict[str, Queries]:
        return {split: self.located.queries.get(split, nothing()) for split in ("val", "test")}

    def examples(self, split: str) -> Examples:
        return Examples((self.passages if split == "train" else self.queries(split),))

    # --- the contract ---------------------------------------------------------------------------

    def size(self, split: str) -> int:
        return len(self.documents) if split == "train" else len(self.queries(split))

    def contents(self, split: str) -> list[str]:
        if split == "train":
            return [document.whole for document in self.documents]
        return self.queries(split).texts

    def plan_epoch(self, split: str, shuffle: Any) -> Sequence[Any]:
        """No batches: a collection is indexed as a whole."""
        return ()

    def save_vocabulary(self, folder: Path) -> None:
        """An index holds what it needs itself."""
