"""Scores of one ranking, from the ranks of the documents that are right for its query.

``ranks`` [right documents] count from 1; 0 stands for a document that is not ranked at all. All
scores lie between 0 and 1 (Manning, Raghavan & Schütze 2008, chapter 8; as trec_eval has them).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.int64]


def recall_at(ranks: Ranks, k: int) -> float:
    """The share of the right documents among the first ``k``."""
    return float(np.mean((ranks > 0) & (ranks <= k)))


def reciprocal_rank(ranks: Ranks) -> float:
    """1 / rank of the first right document; 0 if none is ranked (Voorhees 1999)."""
    ranked = ranks[ranks > 0]
    return 1 / int(ranked.min()) if len(ranked) else 0.0


def average_precision(ranks: Ranks) -> float:
    """The mean, over all right documents, of the precision where each stands; 0 for those that are
    not ranked."""
    ranked = np.sort(ranks[ranks > 0])
    return float(np.sum(np.arange(1, len(ranked) + 1) / ranked)) / len(ranks)


def ndcg_at(ranks: Ranks, grades: NDArray[np.int64], k: int) -> float:
    """Σ grade / log₂(1 + rank) over the first ``k``, divided by that of the best order (Järvelin &
    Kekäläinen 2002, with the grades themselves as gains)."""
    first = (ranks > 0) & (ranks <= k)
    gained = np.sum(grades[first] / np.log2(1 + ranks[first]))
    best = np.sort(grades)[::-1][:k]
    return float(gained / np.sum(best / np.log2(2 + np.arange(len(best)))))
