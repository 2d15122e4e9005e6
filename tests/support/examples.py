"""Examples that Hypothesis draws: the same ones every time, few by default and many when slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings


def few_and_many(few: int, many: int) -> pytest.MarkDecorator:
    """The argument ``number`` of a test: ``few``, and ``many`` among the slow tests."""
    slow = pytest.param(many, marks=pytest.mark.slow)
    return pytest.mark.parametrize("number", [few, slow])


def of_examples(number: int) -> Callable[[Any], Any]:
    """Try ``number`` examples, which depend on nothing but the test; keep no record of them."""
    unwanted = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
    return settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=unwanted,
    )
