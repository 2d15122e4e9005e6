"""The interval of a share of right answers, against scipy's."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from scratchlab.evaluation.intervals import wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 25), (1, 500), (9, 500), (250, 500), (25, 25)])
def test_wilson_interval_is_scipys(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-5)


def test_an_interval_of_no_hit_has_a_width() -> None:
    assert wilson(0, 100)[1] > 0.03
