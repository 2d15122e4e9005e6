"""What every registered estimator owes: scikit-learn's contract, its options, its saved state."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.base import BaseEstimator, is_classifier
from sklearn.datasets import load_diabetes, load_iris
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from scratchlab.estimators.protocol import IterativeEstimator, Saveable
from scratchlab.registry import parts

# Fewer trees, rounds and epochs than the defaults, since each check fits dozens of times.
SMALL: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 5},
    "random_forest_regressor": {"n_estimators": 5},
    "boosted_trees": {"n_rounds": 10},
    "boosted_trees_regressor": {"n_rounds": 20},
    "mlp": {"hidden": [32], "epochs": 30, "learning_rate": 0.01},
    "mlp_regressor": {"hidden": [32], "epochs": 30, "learning_rate": 0.01},
    "logistic": {"epochs": 50},
    "perceptron": {"epochs": 10},
    "stacking": {
        "folds": 2,
        "level0": {
            "tree": {"name": "decision_tree"},
            "line": {"name": "adaline", "epochs": 20},
        },
        "level1": {"name": "logistic", "epochs": 20},
    },
    "stacking_regressor": {
        "folds": 2,
        "level0": {
            "tree": {"name": "decision_tree_regressor"},
            "line": {"name": "linear"},
        },
    },
    "bagging": {"n_estimators": 5},
    "bagging_regressor": {"n_estimators": 5},
}
CLASSES = {
    name: cls
    for name, part in parts("estimator").items()
    if "word_vectors" not in part.facts["tasks"]  # these learn from text, not from rows
    and issubclass(cls := part.load(), BaseEstimator)
    and cls.__module__.startswith("scratchlab.")
}


def small(name: str) -> Any:
    return CLASSES[name](**SMALL.get(name, {}))


def data_for(estimator: Any) -> tuple[np.ndarray, np.ndarray]:
    """Standardised rows, as they are where none may be negative; three classes named by text, or
    numbers."""
    if is_classifier(estimator):
        X, y = load_iris(return_X_y=True)
        X = X if get_tags(estimator).input_tags.positive_only else (X - X.mean(0)) / X.std(0)
        return X, np.array(["setosa", "versicolor", "virginica"])[y]
    X, y = load_diabetes(return_X_y=True)
    return X[:150] / X.std(), y[:150]


def test_all_estimators_of_the_table_are_registered() -> None:
    assert set(CLASSES) >= {
        "perceptron",
        "adaline",
        "linear",
        "logistic",
        *(
            kind + of_numbers
            for kind in ("mlp", "bagging", "stacking", "random_forest", "boosted_trees")
            for of_numbers in ("", "_regressor")
        ),
    }


@pytest.mark.parametrize("name", CLASSES)
def test_estimator_passes_scikit_learns_checks(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(small(name), on_fail=None)
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed
    assert len(results) > 40


@pytest.mark.parametrize("name", CLASSES)
def test_config_declares_the_arguments_and_defaults_of_init(name: str) -> None:
    cls = CLASSES[name]
    arguments = list(inspect.signature(cls.__init__).parameters.values())[1:]
    fields = dataclasses.fields(cls.Config)
    assert [a.name for a in arguments] == [f.name for f in fields]
    defaults = cls.Config()
    for argument in arguments:
        declared = getattr(defaults, argument.name)
        # scikit-learn forbids mutable defaults: a tuple there is a list here
        shown = list(argument.default) if isinstance(argument.default, tuple) else argument.default
        assert shown == declared and type(shown) is type(declared), argument.name
    assert all(f.metadata["meaning"] for f in fields)
    assert [o.name for o in parts("estimator")[name].options] == [f.name for f in fields]


@pytest.mark.parametrize("name", CLASSES)
def test_a_saved_state_loaded_elsewhere_predicts_the_same_bits(name: str) -> None:
    estimator = small(name)
    X, y = data_for(estimator)
    estimator.fit(X, y)
    assert isinstance(estimator, Saveable)
    bytes_on_disk = save({k: np.ascontiguousarray(a) for k, a in estimator.get_state().items()})
    again = small(name).set_state(load(bytes_on_disk))
    assert np.array_equal(again.predict(X), estimator.predict(X))
    if hasattr(estimator, "predict_proba"):
        assert np.array_equal(again.predict_proba(X), estimator.predict_proba(X))
    assert again.n_features_in_ == X.shape[1]


ITERATIVE = [name for name, cls in CLASSES.items() if issubclass(cls, IterativeEstimator)]
RESUMED: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ITERATIVE),
    ("mlp", {"update": "momentum", "schedule": "cosine", "dtype": "float64"}),
    ("mlp", {"early_stopping": True, "patience": 3, "learning_rate": 0.05}),
    ("mlp_regressor", {"early_stopping": True, "batch_size": 1, "epochs": 6, "update": "sgd"}),
    ("logistic", {"update": "adam", "batch_size": 16}),
    ("linear", {"solver": "gradient", "batch_size": 8, "update": "adam", "epochs": 9}),
    ("adaline", {"batch_size": 1, "epochs": 10}),
]


@pytest.mark.parametrize(("name", "options"), RESUMED)
def test_stopping_after_any_epoch_and_going_on_gives_the_same_bits(
    name: str, options: dict[str, Any]
) -> None:
    def fresh() -> IterativeEstimator:
        return CLASSES[name](**SMALL.get(name, {}) | options)

    X, y = data_for(fresh())
    whole = fresh().fit(X, y)
    for cut in (0, 1, 4):
        first = fresh().start(X, y)
        while first.n_epochs_ < cut and not first.finished_:
            first.epoch(X, y)
        saved = load(save({k: np.ascontiguousarray(a) for k, a in first.get_state().items()}))
        second = fresh().set_state(saved)
        second.fit_epochs(X, y, resume=True)
        assert second.n_epochs_ == whole.n_epochs_
        mine, theirs = second.get_state(), whole.get_state()
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert np.array_equal(mine[key], theirs[key]), key


@pytest.mark.parametrize("name", ITERATIVE)
def test_an_outer_trainer_sees_every_epoch_and_may_stop(name: str) -> None:
    estimator = small(name)
    X, y = data_for(estimator)
    seen: list[tuple[int, dict[str, float]]] = []

    def on_epoch(number: int, metrics: dict[str, float]) -> bool:
        seen.append((number, metrics))
        return number == 3

    estimator.fit_epochs(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2], on_epoch=on_epoch)
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
    assert len(seen) == (1 if name == "linear" else 3)
    assert estimator.history_ == [metrics for _, metrics in seen]
    measured = estimator.evaluate(X[1::2], y[1::2])
    for key, value in measured.items():
        assert seen[-1][1][f"val_{key}"] == value
    if is_classifier(estimator):
        assert measured["accuracy"] == pytest.approx(estimator.score(X[1::2], y[1::2]))
    else:
        error = estimator.predict(X[1::2]) - y[1::2]
        assert measured["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_the_same_seed_gives_the_same_model(name: str) -> None:
    X, y = data_for(small(name))
    one, two = (small(name).fit(X, y).get_state() for _ in range(2))
    assert all(np.array_equal(one[key], two[key]) for key in one)
