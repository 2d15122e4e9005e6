"""Linear and logistic regression, perceptron and Adaline against closed forms and scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.metrics import log_loss

from scratchlab.errors import TrainingError
from scratchlab.estimators.linear import LinearRegression
from scratchlab.estimators.logistic import LogisticRegression
from scratchlab.estimators.perceptron import Adaline, Perceptron
from scratchlab.estimators.protocol import InputError


def standardised(load, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    X, y = load(return_X_y=True)
    X, y = X[:rows], y[:rows]
    return (X - X.mean(0)) / X.std(0), y


def test_linear_regression_equals_the_normal_equations_and_scikit_learn() -> None:
    X, y = standardised(load_diabetes)
    ours, theirs = LinearRegression().fit(X, y), linear_model.LinearRegression().fit(X, y)
    extended = np.hstack([X, np.ones((len(X), 1))])
    closed = np.linalg.solve(extended.T @ extended, extended.T @ y)
    assert np.allclose(ours.coef_[0], closed[:-1], rtol=1e-9)
    assert np.allclose(ours.coef_[0], theirs.coef_, rtol=1e-9)
    assert ours.intercept_[0] == pytest.approx(theirs.intercept_, rel=1e-12)
    assert np.allclose(ours.predict(X), theirs.predict(X), rtol=1e-10)


def test_the_l2_penalty_is_ridge_regression() -> None:
    X, y = standardised(load_diabetes)
    ours = LinearRegression(l2=0.3).fit(X, y)
    theirs = linear_model.Ridge(alpha=0.3 * len(X)).fit(X, y)
    assert np.allclose(ours.coef_[0], theirs.coef_, rtol=1e-9)
    unpenalised = LinearRegression().fit(X, y)
    assert np.linalg.norm(ours.coef_) < 0.9 * np.linalg.norm(unpenalised.coef_)


def test_the_closed_form_survives_collinear_columns() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    X = np.column_stack([x, x, x + 1e-9 * rng.normal(size=50)])
    model = LinearRegression().fit(X, 3 * x + 2)
    assert np.abs(model.predict(X) - (3 * x + 2)).max() < 1e-6


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_gradient_descent_walks_to_the_closed_form(l2: float) -> None:
    X, y = standardised(load_diabetes)
    closed = LinearRegression(l2=l2).fit(X, y)
    walked = LinearRegression(solver="gradient", l2=l2, epochs=20_000, tol=1e-7).fit(X, y)
    assert walked.n_epochs_ < 20_000
    assert np.abs(walked.coef_ - closed.coef_).max() < 1e-3 * np.abs(closed.coef_).max()
    assert walked.predict(X) == pytest.approx(closed.predict(X), abs=1e-2)


def test_linear_regression_of_two_targets_is_two_regressions() -> None:
    X, y = standardised(load_diabetes)
    Y = np.column_stack([y, X @ np.arange(10.0)])
    both = LinearRegression().fit(X, Y).predict(X)
    assert both.shape == (len(X), 2)
    assert np.allclose(both[:, 0], LinearRegression().fit(X, y).predict(X))
    assert np.allclose(both[:, 1], Y[:, 1])


@pytest.mark.parametrize(
    ("load", "update"),
    [
        (load_iris, "momentum"),
        (load_wine, "momentum"),
        (load_wine, "sgd"),
        (load_wine, "adam"),
        (load_breast_cancer, "momentum"),
    ],
)
def test_logistic_regression_converges_to_scikit_learns(load, update: str) -> None:
    X, y = standardised(load)
    l2 = 0.02
    ours = LogisticRegression(
        update=update, l2=l2, epochs=20_000, tol=1e-7, learning_rate=None
    ).fit(X, y)
    theirs = linear_model.LogisticRegression(C=1 / (l2 * len(X)), tol=1e-10, max_iter=5000)
    theirs.fit(X, y)
    assert ours.n_epochs_ < 20_000
    ours_coef, ours_bias = ours.coef_, ours.intercept_
    if len(ours_bias) > 1:  # scikit-learn's biases may differ by a constant, which changes nothing
        ours_bias = ours_bias - ours_bias.mean() + theirs.intercept_.mean()
    assert np.abs(ours_coef - theirs.coef_).max() < 1e-4
    assert np.abs(ours_bias - theirs.intercept_).max() < 1e-4
    assert ours.predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=1e-5)
    wanted = log_loss(y, theirs.predict_proba(X))
    assert ours.evaluate(X, y)["loss"] == pytest.approx(wanted, rel=1e-5)


def test_logistic_regression_by_mini_batches_comes_close_to_the_full_batch() -> None:
    X, y = standardised(load_wine)
    full = LogisticRegression(l2=0.02, epochs=2000, tol=1e-7).fit(X, y)
    small = LogisticRegression(
        l2=0.02, update="adam", batch_size=16, epochs=300, schedule="cosine"
    ).fit(X, y)
    assert small.predict_proba(X) == pytest.approx(full.predict_proba(X), abs=0.03)


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_the_perceptron_makes_scikit_learns_updates(load) -> None:
    X, y = standardised(load)
    for epochs in (1, 3):
        ours = Perceptron(shuffle=False, epochs=epochs).fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = linear_model.Perceptron(shuffle=False, max_iter=epochs, tol=None).fit(X, y)
        assert np.allclose(ours.coef_, theirs.coef_, atol=1e-9)
        assert np.allclose(ours.intercept_, theirs.intercept_, atol=1e-9)
        assert np.array_equal(ours.predict(X), theirs.predict(X))


def test_the_perceptron_learns_and_by_hand() -> None:
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = np.array([0, 0, 0, 1])
    model = Perceptron(shuffle=False, epochs=50).start(X, y)
    # Row by row from zero: (0,0) is a mistake (z = 0): b = -1. (0,1), (1,0) are right (z = -1).
    # (1,1) is a mistake: w = (1,1), b = 0.
    metrics = model.epoch(X, y)
    assert metrics["mistakes"] == 2
    assert model.coef_.tolist() == [[1.0, 1.0]] and model.intercept_.tolist() == [0.0]
    model.fit_epochs(X, y, resume=True)
    assert model.finished_ and model.n_epochs_ < 50
    assert model.score(X, y) == 1.0


def test_adaline_takes_widrow_and_hoffs_steps_by_hand() -> None:
    X, y = np.array([[1.0], [2.0]]), np.array(["no", "yes"])
    model = Adaline(learning_rate=0.1, batch_size=1, epochs=1, shuffle=False).fit(X, y)
    # t = -1: z = 0, w = -0.1, b = -0.1. t = +1: z = -0.3, error 1.3: w = 0.16, b = 0.03.
    assert model.coef_[0, 0] == pytest.approx(0.16)
    assert model.intercept_[0] == pytest.approx(0.03)
    whole = Adaline(learning_rate=0.1, epochs=1).fit(X, y)
    # mean of (0 + 1) · 1 and (0 - 1) · 2 is -0.5: w = 0.05; mean of the errors is 0
    assert whole.coef_[0, 0] == pytest.approx(0.05)
    assert whole.intercept_[0] == pytest.approx(0.0)


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_adaline_converges_to_least_squares_on_signed_targets(load) -> None:
    X, y = standardised(load)
    X = X[:, :4]
    ours = Adaline(epochs=20_000).fit(X, y)
    classes = [1] if y.max() == 1 else [0, 1, 2]
    T = np.column_stack([np.where(y == c, 1.0, -1.0) for c in classes])
    closed = linear_model.LinearRegression().fit(X, T)
    assert np.abs(ours.coef_ - closed.coef_).max() < 1e-3
    assert np.abs(ours.intercept_ - closed.intercept_).max() < 1e-6


def test_perceptron_and_adaline_separate_two_of_the_irises() -> None:
    X, y = standardised(load_iris, rows=100)
    assert Perceptron().fit(X, y).score(X, y) == 1.0
    assert Adaline().fit(X, y).score(X, y) == 1.0


@pytest.mark.parametrize("cls", [Perceptron, Adaline, LogisticRegression])
def test_one_class_only_is_named_as_the_fault(cls) -> None:
    with pytest.raises(InputError, match=r"at least 2 classes.*1 class only: 'red'"):
        cls().fit(np.ones((4, 2)), np.array(["red"] * 4))


def test_a_class_that_was_not_there_at_the_start_is_named() -> None:
    X = np.eye(4)
    model = LogisticRegression().fit(X, [0, 1, 0, 1])
    with pytest.raises(InputError, match="the class 2 was not there"):
        model.evaluate(X, [0, 1, 2, 1])


def test_divergence_is_reported_with_its_epoch_and_cure() -> None:
    X, y = standardised(load_diabetes)
    model = LinearRegression(solver="gradient", update="sgd", learning_rate=1e3, epochs=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TrainingError, match=r"epoch \d+: training diverged") as caught:
            model.fit(X, y)
    assert "lower learning_rate" in caught.value.hint


def test_an_unknown_choice_gets_the_nearest_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'momentum'"):
        LogisticRegression(update="momentun").fit(np.eye(4), [0, 1, 0, 1])
