"""Collections to search: docstrings by their first lines (embedded), and the user's own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from scratchlab.data.batching.cache import Arrays, cached, content_key, pack_text, unpack_text
from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.documents.judged import (
    Judgement,
    Queries,
    attached,
    read_beir,
    read_judgements,
)
from scratchlab.data.documents.reading import (
    CollectionOptions,
    Document,
    PassageOptions,
    find_collection,
    is_beir,
    read_collection,
)
from scratchlab.data.kinds.retrieval import RetrievalDataset, SearchedDocuments
from scratchlab.data.sources.locating import own_file
from scratchlab.data.sources.reading import sha256_of
from scratchlab.data.splits.examples import split_off, text_key
from scratchlab.errors import UserError
from scratchlab.registry import option, register

HELD_OUT = {"val": 0.2}


@register("dataset", "docstring_retrieval", task="retrieval", sources=("embedded",),
          holds=("passages", "queries"))  # fmt: skip
class DocstringRetrieval(RetrievalDataset):
    """The first line of a docstring → its body, among those of Python, NumPy and scikit-learn.

    Of bodies that are near copies of each other only the first is in the collection, so that one
    document is right for each query. A tenth of them is asked for in "val", a tenth in "test".
    """

    @dataclass(frozen=True)
    class Config(PassageOptions):
        pass

    @classmethod
    def locate(cls, config: Config, context: DataContext) -> SearchedDocuments:
        return docstring_documents(context.cache)


def docstring_documents(cache: Path) -> SearchedDocuments:
    """Read once for each set of versions, since it takes seconds."""
    from scratchlab.data.generated.docstrings import VERSION

    versions = {name: version(name) for name in ("numpy", "scikit-learn")}
    key = content_key(python=sys.version, generator=VERSION, **versions)
    arrays = cached(cache, "docstring_retrieval", key, _docstring_arrays)
    names, bodies, summaries, splits = (
        unpack_text(arrays[column], arrays[f"{column}_offsets"]) for column in COLUMNS
    )
    queries = {}
    for split in ("val", "test"):
        own = [i for i, home in enumerate(splits) if home == split]
        queries[split] = Queries(
            [summaries[i] for i in own],
            [np.array([i], dtype=np.int64) for i in own],
            [np.ones(1, dtype=np.int64) for _ in own],
        )
    described = f"docstrings of Python {sys.version.split()[0]}, NumPy and scikit-learn"
    provenance = Provenance("embedded", described, {"docstring_retrieval": key})
    documents = [Document(name, body) for name, body in zip(names, bodies, strict=True)]
    return SearchedDocuments(documents, queries, provenance)


COLUMNS = ("name", "body", "summary", "split")


def _docstring_arrays() -> Arrays:
    from scratchlab.data.generated.docstrings import distinct_docstrings

    records = distinct_docstrings()
    arrays: Arrays = {}
    for column in COLUMNS:
        content, offsets = pack_text([str(dict(record)[column]) for record in records])
        arrays |= {column: content, f"{column}_offsets": offsets}
    return arrays


@register(
    "dataset", "documents", task="retrieval", sources=("files",), holds=("passages", "queries")
)
class OwnDocuments(RetrievalDataset):
    """Your own collection: lines, a column, a JSONL field, the files of a folder, BEIR's form.

    Queries that name their right documents measure the search; without them it is for use only.
    """

    @dataclass(frozen=True)
    class Config(CollectionOptions):
        queries: str | None = option(
            None,
            "JSONL, CSV or TSV of query and relevant (names of documents); null: what a folder of "
            "BEIR's form holds",
            path="data",
        )
        val_queries: str | None = option(
            None, "the same to choose settings on; null: a fifth of the queries", path="data"
        )

    @classmethod
    def locate(cls, config: Config, context: DataContext) -> SearchedDocuments:
        if config.path is None:
            raise UserError(
                "documents needs to know your collection",
                "Give dataset.path=FILE or dataset.path=FOLDER.",
            )
        path = find_collection(config.path, context.root)
        found = read_collection(path, config)
        judged: dict[str, list[Judgement]] = {}
        for split, name in (("test", config.queries), ("val", config.val_queries)):
            if name is not None:
                file = own_file(name, context.root)
                judged[split] = read_judgements(file)
                found.provenance.sha256[str(file)] = sha256_of(file)
            elif is_beir(path) and (of_folder := read_beir(path, split)):
                judged[split] = of_folder
        numbers = {document.name: i for i, document in enumerate(found.documents)}
        queries = {s: attached(rows, numbers, found.notes) for s, rows in judged.items()}
        if "test" in queries and "val" not in queries and len(queries["test"]) > 1:
            every = queries["test"]
            chosen = split_off([text_key(text) for text in every.texts], HELD_OUT)
            queries = {s: every.take(sorted(chosen[d])) for s, d in
                       (("val", "val"), ("test", "train"))}  # fmt: skip
        return SearchedDocuments(found.documents, queries, found.provenance, found.notes)
