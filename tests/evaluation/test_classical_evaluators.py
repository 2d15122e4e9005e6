"""Scores of classes and numbers against scikit-learn's; mistakes, importances, ensembles."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import nn

from scratchlab.data.contract import DataContext
from scratchlab.errors import UserError
from scratchlab.estimators.ensembles.bagging import BaggingClassifier
from scratchlab.estimators.ensembles.trees import RandomForestClassifier, RandomForestRegressor
from scratchlab.evaluation.contract import EvaluationContext, Measurement
from scratchlab.evaluation.inside.ensemble import votes_figure
from scratchlab.evaluation.intervals import wilson
from scratchlab.registry import build, find
from scratchlab.reporting.sink import FolderSink


def data(name: str, tmp_path: Path, **options: Any) -> Any:
    cls = find("dataset", name).load()
    return cls(cls.Config(**options), DataContext(None, tmp_path))


def measure(
    tmp_path: Path, model: Any, dataset: Any, evaluator: str, run: str = "run", **options: Any
) -> dict[str, Measurement]:
    folder = tmp_path / run
    folder.mkdir(exist_ok=True)
    context = EvaluationContext(
        model=model,
        dataset=dataset,
        task=build("task", {"name": dataset.spec.task}, dataset.spec),
        split="test",
        device=torch.device("cpu"),
        sink=FolderSink(folder),
        folder=folder,
    )
    entry = {"name": evaluator, **find("evaluator", evaluator).defaults(), **options}
    return {m.name: m for m in build("evaluator", entry).evaluate(context)}


def table(tmp_path: Path, name: str, run: str = "run") -> list[dict[str, str]]:
    with (tmp_path / run / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    dataset = data("digits", tmp_path_factory.mktemp("digits"))
    return RandomForestClassifier(n_estimators=5).fit(*dataset.rows("train")), dataset


def test_classification_scores_equal_scikit_learns(tmp_path: Path, forest: tuple[Any, Any]) -> None:
    model, dataset = forest
    found = measure(tmp_path, model, dataset, "classification")
    X, y = dataset.rows("test")
    guess, shares = model.predict(X), model.predict_proba(X)
    expected = {
        "accuracy": metrics.accuracy_score(y, guess),
        "log_loss": metrics.log_loss(y, shares),
    }
    for average in ("macro", "weighted"):
        scores = metrics.precision_recall_fscore_support(y, guess, average=average)
        for name, value in zip(("precision", "recall", "f1"), scores, strict=False):
            expected[f"{name}_{average}"] = value
    assert {n: m.value for n, m in found.items()} == pytest.approx(expected, rel=1e-6)
    report = table(tmp_path, "classification_report")
    assert [r["class"] for r in report][:2] == ["0", "1"] and len(report) == 12
    measure(tmp_path, model, dataset, "confusion_matrix")
    cells = [[int(v) for v in list(r.values())[1:]] for r in table(tmp_path, "confusion_matrix")]
    assert np.array_equal(cells, metrics.confusion_matrix(y, guess))
    assert (tmp_path / "run/plots/confusion_matrix.png").is_file()


def test_accuracy_and_f1_have_intervals_that_hold_them(
    tmp_path: Path, forest: tuple[Any, Any]
) -> None:
    model, dataset = forest
    found = measure(tmp_path, model, dataset, "classification")
    X, y = dataset.rows("test")
    hits = int((model.predict(X) == y).sum())
    accuracy, f1 = found["accuracy"], found["f1_macro"]
    assert (accuracy.low, accuracy.high) == wilson(hits, len(y))
    assert f1.low is not None and f1.high is not None and f1.low < f1.value < f1.high
    assert 0.5 < (f1.high - f1.low) / (accuracy.high - accuracy.low) < 2  # type: ignore[operator]
    again = measure(tmp_path, model, dataset, "classification")["f1_macro"]
    assert (again.low, again.high) == (f1.low, f1.high)


def test_two_classes_have_a_roc_curve_with_its_area(tmp_path: Path) -> None:
    dataset = data("breast_cancer", tmp_path)
    model = RandomForestClassifier(n_estimators=5).fit(*dataset.rows("train"))
    X, y = dataset.rows("test")
    area = metrics.roc_auc_score(y, model.predict_proba(X)[:, 1])
    found = measure(tmp_path, model, dataset, "classification")
    assert found["roc_auc"].value == pytest.approx(area)
    measure(tmp_path, model, dataset, "confusion_matrix")
    assert (tmp_path / "run/plots/roc.png").is_file()


def test_regression_scores_equal_scikit_learns_for_numpy_and_torch(tmp_path: Path) -> None:
    dataset = data("diabetes", tmp_path)
    X, y = dataset.rows("test")
    linear = nn.Linear(10, 1)
    forest = RandomForestRegressor(n_estimators=5).fit(*dataset.rows("train"))
    with torch.no_grad():
        of_torch = linear(torch.from_numpy(X.astype(np.float32)))[:, 0].numpy()
    for model, guess in ((forest, forest.predict(X)), (linear, of_torch)):
        found = measure(tmp_path, model, dataset, "regression")
        assert found["rmse"].value == pytest.approx(metrics.mean_squared_error(y, guess) ** 0.5)
        assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(y, guess))
        assert found["r2"].value == pytest.approx(metrics.r2_score(y, guess))
    assert (tmp_path / "run/plots/residuals.png").is_file()


def test_mistakes_are_listed_and_compared_between_models(
    tmp_path: Path, forest: tuple[Any, Any]
) -> None:
    model, dataset = forest
    X, y = dataset.rows("test")
    wrong = set(np.flatnonzero(model.predict(X) != y).tolist())
    found = measure(tmp_path, model, dataset, "mistakes", run="first")
    assert found["mistakes"].value == len(wrong) > 3
    rows = table(tmp_path, "mistakes", run="first")
    assert {int(r["row"]) for r in rows} == wrong
    sure = [float(r["probability"]) for r in rows]
    assert sure == sorted(sure, reverse=True)
    other = RandomForestClassifier(n_estimators=5, random_state=1).fit(*dataset.rows("train"))
    theirs = set(np.flatnonzero(other.predict(X) != y).tolist())
    shared = measure(tmp_path, other, dataset, "mistakes", run="second", compare=["first"])
    expected = len(wrong & theirs) / len(wrong | theirs)
    assert shared["mistakes_shared"].value == pytest.approx(expected)
    with pytest.raises(UserError, match=r"first are about other rows: row \d+ has the target"):
        measure(tmp_path, other, data("digits", tmp_path, split_seed=1), "mistakes",
                compare=["first"])  # fmt: skip
    with pytest.raises(UserError, match="there is no run 'frist'"):
        measure(tmp_path, other, dataset, "mistakes", compare=["frist"])


def test_a_feature_that_decides_alone_is_the_important_one(tmp_path: Path) -> None:
    dataset = data("wine_cultivars", tmp_path)
    X, y = dataset.rows("train")
    X[:, 3] = y  # the answer itself
    dataset.rows("test")[0][:, 3] = dataset.rows("test")[1]
    model = RandomForestClassifier(n_estimators=30, max_features=1.0).fit(X, y)
    measure(tmp_path, model, dataset, "feature_importance", run="first")
    rows = table(tmp_path, "feature_importance", run="first")
    assert rows[0]["feature"] == dataset.spec.feature_names[3]
    assert float(rows[0]["permutation"]) > 0.4 and float(rows[1]["permutation"]) == 0
    assert float(rows[0]["impurity"]) > 0.9
    same = measure(tmp_path, model, dataset, "feature_importance", compare=["first"])
    assert same["importance_rank_correlation"].value == pytest.approx(1)


def test_unanimous_votes_have_a_bar_of_their_own() -> None:
    said = np.zeros((4, 13, 2))
    said[:, :, 0] = 1
    said[0, :3] = [0, 1]  # three rows on which one of four members dissents
    (axis,) = votes_figure(said, np.zeros(13, dtype=int), classes=True, split="test").axes
    bars = {b.get_x() + b.get_width() / 2: b.get_height() for b in axis.patches if b.get_height()}
    assert list(bars) == pytest.approx([0.75, 1.0]) and list(bars.values()) == [3, 10]


def test_an_ensemble_of_more_members_is_measured_from_its_parts(tmp_path: Path) -> None:
    dataset = data("breast_cancer", tmp_path)
    model = BaggingClassifier(n_estimators=7, vote="hard").fit(*dataset.rows("train"))
    X, y = dataset.rows("test")
    found = measure(tmp_path, model, dataset, "ensemble", run="first", counts=[1, 3])
    rows = table(tmp_path, "ensemble", run="first")
    assert [int(r["members"]) for r in rows] == [1, 3, 7]
    assert float(rows[-1]["accuracy"]) == pytest.approx(model.score(X, y))
    alone = [np.mean(m.predict(X) == y) for m in model.members_]
    assert found["member_accuracy"].value == pytest.approx(np.mean(alone))
    measure(tmp_path, model, dataset, "ensemble", compare={"other": "first"})
    assert (tmp_path / "run/plots/ensemble_heat_map.png").is_file()
    with pytest.raises(UserError, match="no members"):
        measure(tmp_path, model.members_[0], dataset, "ensemble")


class Remembers:
    """Right on every row that it has seen, wrong on every other."""

    def __init__(self, X: Any, y: Any) -> None:
        self.known = {x.tobytes(): label for x, label in zip(X, y, strict=True)}
        self.other = -1.0

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None: ...

    def predict(self, X: Any) -> Any:
        return np.array([self.known.get(x.tobytes(), self.other) for x in X])


def test_rows_with_a_copy_in_training_are_left_out_of_the_scores_of_unseen_rows(
    tmp_path: Path,
) -> None:
    # Of 200 rows every fourth stands twice, with its class: memory is right on the copies only.
    rows = [(i if i % 4 else i - i % 8, i % 2 if i % 4 else 0) for i in range(200)]
    path = tmp_path / "t.csv"
    path.write_text("p,q,y\n" + "\n".join(f"{n}.5,{n * n}.5,c{y}" for n, y in rows) + "\n")
    dataset = data("table", tmp_path, path=str(path))
    train, test = (set(dataset.contents(s)) for s in ("train", "test"))
    copies = sum(content in train for content in dataset.contents("test"))
    assert 0 < copies < dataset.size("test") and train & test
    model = Remembers(*dataset.rows("train"))
    model.other = 1.0
    X, y = dataset.rows("test")
    hits = model.predict(X) == y
    unseen = np.array([content not in train for content in dataset.contents("test")])
    found = measure(tmp_path, model, dataset, "classification")
    assert found["accuracy"].value == pytest.approx(hits.mean())
    assert found["accuracy_unseen"].value == pytest.approx(hits[unseen].mean())
    assert found["accuracy_unseen"].n == int(unseen.sum()) == dataset.size("test") - copies
    assert found["accuracy_unseen"].settings["copies"] == copies
    grouped = data("table", tmp_path, path=str(path), duplicates="group")
    assert "accuracy_unseen" not in measure(tmp_path, model, grouped, "classification")


def test_numbers_have_an_error_of_unseen_rows_too(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("p,q,y\n" + "".join(f"{i % 90}.5,1.{i % 90},{i % 90}.25\n" for i in range(150)))
    dataset = data("table", tmp_path, path=str(path))
    model = Remembers(*dataset.rows("train"))
    found = measure(tmp_path, model, dataset, "regression")
    assert found["rmse_unseen"].value > found["rmse"].value
