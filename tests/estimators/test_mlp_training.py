"""What the MLPs' options do: batches, schedules, early stopping, scaled and several targets."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as TheirClassifier

from scratchlab.errors import TrainingError, UserError
from scratchlab.estimators.logistic import LogisticRegression
from scratchlab.estimators.mlp import MLPClassifier, MLPRegressor
from scratchlab.estimators.protocol import InputError


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=0)


@pytest.mark.parametrize("update", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_every_update_rule_and_activation_learns_the_digits(update: str, activation: str) -> None:
    X, X_test, y, y_test = digits()
    rate = {"sgd": 0.5, "momentum": 0.1, "adam": 0.01}[update]
    model = MLPClassifier(
        hidden=[32], activation=activation, update=update, learning_rate=rate, epochs=20
    ).fit(X, y)
    assert model.score(X_test, y_test) > 0.92
    assert model.history_[-1]["loss"] < 0.3 * model.history_[0]["loss"]


@pytest.mark.parametrize(
    ("batch_size", "epochs", "rate"), [(0, 60, 0.02), (32, 10, 0.005), (1, 1, 0.001)]
)
def test_full_mini_and_single_row_batches_all_learn(
    batch_size: int, epochs: int, rate: float
) -> None:
    X, X_test, y, y_test = digits()
    model = MLPClassifier(
        hidden=[32], batch_size=batch_size, epochs=epochs, learning_rate=rate
    ).fit(X, y)
    assert model.score(X_test, y_test) > 0.85


def test_without_hidden_layers_it_is_logistic_regression() -> None:
    X, _, y, _ = digits()
    X, y = X[:300], y[:300]
    network = MLPClassifier(
        hidden=[], batch_size=0, update="momentum", learning_rate=0.5, epochs=4000, l2=0.02
    )
    network.set_params(dtype="float64").fit(X, y)
    regression = LogisticRegression(l2=0.02, epochs=4000, tol=1e-8).fit(X, y)
    assert np.abs(network.coef_ - regression.coef_).max() < 1e-5


def test_accuracy_is_that_of_scikit_learns_network() -> None:
    X, X_test, y, y_test = digits()
    ours, theirs = [], []
    for seed in range(3):
        ours.append(
            MLPClassifier(hidden=[32], epochs=40, l2=1e-4 / 64, random_state=seed)
            .fit(X, y)
            .score(X_test, y_test)
        )
        other = TheirClassifier((32,), batch_size=64, max_iter=40, tol=0, random_state=seed)
        with pytest.warns(UserWarning):
            theirs.append(other.fit(X, y).score(X_test, y_test))
    assert np.mean(ours) > np.mean(theirs) - 0.01


def test_early_stopping_keeps_the_best_parameters_of_the_held_out_rows() -> None:
    X, _, y, _ = digits()
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(len(y)) < 0.3, rng.integers(0, 10, len(y)), y)
    model = MLPClassifier(
        hidden=[64], early_stopping=True, patience=5, epochs=200, learning_rate=0.01
    ).fit(X, noisy)
    scores = [metrics["held_out_accuracy"] for metrics in model.history_]
    best = int(np.argmax(scores))
    assert model.n_epochs_ == best + 1 + 5 < 200
    held_out = model.get_state()["held_out"]
    assert len(held_out) == int(np.ceil(0.1 * len(y)))
    assert np.mean(model.predict(X[held_out]) == noisy[held_out]) == pytest.approx(max(scores))
    counts = np.bincount(noisy[held_out], minlength=10)
    assert np.abs(counts - np.bincount(noisy) / 10).max() <= 1


def test_held_out_rows_are_never_learned_from() -> None:
    X, _, y, _ = digits()
    options = {"hidden": [16], "early_stopping": True, "epochs": 2, "patience": 50}
    model = MLPClassifier(**options).fit(X, y)
    changed = y.copy()
    held_out = model.get_state()["held_out"]
    other = MLPClassifier(**options).start(X, y)
    changed[held_out] = (changed[held_out] + 1) % 10
    other.epoch(X, changed)
    same = MLPClassifier(**options).start(X, y)
    same.epoch(X, y)
    assert np.array_equal(other.network_.theta, same.network_.theta)


def test_schedules_lower_the_rate_to_a_hundredth() -> None:
    X, _, y, _ = digits()
    steps = {}
    for schedule in ("constant", "linear", "cosine"):
        model = MLPClassifier(hidden=[8], update="sgd", schedule=schedule, epochs=10)
        model.start(X, y)
        rates = []
        for done in range(11):
            model.n_epochs_ = done
            rates.append(model._rate_at(0, 10) / 0.001)
        steps[schedule] = rates
    assert steps["constant"] == [1.0] * 11
    assert steps["linear"] == pytest.approx(np.linspace(1, 0.01, 11))
    assert steps["cosine"][0] == 1 and steps["cosine"][5] == pytest.approx(0.505)
    assert steps["cosine"][10] == pytest.approx(0.01)


def test_regression_learns_in_the_targets_own_units() -> None:
    X, y = load_diabetes(return_X_y=True)
    X = X / X.std()
    for scale in (1.0, 1e6):
        model = MLPRegressor(hidden=[16], epochs=60, l2=0.03, learning_rate=0.01).fit(X, y * scale)
        rmse = np.sqrt(np.mean((model.predict(X) - y * scale) ** 2)) / scale
        assert 40 < rmse < 60
        assert model.evaluate(X, y * scale)["rmse"] / scale == pytest.approx(rmse, rel=1e-4)


def test_a_regressor_of_several_targets_returns_a_column_for_each() -> None:
    X, y = load_diabetes(return_X_y=True)
    X = X / X.std()
    Y = np.column_stack([y, -3 * y + 7])
    found = MLPRegressor(hidden=[16], epochs=60, learning_rate=0.01).fit(X, Y).predict(X)
    assert found.shape == Y.shape
    assert np.corrcoef(found[:, 0], -found[:, 1])[0, 1] > 0.99


def test_predictions_do_not_depend_on_how_many_rows_are_asked_for() -> None:
    X, X_test, y, _ = digits()
    model = MLPClassifier(hidden=[32], epochs=3).fit(X, y)
    whole = model.predict_proba(X_test)
    single = np.vstack([model.predict_proba(row[None]) for row in X_test])
    assert np.abs(whole - single).max() < 1e-13


def test_a_copied_model_goes_on_learning_like_the_original() -> None:
    X, _, y, _ = digits()
    model = MLPClassifier(hidden=[16], epochs=4).start(X, y)
    model.epoch(X, y)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        reference = copy.deepcopy(model)
        reference.epoch(X, y)
        twin.epoch(X, y)
        assert np.array_equal(twin.network_.weights[0], reference.network_.weights[0])
        assert not np.array_equal(twin.network_.weights[0], model.network_.weights[0])


def test_a_state_of_another_size_is_refused() -> None:
    X, _, y, _ = digits()
    state = MLPClassifier(hidden=[16], epochs=1).fit(X, y).get_state()
    with pytest.raises(InputError, match="holds 1210 parameters, this MLPClassifier has 2410"):
        MLPClassifier(hidden=[32]).set_state(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rellu"}, "Did you mean 'relu'"),
        ({"update": "adamw"}, "Did you mean 'adam'"),
        ({"hidden": [0]}, "at least 1 unit"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"l2": -1.0}, "negative"),
        ({"dtype": "float16"}, "float32"),
        ({"early_stopping": True, "validation_fraction": 0.9999}, "nothing to train"),
    ],
)
def test_wrong_options_are_told_at_once(options: dict, message: str) -> None:
    X, _, y, _ = digits()
    with pytest.raises(InputError, match=message):
        MLPClassifier(**options).fit(X[:50], y[:50])


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    X, _, y, _ = digits()
    model = MLPRegressor(update="sgd", learning_rate=1e6, epochs=20, dtype="float64")
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="diverged"):
        model.fit(X, y)


@pytest.mark.parametrize("hidden", [[10**9], [10**30], [200_000, 200_000]])
def test_a_network_larger_than_the_machine_is_refused_by_arithmetic(hidden: list[int]) -> None:
    for kind in (MLPClassifier, MLPRegressor):
        with pytest.raises(UserError, match=r"parameters take .* GB to train") as refused:
            kind(hidden=hidden).fit(np.zeros((4, 2)), np.array([0, 1, 0, 1]))
        assert refused.value.exit_code == 2
