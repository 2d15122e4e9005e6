"""Tests of differences: beside other implementations, by hand, and where there is none."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest
from scipy.stats import binomtest, permutation_test, ttest_rel

from scratchlab.evaluation.intervals import difference_of_shares, effects, student
from scratchlab.evaluation.rescoring import STATISTICS
from scratchlab.evaluation.rescoring.contract import Statistic
from scratchlab.reporting.compare import significance
from scratchlab.reporting.compare.significance import (
    holm,
    mcnemar,
    paired_bootstrap,
    permutation,
    randomisation,
    studentised_bootstrap,
)

WORDS = np.array(["the", "a", "cat", "sat", "on", "mat", "dog", "ran", "to", "red", "house"])


def systems(seed: int, n: int, better: float = 0.0) -> tuple[list[str], list[str], list[str]]:
    """References and what two systems wrote: each word exchanged with a chance of its own."""
    rng = np.random.default_rng(seed)
    references = [" ".join(rng.choice(WORDS, rng.integers(5, 15))) for _ in range(n)]

    def write(share: float) -> list[str]:
        return [
            " ".join(w if rng.random() > share else str(rng.choice(WORDS)) for w in text.split())
            for text in references
        ]

    return references, write(0.3), write(0.3 - better)


@pytest.mark.parametrize("better", [0.0, 0.03])
def test_p_of_bleu_and_chrf_are_sacrebleus_own(better: float) -> None:
    references, ours, theirs = systems(1, 150, better)
    metrics: dict[str, Any] = {"BLEU": BLEU(), "chrF2": CHRF()}
    made = {
        "BLEU": lambda said: STATISTICS["bleu"](
            {"said": said, "expected": references}, lowercase=False, tokenize="13a"
        ),
        "chrF2": lambda said: STATISTICS["chrf"](
            {"said": said, "expected": references}, lowercase=False, char_order=6, word_order=0
        ),
    }
    os.environ.pop("SACREBLEU_SEED", None)
    for kind, test, count in (("ar", randomisation, 2000), ("bs", paired_bootstrap, 1000)):
        named = [("theirs", theirs), ("ours", ours)]
        _, found = PairedTest(named, metrics, [references], test_type=kind, n_samples=count)()
        for name in metrics:
            expected: Any = found[name][1]
            figures: Any = made[name](ours), made[name](theirs)
            assert figures[0].value() == pytest.approx(expected.score)
            assert test([figures], count) == [pytest.approx(expected.p_value, abs=2 / count)]


def test_equal_systems_do_not_differ() -> None:
    references, ours, _ = systems(0, 20)
    said = {"said": ours, "expected": references}
    figure: Any = STATISTICS["chrf"](said, lowercase=False, char_order=6, word_order=0)
    both = [(figure, figure)]
    assert randomisation(both, 50) == paired_bootstrap(both, 50) == [1.0]
    assert studentised_bootstrap([np.zeros((2, 9))], [0.0, 0.1]) == [1.0, 0.0]
    assert mcnemar(np.ones(5), np.ones(5)) == 1.0


def test_randomisation_of_rouge_is_the_share_of_all_exchanges_counted_by_hand() -> None:
    ours, theirs = [40.0, 55, 30, 80, 10, 64], [35.0, 50, 31, 60, 12, 40]
    apart = np.array(ours) - np.array(theirs)
    observed = abs(apart.mean())
    every = [abs(np.mean(apart * signs)) for signs in itertools.product((1, -1), repeat=6)]
    exact = np.mean([value > observed + 1e-9 for value in every])
    made: Any = [STATISTICS["mean"]({"x": v}, column="x", highest=100.0) for v in (ours, theirs)]
    assert randomisation([tuple(made)]) == [pytest.approx(exact, abs=0.01)]


def test_mcnemar_is_the_binomial_test_of_the_questions_that_one_alone_answers() -> None:
    ours = np.array([1] * 30 + [1] * 9 + [0] * 2 + [0] * 9)
    theirs = np.array([1] * 30 + [0] * 9 + [1] * 2 + [0] * 9)
    # 2 · Σ_{k ≤ 2} C(11, k) / 2^11 = 2 · (1 + 11 + 55) / 2048
    assert mcnemar(ours, theirs) == pytest.approx(134 / 2048) == binomtest(9, 11, 0.5).pvalue
    # (9.5 - 2.5) / 52 ± 1.96 √(12 - 49 / 52) / 52
    assert difference_of_shares(ours, theirs) == pytest.approx((0.00928, 0.25995), abs=1e-5)


def test_the_bootstrap_of_t_agrees_with_students_t_where_differences_are_normal() -> None:
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.15, 0.5):
        apart = rng.normal(shift, 1, 120)
        expected = ttest_rel(apart, np.zeros(120)).pvalue
        (found,) = studentised_bootstrap([(apart - apart.mean())[None]], [float(apart.mean())])
        assert found == pytest.approx(expected, abs=0.02)


def test_differences_that_are_tested_together_have_the_p_that_each_has_alone() -> None:
    rng = np.random.default_rng(4)
    sets = [rng.normal(0, 1, (3, n)) for n in (30, 50)]
    sets = [part - part.mean(axis=1, keepdims=True) for part in sets]
    apart = [0.0, 0.3, -0.5]
    alone = [
        studentised_bootstrap([part[i : i + 1] for part in sets], [apart[i]])[0] for i in range(3)
    ]
    assert studentised_bootstrap(sets, apart) == alone and alone[0] == 1.0 and alone[2] < 0.1
    pairs: Any = []
    for better in (0.0, 0.05):
        references, *both = systems(5, 60, better)
        pairs.append(
            tuple(
                STATISTICS["bleu"]({"said": s, "expected": references}, lowercase=False,
                                   tokenize="13a")
                for s in both
            )
        )  # fmt: skip
    for test in (randomisation, paired_bootstrap):
        assert test(pairs, 300) == [test([pair], 300)[0] for pair in pairs]


def test_permutations_of_runs_are_scipys() -> None:
    ours, theirs = [3.1, 3.4, 3.2, 3.6], [2.9, 3.0, 3.3]

    def apart(a: Any, b: Any, axis: int = -1) -> Any:
        return np.mean(a, axis=axis) - np.mean(b, axis=axis)

    own = permutation_test((ours, theirs), apart, vectorized=True, n_resamples=np.inf)
    assert permutation(ours, theirs) == pytest.approx(own.pvalue)
    assert permutation([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx(2 / 20)


def test_many_runs_are_shared_out_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0, 1, 6), rng.normal(0.8, 1, 6)
    exact = permutation(ours, theirs)
    monkeypatch.setattr(significance, "SPLITS", 60)
    assert permutation(ours, theirs) == pytest.approx(exact, abs=0.15)


def test_holm_corrects_the_smallest_p_most() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


Pair = Callable[[np.random.Generator, int], tuple[Statistic, Statistic]]


def _bleu(rng: np.random.Generator, n: int) -> tuple[Statistic, Statistic]:
    references, ours, theirs = systems(int(rng.integers(1 << 30)), n)
    first, second = (
        STATISTICS["bleu"]({"said": s, "expected": references}, lowercase=False, tokenize="13a")
        for s in (ours, theirs)
    )
    return first, second


def _lines(rng: np.random.Generator, n: int) -> tuple[Statistic, Statistic]:
    targets = rng.integers(3, 40, n)
    hard = rng.gamma(8, 0.5, n)
    first, second = (
        STATISTICS["perplexity"](
            {"nats": targets * hard * rng.gamma(100, 0.01, n), "targets": targets}
        )
        for _ in range(2)
    )
    return first, second


def _values(rng: np.random.Generator, n: int) -> tuple[Statistic, Statistic]:
    truth, hard = rng.normal(0, 1, n), rng.normal(0, 0.5, n)
    first, second = (
        STATISTICS["error"](
            {"expected": truth, "said": truth + hard + rng.normal(0, 0.3, n)}, measure="rmse"
        )
        for _ in range(2)
    )
    return first, second


def _means(rng: np.random.Generator, n: int) -> tuple[Statistic, Statistic]:
    """Losses; where a few examples decide everything, intervals are wider than they need be."""
    hard = rng.gamma(2, 0.5, n)
    first, second = (
        STATISTICS["mean"]({"x": hard * rng.gamma(4, 0.25, n)}, column="x") for _ in range(2)
    )
    return first, second


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pair", "sizes"),
    [(_bleu, (20, 100)), (_lines, (10, 50, 200)), (_values, (20, 50, 200)), (_means, (20, 200))],
)
def test_intervals_and_p_of_differences_that_are_nought(
    pair: Pair, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intervals cover nought in 95 % of draws, and p is below 5 % in 5 % of them."""
    monkeypatch.setattr(significance, "TRIALS", 400)
    found = {}
    for n in sizes:
        rng, draws = np.random.default_rng(n), 2000 if pair is not _bleu else 500
        covered = called = 0
        for _ in range(draws):
            ours, theirs = pair(rng, n)
            (a, off), (b, other) = (effects(s, s.difference) for s in (ours, theirs))
            ends = student(a - b, [off[0] - other[0]])
            assert ends is not None
            covered += ends[0] <= 0 <= ends[1]
            if pair is not _bleu:
                spread = (off[0] - other[0]) * (n - 1)
                called += studentised_bootstrap([spread[None]], [a - b])[0] < 0.05
            else:
                figures: Any = ours, theirs
                called += randomisation([figures], 400)[0] < 0.05
        found[n] = 100 * covered / draws, 100 * called / draws
    slack = 1.5 if pair is not _bleu else 2.7  # of fewer draws
    assert all(abs(c - 95) <= slack and p <= 5 + slack for c, p in found.values()), found


@pytest.mark.slow
def test_the_difference_of_shares_is_covered_whatever_the_shares_are() -> None:
    rng, found = np.random.default_rng(0), {}
    for n in (10, 20, 50, 200):
        hits = 0
        for chances in rng.dirichlet((1, 1, 1, 1), 2000):
            both = rng.choice(4, n, p=chances)
            low, high = difference_of_shares((both < 2) * 1.0, (both % 2 == 0) * 1.0)
            hits += low <= chances[1] - chances[2] <= high
        found[n] = 100 * hits / 2000
    assert all(abs(share - 95) <= 1.5 for share in found.values()), found
