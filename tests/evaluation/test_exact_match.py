"""Shares of right answers: what counts as right, and their interval against scipy's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import binomtest

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.knowledge import BiographyQuestions
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.intervals import wilson
from scratchlab.evaluation.outputs.short_answers import ShortAnswers
from scratchlab.evaluation.text.exact_match import ExactMatch


@pytest.mark.parametrize(("hits", "n"), [(0, 25), (1, 500), (9, 500), (250, 500), (25, 25)])
def test_wilson_interval_is_scipys(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-5)


def test_an_interval_of_no_hit_has_a_width() -> None:
    assert wilson(0, 100)[1] > 0.03


@pytest.mark.parametrize(("tokenizer", "share"), [("word", 100), ("whitespace", 0)])
def test_answers_of_lower_cased_words_are_compared_lower_cased(
    tokenizer: str,
    share: float,
    make_context: Callable[..., EvaluationContext],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    people = {"people": 20, "train_questions": 9, "val_questions": 4, "test_questions": 4}
    config = BiographyQuestions.Config(tokenizer=tokenizer, **people)
    dataset = BiographyQuestions(config, DataContext(None, tmp_path))
    right = dataset.answers("test")
    said = ShortAnswers(dataset.questions("test"), right, [place.lower() for place in right])
    monkeypatch.setattr("scratchlab.evaluation.text.exact_match.short_answers", lambda _: said)
    found = ExactMatch(ExactMatch.Config()).evaluate(make_context(dataset=dataset, quick=True))
    assert found[0].value == share
