"""How well a collection is searched: recall, MRR, MAP and nDCG over the queries of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.intervals import give
from scratchlab.evaluation.outputs.ranked_passages import Ranked, ranked_passages
from scratchlab.evaluation.passages.metrics import (
    average_precision,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)
from scratchlab.evaluation.records import Records
from scratchlab.evaluation.rescoring import statistic
from scratchlab.figures.lines import Line, lines_with_bands
from scratchlab.registry import option, register

CURVE = (1, 2, 3, 5, 10, 20, 50, 100)


@register(
    "evaluator",
    "ranking",
    tasks=("retrieval",),
    measures={
        "mrr": "higher",
        "ndcg_at_10": "higher",
        "map": "higher",
        "recall_at_1": "higher",
        "recall_at_10": "higher",
        "recall_at_100": "higher",
        "unknown_queries": "lower",
    },
    data=("queries",),
)
class Ranking(Evaluator):
    """Means over the queries, with intervals; each query's own are kept in outputs/rankings.jsonl.

    A document that shares nothing with a query is not ranked (and not found), whatever its number.
    Documents rank by their best passage. nDCG's gains are the grades, as in trec_eval. MAP is left
    out where each query has one right document only: there it is MRR.
    """

    @dataclass(frozen=True)
    class Config:
        cutoffs: list[int] = option([1, 10, 100], "documents of each recall@k", min=1)
        ndcg_cutoff: int = option(10, "documents that nDCG looks at", min=1)
        count: int = option(12, "queries in the table of samples", min=1)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        found = ranked_passages(context)
        k = self.config.ndcg_cutoff
        graded = list(zip(found.ranks, found.queries.grades, strict=True))
        several = any(len(right) > 1 for right in found.queries.relevant)
        scores: dict[str, Any] = {
            "mrr": [reciprocal_rank(ranks) for ranks in found.ranks],
            f"ndcg_at_{k}": [ndcg_at(ranks, grades, k) for ranks, grades in graded],
            **({"map": [average_precision(ranks) for ranks in found.ranks]} if several else {}),
            **{
                f"recall_at_{k}": [recall_at(ranks, k) for ranks in found.ranks]
                for k in self.config.cutoffs
            },
        }
        dataset: Any = context.dataset
        names = [document.name for document in dataset.documents]
        kept = context.keep(
            "rankings",
            given=found.queries.texts,
            expected=[[names[n] for n in right.tolist()] for right in found.queries.relevant],
            said=[[names[dataset.passages.owners[n]] for n in best] for best, _ in found.best],
            ranks=[ranks.tolist() for ranks in found.ranks],
            **scores,
        )
        if not context.quick:
            self._show(context, found, kept)
        unknown = Measurement("unknown_queries", found.unknown, better="lower", n=len(found.ranks))
        return [*(measured(name, kept) for name in scores), unknown]

    def _show(self, context: EvaluationContext, found: Ranked, kept: Records) -> None:
        curve = [float(np.mean([recall_at(r, k) for r in found.ranks])) for k in CURVE]
        points = [[k, round(share, 6)] for k, share in zip(CURVE, curve, strict=True)]
        context.sink.table("recall_curve", ("documents looked at (k)", "recall@k"), points)
        context.sink.figure("recall_curve", recall_figure, curve, context.split)
        texts, rights, firsts = (kept.columns[name] for name in ("given", "expected", "said"))
        count = len(texts)
        shown = np.linspace(0, count - 1, min(self.config.count, count)).astype(int).tolist()
        context.sink.table(
            "ranking_samples",
            ("query", "right", "its rank", "found first"),
            [
                (texts[i], ", ".join(rights[i][:3]),
                 min(filter(None, found.ranks[i].tolist()), default=""),
                 firsts[i][0] if firsts[i] else "")
                for i in shown
            ],
        )  # fmt: skip


def measured(name: str, kept: Records) -> Measurement:
    """The mean of scores between 0 and 1, which were kept of each query."""
    values = kept.columns[name]
    found = Measurement(
        name,
        float(np.mean(values)),
        n=len(values),
        examples=kept.by("mean", column=name, highest=1),
    )
    give(found, statistic(found.examples, kept.columns))
    return found


def recall_figure(curve: Sequence[float], split: str) -> Any:
    """Recall over how many documents are looked at."""
    draw: Callable[..., Any] = lines_with_bands
    line = Line([str(k) for k in CURVE], list(curve), None, 0)
    title = f"Share of the right documents among the first k, split {split}"
    return draw({"recall@k": line}, "documents looked at (k)", "recall@k ↑", title)
