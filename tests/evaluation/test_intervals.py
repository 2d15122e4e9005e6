"""Confidence intervals that stay within what a score can be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from scratchlab.evaluation.intervals import BOOTSTRAP, BOUNDED, mean_interval, wilson
from scratchlab.evaluation.text.rouge import rouge_measurements


@pytest.mark.parametrize(("hits", "n"), [(0, 25), (3, 25), (25, 25), (199, 200)])
def test_the_interval_of_a_share_is_wilsons(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert 0 <= wilson(hits, n)[0] <= hits / n <= wilson(hits, n)[1] <= 1


def test_the_interval_of_a_mean_is_that_of_the_bootstrap_and_the_same_each_time() -> None:
    scores = np.random.default_rng(0).beta(1, 9, 80) * 100
    low, high, how = mean_interval(scores, 100.0)
    other = bootstrap((scores,), np.mean, method="percentile", random_state=1).confidence_interval
    assert (low, high) == pytest.approx((other.low, other.high), abs=0.6)
    assert how == BOOTSTRAP and mean_interval(scores, 100.0) == (low, high, how)


def test_scores_that_are_all_nought_leave_room_above() -> None:
    low, high, how = mean_interval(np.zeros(60), 100.0)
    assert low == 0 and high == pytest.approx(100 * wilson(0, 60)[1]) and high > 5
    assert how == BOUNDED
    few = mean_interval(np.array([0.0, 40.0]), 100.0)
    assert 0 <= few[0] < 20 < few[1] <= 100 and few[2] == BOUNDED


def test_rouge_of_texts_without_a_common_pair_of_words_is_not_certain() -> None:
    scores = np.column_stack([np.linspace(0, 50, 12), np.zeros(12), np.full(12, 9.0), np.ones(12)])
    found = {m.name: m for m in rouge_measurements(scores, "", "test", {})}
    assert found["rouge2"].value == 0 and found["rouge2"].low == 0
    assert (found["rouge2"].high or 0) > 20 and found["rouge2"].spread is None
    assert all((m.low or 0) <= m.value <= (m.high or 0) for m in found.values())
