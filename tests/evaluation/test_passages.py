"""Scores of rankings and of short answers: numbers worked out by hand, and other programs'."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from scratchlab.evaluation.outputs.cited_answers import first_lines, stands_in
from scratchlab.evaluation.passages.metrics import (
    average_precision,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)
from scratchlab.evaluation.passages.squad import exact, f1


def test_scores_of_a_ranking_are_those_worked_out_by_hand() -> None:
    ranks, grades = np.array([2, 5, 0, 11]), np.array([1, 3, 1, 2])  # one is not ranked at all
    assert recall_at(ranks, 1) == 0
    assert recall_at(ranks, 5) == 0.5
    assert recall_at(ranks, 100) == 0.75
    assert reciprocal_rank(ranks) == 0.5
    assert average_precision(ranks) == pytest.approx((1 / 2 + 2 / 5 + 3 / 11) / 4)
    gained = 1 / math.log2(3) + 3 / math.log2(6)
    best = 3 / 1 + 2 / math.log2(3) + 1 / 2 + 1 / math.log2(5)
    assert ndcg_at(ranks, grades, 10) == pytest.approx(gained / best)
    nothing = np.array([0, 0])
    scores = (recall_at(nothing, 9), reciprocal_rank(nothing), average_precision(nothing))
    assert scores == (0, 0, 0) and ndcg_at(nothing, np.array([1, 1]), 10) == 0
    assert ndcg_at(np.array([1, 2]), np.array([2, 1]), 10) == 1


def test_scores_of_a_ranking_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        scores = random.permutation(40).astype(float)
        grades = random.integers(0, 4, 40) * (random.random(40) < 0.2)
        right = np.flatnonzero(grades)
        if not len(right):
            continue
        order = np.argsort(-scores)
        ranks = 1 + np.argsort(order)[right]
        found = ndcg_at(ranks, grades[right], 10)
        assert found == pytest.approx(ndcg_score(grades[None], scores[None], k=10))
        assert average_precision(ranks) == pytest.approx(
            average_precision_score(grades > 0, scores)
        )
        hits = grades[order] > 0
        assert recall_at(ranks, 7) == pytest.approx(hits[:7].sum() / hits.sum())
        assert reciprocal_rank(ranks) == pytest.approx(1 / (1 + np.argmax(hits)))


@pytest.mark.parametrize(
    ("said", "right", "match", "share"),
    [
        ("The  Ada Lovelace.", ["ada lovelace"], True, 1.0),
        ("'utf-8'", ["utf8"], True, 1.0),
        ("Ada", ["Ada Lovelace"], False, 2 / 3),
        ("Ada of London", ["Ada Lovelace", "London"], False, 0.5),
        ("Ada Ada", ["Ada Lovelace"], False, 0.5),
        ("", ["x"], False, 0.0),
        ("the", ["a"], True, 1.0),
    ],
)
def test_answers_are_compared_as_squad_compares_them(
    said: str, right: list[str], match: bool, share: float
) -> None:
    assert exact(said, right) is match
    assert f1(said, right) == pytest.approx(share)


def test_an_answer_stands_in_a_text_if_its_words_follow_each_other_there() -> None:
    text = "heapq.nlargest(n, iterable, key=None)\nFind the n largest 'utf-8' elements."
    assert stands_in("heapq", text) and stands_in("'UTF-8'", text) and stands_in("key=None", text)
    assert not stands_in("large", text) and not stands_in("largest n", text)
    assert not stands_in("...", text)
    assert first_lines(["\n heapq \nand so on", ""]) == ["heapq", ""]
