"""One model with other seeds: what a comparison says where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from scratchlab.estimators.mlp import MLPClassifier
from scratchlab.reporting.compare.significance import permutation


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_rows_of_one_model_with_other_seeds_are_called_different_in_a_twentieth_of_cases() -> None:
    """Two hundred times five runs against five. (A single run against another is told apart more
    often, since two trained models do differ: the test over examples is about these two.)"""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order] / 16, y[order]
    scores = []
    for seed in range(2000):
        model = MLPClassifier(hidden=(8,), epochs=3, random_state=seed, learning_rate=0.01)
        scores.append(float((model.fit(X[:150], y[:150]).predict(X[1000:]) == y[1000:]).mean()))
    assert np.std(scores) > 0.01  # seeds do matter
    cases = np.array(scores).reshape(200, 10)
    called = np.mean([permutation(case[:5], case[5:]) < 0.05 for case in cases])
    assert 0.015 <= called <= 0.085, called  # 5 % ± 2.3 standard errors
