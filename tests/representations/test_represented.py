"""Labelled texts under a representation: every classifier learns from them, and answers texts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.naive_bayes import MultinomialNB
from sklearn.utils import get_tags

from scratchlab.config.compose import change, compose
from scratchlab.errors import UserError
from scratchlab.estimators.logistic import LogisticRegression
from scratchlab.estimators.naive_bayes import NaiveBayes
from scratchlab.lab import train as experiment
from scratchlab.lab.evaluate import evaluate
from scratchlab.lab.parts import build_dataset, data_context, with_representation
from scratchlab.lab.predict import predict
from scratchlab.registry import parts
from scratchlab.representations import represented
from scratchlab.representations.tfidf import TfIdf
from scratchlab.run.folder import read_config
from tests.conformance.test_fitted_runs import QUICK

GOOD, BAD = ("fine", "lovely", "great"), ("dull", "awful", "poor")
LONGER = {"mlp": ["model.epochs=20", "model.learning_rate=0.03"]}
CLASSIFIERS = [n for n, p in parts("estimator").items() if "classification" in p.facts["tasks"]]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty reviews, whose words tell their class."""
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    rows = [
        f"a {words[i % 3]} film number {i} with {words[(i + 1) % 3]} actors,{label}"
        for i in range(40)
        for words, label in ((GOOD, "good"), (BAD, "bad"))
    ]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


def words_of(reviews: Path, folder: Path, model: str, *more: str) -> list[str]:
    return [
        f"model={model}", *QUICK.get(model, []), "dataset=text_classification",
        f"dataset.path={reviews}", "representation=tfidf", f"output_dir={folder}", "name=x",
        "run_id=one", "tracker=[jsonl]", "pictures=false", "evaluator=[classification]", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_every_classifier_learns_from_represented_texts(
    tmp_path: Path, reviews: Path, model: str
) -> None:
    words = words_of(reviews, tmp_path, model, *LONGER.get(model, []))
    run = experiment.train(compose(words).config, [], ["train"])
    results = {m["name"]: m for m in json.loads((run / "results.json").read_text())}
    assert results["accuracy"]["value"] >= 0.75
    config = change(read_config(run / "config.yaml"), [])
    if model in ("logistic", "decision_tree"):  # sparse, dense
        again = {m.name: m.value for m in evaluate(config, run, run, ["eval"])}
        assert again["accuracy"] == results["accuracy"]["value"]
    lines = ["a fine, lovely, great film", "", "dull and awful and poor actors"]
    answers = [a for (a,) in predict(config, run, iter(lines))]
    assert [a.split("\t")[0] for a in answers] == ["good", "", "bad"]
    kinds = {p.suffix for p in (run / "checkpoints").rglob("*") if p.is_file()}
    assert kinds <= {".safetensors", ".json", ".yaml"}


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_the_fact_sparse_is_scikit_learns_tag(model: str) -> None:
    part = parts("estimator")[model]
    assert get_tags(part.load()()).input_tags.sparse == bool(part.facts.get("sparse"))


@pytest.mark.parametrize("model", ["logistic", "mlp", "perceptron", "adaline"])
def test_sparse_rows_are_learnt_as_dense_ones(model: str) -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in random.integers(0, 40, 12)) for _ in range(90)]
    y = np.array([sum(w in t for w in ("w1", "w2 ", "w3")) % 3 for t in texts])
    X = TfIdf().fit_transform(texts)
    options = {"epochs": 5, **({"dtype": "float64"} if model == "mlp" else {})}
    sparse, dense = (parts("estimator")[model].load()(**options) for _ in range(2))
    sparse.fit(X, y)
    dense.fit(X.toarray(), y)
    assert np.array_equal(sparse.predict(X), dense.predict(X.toarray()))
    assert np.array_equal(sparse.predict(X.toarray()), dense.predict(X))
    for name, array in sparse.get_state().items():
        wanted = dense.get_state()[name]
        assert array.dtype == wanted.dtype
        if array.dtype.kind == "f":
            assert np.allclose(array, wanted, rtol=1e-7, atol=1e-9, equal_nan=True), name
    for kind in ("loss", "accuracy"):
        a, b = sparse.evaluate(X, y)[kind], dense.evaluate(X.toarray(), y)[kind]
        assert a == pytest.approx(b, rel=1e-9)


