"""What an index finds: the ranks of the right documents of a split, and passages for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.documents.index import Found, PassageIndex
from scratchlab.data.documents.judged import Queries
from scratchlab.data.documents.nearest import first, ranks_of
from scratchlab.data.kinds.retrieval import RetrievalDataset
from scratchlab.errors import UnansweredRows, UserError, shortened
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import LOGGER, Outputs, batched
from scratchlab.registry import register

SHOWN = 240  # characters of a passage
AS_SPELLED = " (they count as they are spelled; representation=encoder compares meanings)"
AGAIN = "Build the index again: train with the options of this run."


@dataclass(frozen=True)
class Ranked:
    """Queries with the ranks of their right documents (0: not ranked), and the first passages with
    their scores; ``unknown`` counts queries that share nothing with any passage."""

    queries: Queries
    ranks: list[NDArray[np.int64]]
    best: list[Found]
    unknown: int


def ranked_passages(context: EvaluationContext) -> Ranked:
    """What is found for the queries of the split (the first ``context.limit`` of them)."""
    found: Ranked = RankingPassages().of_split(context, limit=context.limit)
    return found


@register("outputs", "ranked_passages")
class RankingPassages(Outputs):
    """The passages of the index, best first."""

    def make(self, context: EvaluationContext, **how: Any) -> Ranked:
        dataset, index = _parts(context)
        every = dataset.queries(context.split)
        queries = every.take(range(len(every))[: how["limit"]])
        if not len(queries):
            raise UserError(f"the split {context.split!r} has no queries", dataset.unmeasured)
        if changed := index.changed(dataset.passages):
            raise UserError(changed, AGAIN)
        ranks, best, unknown = [], [], 0
        every_score = index.nearest.scores(index.queries(queries.texts))
        for scores, right in zip(every_score, queries.relevant, strict=True):
            ranks.append(ranks_of(index.nearest.of_documents(scores), right))
            best.append(first(scores, context.model.shown))
            unknown += not len(best[-1][0])
        return Ranked(queries, ranks, best, unknown)

    def of_lines(
        self, context: EvaluationContext, lines: Iterator[str], at_once: int
    ) -> Iterator[Iterable[str]]:
        """The best passages of each query, a line each: place, score, document, text.

        Raises:
            UnansweredRows: at the end, if a query shares no word with any passage; each such one
                was told of in its place.
        """
        dataset, index = _parts(context)
        if changed := index.changed(dataset.passages):
            LOGGER.warning("%s. %s", changed, AGAIN)
        total = refused = 0
        for group in batched(lines, at_once):
            found = index.search(group, context.model.shown, dataset.passages)
            for line, best in zip(group, found, strict=True):
                total += 1
                if line.strip() and not len(best[0]):
                    refused += 1
                    LOGGER.error(
                        "the collection holds none of the words of %s%s",
                        shortened(line),
                        AS_SPELLED if index.representation.sparse else "",
                    )
                yield [_shown(dataset, best)]
        if refused:
            raise UnansweredRows(f"{refused:,} of {total:,} queries found nothing")


def _parts(context: EvaluationContext) -> tuple[RetrievalDataset, PassageIndex]:
    """Collection and index; UserError if the data set is something else."""
    if not isinstance(context.dataset, RetrievalDataset):
        raise UserError("passages are ranked in a collection of documents", "dataset=documents")
    index: PassageIndex = context.model.index_
    return context.dataset, index


def _shown(dataset: RetrievalDataset, found: Found) -> str:
    """Passages as lines."""
    passages, lines = dataset.passages, []
    for place, (number, score) in enumerate(zip(*found, strict=True), 1):
        name = dataset.documents[passages.owners[number]].name
        text = " ".join(passages.texts[number].split())
        text = text if len(text) <= SHOWN else text[: SHOWN - 1].rstrip() + "…"
        lines.append(f"{place}  {score:.4f}  {name}  {text}")
    return "\n".join(lines)
