"""Figures of single examples: shares, means, counts, perplexities, errors of numbers."""

from __future__ import annotations

import math

import numpy as np

from scratchlab.evaluation.rescoring.contract import Columns, Sums, column, numbers
from scratchlab.evaluation.rescoring.scales import (
    LOG,
    LOG_LOG,
    PLAIN,
    R2,
    SKEWED,
    SKEWED_LOG,
    Floats,
    logit,
)

LEAST = 1e-300


def share(columns: Columns, *, factor: float = 1.0, where: str | None = None) -> Sums:
    """The share of examples whose answer is the one expected."""
    pairs = zip(column(columns, "said"), column(columns, "expected"), strict=True)
    right = np.array([float(said == expected) for said, expected in pairs])
    found = mean(dict(columns, right=right.tolist()), column="right", factor=factor, where=where)
    if where is None:
        found.shares = right
    else:
        found.shares = right[numbers(columns, where) > 0]
    return found


def mean(
    columns: Columns,
    *,
    column: str,
    factor: float = 1.0,
    where: str | None = None,
    highest: float = 0.0,
) -> Sums:
    """The mean of a column, over the examples ``where`` another one is true.

    ``highest``: the most that it can be, if it is something between nought and that.
    """
    values = factor * numbers(columns, column)
    counted = np.ones(len(values)) if where is None else numbers(columns, where)
    rows = np.stack([values * counted, counted], axis=1)
    if highest:
        scale = logit(float(highest))
        return Sums(rows, _ratio, scale, factor=factor, bounded_mean=where is None)
    return Sums(rows, _ratio, SKEWED_LOG if (values >= 0).all() else PLAIN, factor=factor)


def count(columns: Columns, *, column: str) -> Sums:
    """How many examples have something."""
    values = numbers(columns, column)
    found = Sums(values[:, None], lambda sums: sums[..., 0], factor=float(len(values)))
    found.shares = values if np.isin(values, (0, 1)).all() else None
    return found


def ratio(
    columns: Columns, *, above: str, below: str, factor: float = 1.0, highest: float = 0.0
) -> Sums:
    """The sum of one column by that of another; ``highest`` as of :func:`mean`."""
    rows = np.stack([factor * numbers(columns, above), numbers(columns, below)], axis=1)
    return Sums(rows, _ratio, logit(float(highest))) if highest else Sums(rows, _ratio, LOG, LOG)


def perplexity(columns: Columns, *, nats: str = "nats") -> Sums:
    """exp of all nats (of a column) by all targets."""
    rows = np.stack([numbers(columns, nats), numbers(columns, "targets")], axis=1)
    return Sums(rows, lambda sums: np.exp(_ratio(sums)), LOG_LOG, LOG)


def psnr(columns: Columns) -> Sums:
    """Decibels of the mean squared error of pixels, which run from 0 to 1."""
    errors = numbers(columns, "squared_error")
    rows = np.stack([errors, np.ones(len(errors))], axis=1)
    return Sums(rows, lambda sums: -10 * np.log10(np.maximum(_ratio(sums), LEAST)), SKEWED)


def error(columns: Columns, *, measure: str, where: str | None = None) -> Sums:
    """``mse``, ``rmse``, ``mae`` or ``r2`` of what was said against what was expected."""
    said, expected = numbers(columns, "said"), numbers(columns, "expected")
    counted = np.ones(len(said)) if where is None else numbers(columns, where)
    off = said - expected
    if measure == "r2":
        around = expected - expected.mean()  # which moves no difference, but keeps digits
        rows = np.stack([off**2, around, around**2, np.ones(len(off))], axis=1)
        return Sums(rows * counted[:, None], _r2, R2, R2)
    rows = np.stack([np.abs(off) if measure == "mae" else off**2, np.ones(len(off))], axis=1)
    root = measure == "rmse"
    score = (lambda sums: np.sqrt(_ratio(sums))) if root else _ratio
    return Sums(rows * counted[:, None], score, SKEWED_LOG, LOG)


def _ratio(sums: Floats) -> Floats:
    return sums[..., 0] / np.maximum(sums[..., 1], LEAST)


def _r2(sums: Floats) -> Floats:
    squared, total, squares, n = np.moveaxis(sums, -1, 0)
    spread = squares - total**2 / np.maximum(n, LEAST)
    return np.where(spread > 0, 1 - squared / np.maximum(spread, LEAST), math.nan)