def test_logistic_regression_on_tf_idf_is_scikit_learns() -> None:
    random = np.random.default_rng(1)
    texts = [" ".join(f"w{n}" for n in random.zipf(1.5, 15) % 300) for _ in range(400)]
    y = np.array([hash_of(t) for t in texts])
    X, other = TfIdf().fit_transform(texts), TfidfVectorizer().fit_transform(texts)
    own = LogisticRegression(epochs=4000, l2=1 / len(texts)).fit(X, y)
    theirs = SklearnLogistic(C=1.0, tol=1e-8, max_iter=1000).fit(other, y)
    assert np.allclose(own.predict_proba(X), theirs.predict_proba(other), atol=2e-3)


def hash_of(text: str) -> int:
    return sum(map(ord, text)) % 2


@pytest.mark.parametrize("fit_prior", [True, False])
@pytest.mark.parametrize("classes", [2, 5])
def test_naive_bayes_is_scikit_learns(fit_prior: bool, classes: int) -> None:
    random = np.random.default_rng(2)
    X = random.poisson(0.4, (120, 30)).astype(float)
    y = np.array([f"class {n}" for n in random.integers(0, classes, 120)])
    own = NaiveBayes(alpha=0.5, fit_prior=fit_prior).fit(X, y)
    theirs = MultinomialNB(alpha=0.5, fit_prior=fit_prior).fit(X, y)
    assert np.allclose(own.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-12)
    assert np.allclose(own.log_odds_, theirs.feature_log_prob_, rtol=0, atol=1e-12)
    assert own.predict(X).tolist() == theirs.predict(X).tolist()


def test_a_text_of_unknown_words_is_said_to_be_one(
    tmp_path: Path, reviews: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = words_of(reviews, tmp_path, "naive_bayes", "evaluate=false", "model.fit_prior=false")
    run = experiment.train(compose(words).config, [], ["train"])
    config = change(read_config(run / "config.yaml"), [])
    with caplog.at_level(logging.WARNING):
        ((answer,),) = predict(config, run, iter(["zebra"]))
    assert answer.endswith("0.5000") and "nothing of this text is known" in caplog.text


def test_dense_rows_that_do_not_fit_are_refused_before_they_are_made(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(represented, "machine_memory", lambda: 10_000)
    config = compose(words_of(reviews, tmp_path, "random_forest")).config
    with pytest.raises(UserError) as error:
        build_dataset(config, with_representation(config, data_context(config), "cpu")).examples(
            "train"
        )
    assert "80 texts of " in str(error.value) and "max_features" in str(error.value)
    sparse = compose(words_of(reviews, tmp_path, "logistic")).config
    build_dataset(sparse, with_representation(sparse, data_context(sparse), "cpu")).examples(
        "train"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=logistic", "dataset=mr"], "mr holds texts, and logistic learns from rows"),
        (["model=logistic", "representation=tfidf"], "documents, which digits does not"),
        (["model=gpt", "representation=tfidf"], "documents, which python_docs does not hold"),
        (["model=ngram", "representation=tfidf"], "documents, which python_docs does not hold"),
        (
            ["model=transformer_mt", "representation=bm25"],
            "documents, which phrasebook_en_fr does not hold",
        ),
        (
            ["model=minilm", "dataset=mr", "representation=bm25"],
            "reads the words of mr itself",
        ),
        (["model=logistic", "dataset=mr", "representation=tfid"], "Did you mean 'tfidf'?"),
        (
            ["model=logistic", "dataset=mr", "representation=tfidf", "representation.norm=l3"],
            "'l3' is not a choice",
        ),
        (
            ["model=logistic", "dataset=mr", "representation=tfidf", "representation.mindf=3"],
            "Did you mean 'min_df'?",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_read(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        compose(words)
    assert message in str(error.value)


def test_a_trained_run_keeps_its_representation(tmp_path: Path, reviews: Path) -> None:
    words = words_of(reviews, tmp_path, "logistic", "evaluate=false")
    run: Any = experiment.train(compose(words).config, [], ["train"])
    with pytest.raises(UserError, match="the representation of a trained run cannot be exchanged"):
        change(read_config(run / "config.yaml"), ["representation=bm25"])
