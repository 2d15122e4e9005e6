"""Bagging, stacking and trees against scikit-learn, and what they say of wrong input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import ensemble, linear_model, tree
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scratchlab.estimators.ensembles.bagging import BaggingClassifier, BaggingRegressor
from scratchlab.estimators.ensembles.stacking import (
    StackingClassifier,
    StackingRegressor,
    deal_folds,
)
from scratchlab.estimators.ensembles.trees import (
    BoostedTreesClassifier,
    BoostedTreesRegressor,
    DecisionTreeClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from scratchlab.estimators.protocol import InputError

SETS = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}


def split(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    X, y = SETS[name](return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), scaler.transform(X_test), y, y_test


def mean_scores(name: str, ours: Any, theirs: Any, seeds: int = 5) -> tuple[float, float]:
    """Mean accuracies over seeded splits, both on the same ones."""
    scores = []
    for seed in range(seeds):
        X, X_test, y, y_test = split(name, seed)
        models = (clone(m).set_params(random_state=seed) for m in (ours, theirs))
        scores.append([m.fit(X, y).score(X_test, y_test) for m in models])
    one, two = np.mean(scores, axis=0)
    return float(one), float(two)


@pytest.mark.parametrize("name", SETS)
def test_bagged_trees_are_within_a_point_of_scikit_learns(name: str) -> None:
    ours = BaggingClassifier(n_estimators=30)
    theirs = ensemble.BaggingClassifier(tree.DecisionTreeClassifier(), n_estimators=30)
    mine, other = mean_scores(name, ours, theirs)
    assert mine > 0.9
    assert abs(mine - other) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_stacking_is_within_a_point_of_scikit_learns(name: str) -> None:
    ours = StackingClassifier(
        level0={
            "forest": {"name": "random_forest", "n_estimators": 30},
            "logistic": {"name": "logistic"},
            "tree": {"name": "decision_tree"},
        },
        level1={"name": "logistic"},
    )
    theirs = ensemble.StackingClassifier(
        [
            ("forest", ensemble.RandomForestClassifier(30)),
            ("logistic", linear_model.LogisticRegression(max_iter=2000)),
            ("tree", tree.DecisionTreeClassifier()),
        ],
        linear_model.LogisticRegression(max_iter=2000),
    )
    theirs = make_pipeline(theirs)  # has no random_state of its own: give it one below
    scores = []
    for seed in range(5):
        X, X_test, y, y_test = split(name, seed)
        theirs.set_params(
            stackingclassifier__forest__random_state=seed,
            stackingclassifier__tree__random_state=seed,
        )
        penalty = {"name": "logistic", "l2": 1 / len(X)}  # scikit-learn's C=1
        level0 = {**ours.level0, "logistic": penalty}
        mine = clone(ours).set_params(random_state=seed, level0=level0, level1=penalty).fit(X, y)
        scores.append([mine.score(X_test, y_test), theirs.fit(X, y).score(X_test, y_test)])
    mine_mean, other_mean = np.mean(scores, axis=0)
    assert mine_mean > 0.93
    assert abs(mine_mean - other_mean) < 0.01


def test_bagging_is_the_mean_of_members_on_their_own_draws() -> None:
    X, X_test, y, _ = split("wine", 0)
    model = BaggingClassifier(n_estimators=7, max_samples=0.5).fit(X, y)
    assert len(model.members_) == 7
    mean = np.mean([m.predict_proba(X_test) for m in model.members_], axis=0)
    assert model.predict_proba(X_test) == pytest.approx(mean)
    assert len({m.get_state()["trees.feature"].tobytes() for m in model.members_}) > 1
    votes = model.votes(X_test)
    assert votes.sum(axis=1).tolist() == [7] * len(X_test)


def test_hard_votes_follow_the_majority() -> None:
    X, X_test, y, _ = split("breast_cancer", 0)
    model = BaggingClassifier(
        base={"name": "perceptron", "epochs": 3}, n_estimators=9, vote="hard"
    ).fit(X, y)
    said = np.array([m.predict(X_test) for m in model.members_])
    assert np.array_equal(model.predict(X_test), (said.mean(axis=0) > 0.5).astype(int))
    assert model.predict_proba(X_test)[:, 1] == pytest.approx(said.mean(axis=0))


def test_without_bootstrap_and_with_all_rows_members_see_the_same() -> None:
    X, X_test, y, _ = split("wine", 0)
    model = BaggingClassifier(
        base={"name": "logistic", "epochs": 30}, n_estimators=3, bootstrap=False
    ).fit(X, y)
    first, *others = (m.predict_proba(X_test) for m in model.members_)
    assert all(other == pytest.approx(first, abs=1e-9) for other in others)


def test_the_number_of_threads_does_not_change_the_result() -> None:
    X, X_test, y, _ = split("wine", 0)
    one, two = (
        BaggingClassifier(n_estimators=5, n_jobs=n, base={"name": "mlp", "epochs": 3})
        .fit(X, y)
        .predict_proba(X_test)
        for n in (1, 2)
    )
    assert np.array_equal(one, two)


def test_a_member_that_missed_a_class_counts_for_the_others() -> None:
    X = np.arange(20.0)[:, None]
    y = np.array(["a"] * 10 + ["b"] * 9 + ["c"])
    model = BaggingClassifier(n_estimators=30, max_samples=0.3).fit(X, y)
    assert any(len(m.classes_) == 2 for m in model.members_)
    shares = model.predict_proba(X)
    assert shares.shape == (20, 3)
    assert shares.sum(axis=1) == pytest.approx(1)


def test_bagging_regression_is_as_good_as_scikit_learns() -> None:
    X, y = load_diabetes(return_X_y=True)
    scores = []
    for seed in range(5):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=seed)
        models = (
            BaggingRegressor(n_estimators=30, random_state=seed),
            ensemble.BaggingRegressor(
                tree.DecisionTreeRegressor(), n_estimators=30, random_state=seed
            ),
        )
        scores.append([m.fit(X_train, y_train).score(X_test, y_test) for m in models])
    ours, theirs = np.mean(scores, axis=0)
    assert abs(ours - theirs) < 0.04
    assert ours > 0.3


def test_folds_are_balanced_in_size_and_class() -> None:
    strata = np.repeat([0, 1, 2], [50, 33, 4])
    fold = deal_folds(strata, 5, np.random.default_rng(0))
    assert np.ptp(np.bincount(fold)) <= 1
    for stratum in range(3):
        assert np.ptp(np.bincount(fold[strata == stratum], minlength=5)) <= 1
    assert not np.array_equal(fold, deal_folds(strata, 5, np.random.default_rng(1)))


def test_level_1_learns_from_predictions_of_models_that_have_not_seen_the_row() -> None:
    """With random labels an unpruned tree knows its own rows by heart; out of fold it knows none.

    Were level 1 shown predictions of seen rows, it would trust the tree fully.
    """
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 5)), rng.integers(0, 2, 300)
    model = StackingClassifier(
        level0={"tree": {"name": "decision_tree"}},
        level1={"name": "logistic", "epochs": 2000},
    ).fit(X, y)
    assert model.level0_["tree"].score(X, y) == 1.0
    assert abs(model.level1_.coef_[0, 0]) < 1


def test_passthrough_shows_level_1_the_features() -> None:
    X, X_test, y, y_test = split("wine", 0)
    level0 = {"tree": {"name": "decision_tree", "max_depth": 1}}
    without, shown = (
        StackingClassifier(level0=level0, passthrough=p).fit(X, y) for p in (False, True)
    )
    assert without.meta_features(X_test).shape == (len(X_test), 3)
    assert shown.meta_features(X_test).shape == (len(X_test), 3 + X.shape[1])
    assert shown.score(X_test, y_test) > without.score(X_test, y_test) + 0.1


def test_stacking_regression_equals_scikit_learns_on_the_same_members() -> None:
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
    ours = StackingRegressor(
        level0={
            "forest": {"name": "random_forest_regressor", "n_estimators": 20},
            "linear": {"name": "linear"},
        }
    ).fit(X_train, y_train)
    theirs = ensemble.StackingRegressor(
        [
            ("forest", ensemble.RandomForestRegressor(20, random_state=0)),
            ("linear", linear_model.LinearRegression()),
        ],
        linear_model.LinearRegression(),
    ).fit(X_train, y_train)
    assert ours.score(X_test, y_test) == pytest.approx(theirs.score(X_test, y_test), abs=0.04)


def test_forest_arrays_predict_exactly_what_scikit_learns_forest_does() -> None:
    X, X_test, y, _ = split("digits", 0)
    X[::7, 3] = np.nan
    X_test = X_test.copy()
    X_test[::5, 3] = np.nan
    ours = RandomForestClassifier(n_estimators=12, random_state=4).fit(X, y)
    theirs = ensemble.RandomForestClassifier(12, random_state=4).fit(X, y)
    assert np.array_equal(ours.predict_proba(X_test), theirs.predict_proba(X_test))
    assert np.array_equal(ours.feature_importances_, theirs.feature_importances_)
    X, y = load_diabetes(return_X_y=True)
    ours_r = RandomForestRegressor(n_estimators=12, random_state=4).fit(X, y)
    theirs_r = ensemble.RandomForestRegressor(12, random_state=4).fit(X, y)
    assert np.array_equal(ours_r.predict(X), theirs_r.predict(X))


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_boosted_arrays_predict_what_scikit_learns_boosting_does(name: str) -> None:
    X, X_test, y, _ = split(name, 0)
    X[::7, 3] = np.nan
    X_test[::5, 3] = np.nan
    ours = BoostedTreesClassifier(n_rounds=15, random_state=1).fit(X, y)
    theirs = ensemble.HistGradientBoostingClassifier(
        max_iter=15, random_state=1, early_stopping=False
    ).fit(X, y)
    assert ours.predict_proba(X_test) == pytest.approx(theirs.predict_proba(X_test), abs=1e-12)


def test_boosted_regression_equals_scikit_learns_and_finds_the_feature_that_matters() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = 3 * np.sin(X[:, 2]) + 0.3 * X[:, 0] + 0.05 * rng.normal(size=300)
    ours = BoostedTreesRegressor(n_rounds=30).fit(X, y)
    theirs = ensemble.HistGradientBoostingRegressor(max_iter=30, random_state=0).fit(X, y)
    assert ours.predict(X) == pytest.approx(theirs.predict(X), abs=1e-12)
    assert ours.feature_importances_.sum() == pytest.approx(1)
    assert ours.feature_importances_.argmax() == 2 and ours.feature_importances_[2] > 0.8


def test_a_tree_of_given_depth_has_no_longer_path() -> None:
    X, _, y, _ = split("digits", 0)
    model = DecisionTreeClassifier(max_depth=3).fit(X, y)
    assert model.trees_.depth.item() == 3
    assert len(np.unique(model.trees_.leaves(X))) <= 8


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (BaggingClassifier(base={"name": "mpl"}), "Did you mean 'mlp'"),
        (BaggingClassifier(base={"name": "mlp_regressor"}), "no estimator for classification"),
        (BaggingClassifier(base={"name": "adaline", "epoch": 3}), "Did you mean 'epochs'"),
        (BaggingClassifier(base={"hidden": [3]}), "describes no estimator"),
        (BaggingClassifier(base={"name": "perceptron"}), "use vote='hard'"),
        (BaggingClassifier(max_samples=0.0), "max_samples"),
        (StackingClassifier(level0={}), "at least one estimator"),
        (StackingClassifier(folds=1), "at least 2"),
        (StackingClassifier(folds=500), "lower folds to at most 124"),
    ],
)
def test_a_wrong_description_is_told_in_one_message(model: Any, message: str) -> None:
    X, _, y, _ = split("wine", 0)
    with pytest.raises(InputError) as caught:
        model.fit(X, y)
    assert message in str(caught.value)


def test_a_member_without_arrays_cannot_be_saved_and_is_named() -> None:
    X, _, y, _ = split("wine", 0)
    model = BaggingClassifier(base=tree.DecisionTreeClassifier(), n_estimators=2).fit(X, y)
    with pytest.raises(InputError, match=r"sklearn\.tree.*cannot be saved"):
        model.get_state()
