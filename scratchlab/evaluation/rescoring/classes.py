"""Figures of classes: precision, recall and F1 over the classes, the area under the ROC curve."""

from __future__ import annotations

import numpy as np

from scratchlab.evaluation.rescoring.contract import Columns, Statistic, Sums, column, numbers
from scratchlab.evaluation.rescoring.scales import FISHER, UNIT, Floats

RARE = 10  # examples of a class: fewer may all be missing from another sample


def classes(columns: Columns, *, measure: str, weighted: bool = False) -> Sums:
    """``precision``, ``recall`` or ``f1``: a mean over the classes that occur, each counted alike
    or (``weighted``) by its examples.

    What is added up: of each class its hits, how often it was said, and its examples.
    """
    said, expected = column(columns, "said"), column(columns, "expected")
    names = {name: i for i, name in enumerate(sorted({*map(str, said), *map(str, expected)}))}
    one_hot = np.eye(len(names))
    predicted = one_hot[[names[str(name)] for name in said]]
    support = one_hot[[names[str(name)] for name in expected]]
    rows = np.concatenate([predicted * support, predicted, support], axis=1)

    def score(sums: Floats) -> Floats:
        hits, said_so, there = np.split(sums, 3, axis=-1)
        precision, recall = _share(hits, said_so), _share(hits, there)
        each = {"precision": precision, "recall": recall}.get(measure)
        if each is None:
            each = _share(2 * precision * recall, precision + recall)
        counted = there if weighted else ((said_so > 0) | (there > 0)).astype(np.float64)
        return _share((each * counted).sum(-1), counted.sum(-1))

    rarest = support.sum(axis=0)[support.any(axis=0)].min()
    return Sums(rows, score, UNIT, enough=bool(rarest >= RARE))


def _share(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


class Area(Statistic):
    """The area under the ROC curve: how often an example of the class is rated above another one
    (Mann and Whitney 1947), ties by half."""

    scale = UNIT

    def __init__(self, rating: Floats, positive: Floats) -> None:
        self.n = len(rating)
        self._order = np.argsort(rating, kind="stable")
        _, self._tie = np.unique(rating[self._order], return_inverse=True)
        self._starts = np.flatnonzero(np.diff(self._tie, prepend=-1))
        self._positive = positive[self._order]
        self.enough = min(positive.sum(), self.n - positive.sum()) >= 2 * RARE

    def of(self, weights: Floats) -> Floats:
        weights = weights[..., self._order]
        above, below = weights * self._positive, weights * (1 - self._positive)
        # Of each rating that occurs: the weight of both kinds, and of the others rated lower.
        high = np.add.reduceat(above, self._starts, axis=-1)
        same = np.add.reduceat(below, self._starts, axis=-1)
        lower = np.cumsum(same, axis=-1) - same
        pairs = above.sum(-1) * below.sum(-1)
        found = (high * (lower + same / 2)).sum(-1)
        return np.divide(found, pairs, out=np.full_like(found, 0.5), where=pairs > 0)

    def without_each(self) -> Floats:
        positive, tie = self._positive, self._tie
        same = np.add.reduceat(1 - positive, self._starts)
        alike = np.add.reduceat(positive, self._starts)
        below = (np.cumsum(same) - same + same / 2)[tie]
        above = (alike.sum() - np.cumsum(alike) + alike / 2)[tie]
        many, others = positive.sum(), (1 - positive).sum()
        won = (positive * below).sum()
        lost = np.where(positive > 0, below, above)
        pairs = np.where(positive > 0, (many - 1) * others, many * (others - 1))
        found = np.divide(won - lost, pairs, out=np.full(self.n, 0.5), where=pairs > 0)
        return found[np.argsort(self._order, kind="stable")]


def roc_auc(columns: Columns, *, positive: str) -> Area:
    """Of the class ``positive``, by the column ``rating``."""
    found = np.array([float(str(e) == positive) for e in column(columns, "expected")])
    return Area(numbers(columns, "rating"), found)


class RankCorrelation(Statistic):
    """Spearman's correlation of two columns: that of their ranks, ties at the middle of theirs."""

    scale = FISHER

    def __init__(self, first: Floats, second: Floats) -> None:
        self.n = len(first)
        self._columns = [_Ranked(first), _Ranked(second)]

    def of(self, weights: Floats) -> Floats:
        total = np.maximum(weights.sum(-1, keepdims=True), 1e-300)
        a, b = (ranked.of(weights) for ranked in self._columns)
        a = a - (weights * a).sum(-1, keepdims=True) / total
        b = b - (weights * b).sum(-1, keepdims=True) / total
        both = (weights * a * b).sum(-1)
        size = np.sqrt((weights * a * a).sum(-1) * (weights * b * b).sum(-1))
        return np.divide(both, size, out=np.zeros_like(both), where=size > 0)


class _Ranked:
    """A column whose ranks depend on how often each example counts."""

    def __init__(self, values: Floats) -> None:
        self._order = np.argsort(values, kind="stable")
        _, self._tie = np.unique(values[self._order], return_inverse=True)
        self._starts = np.flatnonzero(np.diff(self._tie, prepend=-1))
        self._back = np.argsort(self._order, kind="stable")

    def of(self, weights: Floats) -> Floats:
        tied = np.add.reduceat(weights[..., self._order], self._starts, axis=-1)
        ranks = np.cumsum(tied, axis=-1) - tied / 2
        return ranks[..., self._tie][..., self._back]


def spearman(columns: Columns) -> RankCorrelation:
    """Of what was said with what was expected."""
    return RankCorrelation(numbers(columns, "said"), numbers(columns, "expected"))
