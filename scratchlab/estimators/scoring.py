"""Scores of any estimator on a split, and how one is built from a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from scratchlab.registry import find, require_packages

_SMALLEST = 1e-15  # a probability of 0 would make the log loss infinite


@runtime_checkable
class MeasuresItself(Protocol):
    """An estimator that tells its own loss (what it minimises) of other data."""

    def evaluate(self, *data: Any) -> dict[str, float]: ...


@runtime_checkable
class Probabilistic(Protocol):
    """A classifier that gives probabilities (scikit-learn's contract)."""

    def predict_proba(self, X: Any) -> np.ndarray: ...


def new_estimator(entry: Mapping[str, Any], seed: int, threads: int | None = None) -> Any:
    """The unfitted estimator that a checked section ``model`` describes.

    Options ``random_state`` and ``threads`` that are null take the run's ``seed`` and ``threads``.
    """
    part = find("model", str(entry["name"]))
    require_packages(part, "model")
    options = {name: value for name, value in entry.items() if name != "name"}
    if "threads" in options and options["threads"] is None:
        options["threads"] = threads
    if "random_state" in options and options["random_state"] is None:
        options["random_state"] = seed % 2**32  # the largest that scikit-learn takes
    return part.load()(**options)


def score(estimator: Any, arguments: tuple[Any, ...]) -> dict[str, float]:
    """Metrics of a fitted estimator on one split: ``loss`` and what else its kind has.

    An estimator with a method ``evaluate`` measures itself (its loss is what it minimises). For
    others ``loss`` is the mean log loss of classes (of estimators that give probabilities, else the
    share of errors) or the mean squared error of numbers.
    """
    if isinstance(estimator, MeasuresItself):
        return estimator.evaluate(*arguments)
    from sklearn.base import is_classifier  # seconds to import: networks do without

    X, y = arguments
    if is_classifier(estimator):
        return _class_scores(estimator, X, y)
    mse = float(np.mean((estimator.predict(X) - y) ** 2))
    return {"loss": mse, "rmse": math.sqrt(mse)}


def _class_scores(estimator: Any, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    gives_shares = isinstance(estimator, Probabilistic)
    if not gives_shares:
        accuracy = float(np.mean(estimator.predict(X) == y))
        return {"loss": 1 - accuracy, "accuracy": accuracy}
    shares = estimator.predict_proba(X)
    columns = np.searchsorted(estimator.classes_, y).clip(max=len(estimator.classes_) - 1)
    seen = estimator.classes_[columns] == y
    true = np.where(seen, shares[np.arange(len(y)), columns], 0.0)
    accuracy = float(np.mean(estimator.classes_[shares.argmax(axis=1)] == y))
    return {"loss": float(0 - np.log(true.clip(min=_SMALLEST)).mean()), "accuracy": accuracy}
