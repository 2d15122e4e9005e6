"""What a person wants to know of a collection that is searched: sizes, lengths, queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scratchlab.data.documents.reading import Document
from scratchlab.data.kinds.document_questions import DocumentQuestions
from scratchlab.data.kinds.retrieval import RetrievalDataset
from scratchlab.table import Table

SAMPLES = 5
SHOWN = 120  # characters of a document


def describe_retrieval(dataset: RetrievalDataset) -> list[Table]:
    """The documents with their lengths, and queries with what is right for them."""
    rows, samples = [], []
    for split in ("val", "test"):
        queries = dataset.queries(split)
        right = sum(map(len, queries.relevant)) / max(1, len(queries))
        words = np.mean([len(text.split()) for text in queries.texts]) if len(queries) else 0
        rows.append([split, f"{len(queries):,}", f"{words:.1f}", f"{right:.2f}"])
        for text, found in list(zip(queries.texts, queries.relevant, strict=True))[:SAMPLES]:
            first = dataset.documents[int(found[0])]
            samples.append([split, text, first.name, _shown(first)])
    columns = ["split", "queries", "words of a query", "right documents of each"]
    return [
        documents_table(dataset.documents, len(dataset.passages)),
        Table("queries", columns, rows),
        Table("the first queries", ["split", "query", "right document", "text"], samples),
    ]


def describe_document_questions(dataset: DocumentQuestions) -> list[Table]:
    """The documents, and questions with their answers."""
    rows = [[s, f"{dataset.size(s):,}"] for s in dataset.splits]
    samples = [
        [split, question, answer]
        for split in dataset.splits
        for question, answer in dataset.pairs[split][:SAMPLES]
    ]
    return [
        documents_table(dataset.documents, len(dataset.passages)),
        Table("questions", ["split", "questions"], rows),
        Table("the first questions", ["split", "question", "answer"], samples),
    ]


def documents_table(documents: Sequence[Document], passages: int) -> Table:
    """How many documents there are, how long, and in how many passages."""
    words = np.array([len(document.whole.split()) for document in documents])
    middle, high = np.percentile(words, (50, 95))
    lengths = f"{words.mean():.1f} / {middle:.0f} / {high:.0f} / {words.max():,}"
    columns = ["documents", "passages", "words: mean / median / 95 % / longest"]
    return Table("collection", columns, [[f"{len(documents):,}", f"{passages:,}", lengths]])


def _shown(document: Document) -> str:
    text = " ".join(document.text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1].rstrip() + "…"
