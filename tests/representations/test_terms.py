"""Counts of terms, TF-IDF, BM25 and ratios, beside scikit-learn and formulas written out."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from scratchlab.data.contract import DataContext
from scratchlab.errors import UserError
from scratchlab.registry import parts
from scratchlab.representations.bag_of_words import BagOfWords, OneHot
from scratchlab.representations.bm25 import BM25
from scratchlab.representations.contract import (
    STATE,
    load_representation,
    new_representation,
    save_representation,
)
from scratchlab.representations.nb_ratio import NaiveBayesRatio
from scratchlab.representations.tfidf import TfIdf

TEXTS = [
    "The cat sat on the mat, the mat was flat.",
    "A dog and a cat;  the DOG barks at the cat!",
    "Ein Käfer krabbelt über die Straße, and the cat looks",
    "",
    "mat",
    "It's 10 o'clock: dogs, cats and mats. dogs dogs",
]
NEW = ["the dog on a mat", "nothing known: zebra", "", "Straße straße"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lowercase": False},
    {"ngram_range": (1, 3)},
    {"min_df": 2},
    {"max_df": 2},
    {"min_df": 0.3, "max_df": 0.6},
    {"token_pattern": r"(?u)\b\w+\b"},
    {"token_pattern": r"(\w)\w+"},
    {"stop_words": "english"},
    {"stop_words": ["cat", "the"], "ngram_range": (2, 2)},
    {"analyzer": "char", "ngram_range": (1, 3)},
    {"analyzer": "char_wb", "ngram_range": (2, 6)},
    {"max_features": 1},
    {"binary": True},
]


def equal(found: Any, wanted: Any) -> None:
    assert found.shape == wanted.shape
    assert np.allclose(found.toarray(), wanted.toarray(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_counts_and_names_are_those_of_scikit_learn(options: dict[str, Any]) -> None:
    own, other = BagOfWords(**options), CountVectorizer(**options)
    equal(own.fit_transform(TEXTS), other.fit_transform(TEXTS))
    equal(own.transform(NEW), other.transform(NEW))
    assert own.get_feature_names_out().tolist() == other.get_feature_names_out().tolist()
    assert own.transform(NEW).dtype == other.transform(NEW).dtype


@pytest.mark.parametrize(
    "options",
    [
        *OPTIONS,
        {"sublinear_tf": True},
        {"smooth_idf": False},
        {"use_idf": False},
        {"norm": "l1"},
        {"norm": None, "sublinear_tf": True, "binary": True},
    ],
    ids=str,
)
def test_tf_idf_is_that_of_scikit_learn(options: dict[str, Any]) -> None:
    own, other = TfIdf(**options), TfidfVectorizer(**options)
    equal(own.fit_transform(TEXTS), other.fit_transform(TEXTS))
    equal(own.transform(NEW), other.transform(NEW))
    if options.get("use_idf", True):
        assert np.allclose(own.idf_, other.idf_, rtol=0, atol=1e-12)


def test_the_most_frequent_terms_are_kept_and_of_equal_ones_the_first() -> None:
    texts = ["b b b d d c c a", "e"]
    assert BagOfWords(max_features=3, token_pattern=r"\w").fit(texts).vocabulary_ == {
        "b": 0,
        "c": 1,
        "d": 2,
    }


def test_defaults_are_scikit_learns() -> None:
    for cls, other in ((BagOfWords, CountVectorizer()), (TfIdf, TfidfVectorizer())):
        own = cls().get_params()
        theirs = other.get_params()
        theirs["ngram_range"] = tuple(theirs["ngram_range"])
        assert {name: own[name] for name in own} == {name: theirs[name] for name in own}


def test_one_hot_says_whether_a_term_is_there() -> None:
    equal(OneHot().fit_transform(TEXTS), CountVectorizer(binary=True).fit_transform(TEXTS))


def bm25_of(question: str, documents: list[str], k1: float, b: float) -> list[float]:
    """The formula, term by term."""
    split = [d.lower().split() for d in documents]
    mean = sum(map(len, split)) / len(split)
    scores = []
    for document in split:
        frequency, score = Counter(document), 0.0
        for term in filter(frequency.get, question.lower().split()):
            n = sum(term in d for d in split)
            idf = math.log(1 + (len(split) - n + 0.5) / (n + 0.5))
            f = frequency[term]
            score += idf * f * (k1 + 1) / (f + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (2.0, 0.0), (0.0, 1.0), (0.5, 1.0)])
def test_bm25_equals_the_formula_written_out(k1: float, b: float) -> None:
    documents = ["a b b c", "c c c d e f g", "h", "a a a a b", "d d h c a"]
    questions = ["a b", "c c d", "unknown", "h a unknown"]
    bm25 = BM25(k1=k1, b=b, token_pattern=r"\S+")
    rows = bm25.fit_transform(documents)
    scores = (bm25.transform_queries(questions) @ rows.T).toarray()
    assert np.allclose(scores, [bm25_of(q, documents, k1, b) for q in questions], atol=1e-12)
    assert (bm25.transform(documents) != rows).nnz == 0
    assert not scores[2].any()


def test_naive_bayes_ratios_are_those_of_the_paper() -> None:
    texts, y = ["good good film", "good plot", "bad film", "bad bad"], [1, 1, 0, 0]
    own = NaiveBayesRatio()
    X = own.fit_transform(texts, y).toarray()
    names = own.get_feature_names_out().tolist()
    # bad, film, good, plot: in how many texts of each class, one added
    p, q = np.array([1, 2, 3, 2]), np.array([3, 2, 1, 1])
    r = np.log((p / p.sum()) / (q / q.sum()))
    assert names == ["bad", "film", "good", "plot"]
    assert np.allclose(X[0], r * [0, 1, 1, 0])  # a term counts once
    assert np.allclose(own.transform(["plot plot bad"]).toarray()[0], r * [1, 0, 0, 1])
    three = NaiveBayesRatio().fit(["a1 b1", "b1 c1", "c1 a1 a1"], ["x", "y", "z"])
    assert three.transform(["a1"]).shape == (1, 9)
    assert three.get_feature_names_out()[3] == "a1 (class 1)"
    with pytest.raises(UserError, match="none are given"):
        NaiveBayesRatio().fit(texts)
    with pytest.raises(UserError, match="1 class only"):
        NaiveBayesRatio().fit(texts, [1, 1, 1, 1])


@pytest.mark.parametrize("name", parts("representation"))
def test_what_was_learnt_is_saved_and_found_again(tmp_path: Path, name: str) -> None:
    part = parts("representation")[name]
    entry = {"name": name, **part.defaults()}
    if "analyzer" not in entry:
        pytest.skip("no counts of terms")
    made = new_representation(entry, DataContext(None, tmp_path))
    rows = made.fit_transform(TEXTS, [0, 1, 0, 1, 0, 1])
    save_representation(made, tmp_path)
    again = new_representation(entry, DataContext(None, tmp_path))
    load_representation(again, tmp_path)
    assert (again.transform(TEXTS) != rows).nnz == 0
    assert (again.transform_queries(NEW) != made.transform_queries(NEW)).nnz == 0
    assert again.get_feature_names_out().tolist() == made.get_feature_names_out().tolist()
    assert clone(made).get_params() == made.get_params()  # scikit-learn's contract

    state = load_file(tmp_path / STATE)
    for key in state:
        if key != "vocabulary":
            spoilt = {**state, key: np.full_like(state[key], np.nan)}
            save_file(spoilt, tmp_path / STATE)
            with pytest.raises(UserError, match="does not fit"):
                load_representation(again, tmp_path)
        save_file({k: v for k, v in state.items() if k != key}, tmp_path / STATE)
        with pytest.raises(UserError, match="does not fit"):
            load_representation(again, tmp_path)
    (tmp_path / STATE).write_bytes(b"no tensors")
    with pytest.raises(UserError, match="does not fit"):
        load_representation(again, tmp_path)
    (tmp_path / STATE).unlink()
    with pytest.raises(UserError, match="is missing"):
        load_representation(again, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_df": 5}, "leave no term: the most frequent of 24 is in 3 of 6 texts"),
        ({"max_df": 0.1}, "min_df=1 and max_df=0.1 leave no term"),
        ({"min_df": 1.5}, "neither a whole number of texts nor a share"),
        ({"ngram_range": (2, 1)}, "must be two numbers, the smaller first"),
        ({"ngram_range": (1, 2, 3)}, "must be two numbers"),
        ({"token_pattern": "("}, "is no regular expression"),
        ({"token_pattern": r"(\w)(\w)"}, "has 2 groups"),
        ({"token_pattern": "zzz"}, "none of the 6 texts holds a term"),
        ({"stop_words": "german"}, "no list of words that is known"),
        ({"analyzer": "words"}, "Choices: char, char_wb, word"),
        ({"norm": "l3"}, "norm='l3' is unknown"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        TfIdf(**options).fit(TEXTS)
    assert message in str(error.value)


def test_what_is_no_list_of_texts_is_refused() -> None:
    for texts, message in (("one text", "Write"), (["a1", None], "text 1 is none, but None")):
        with pytest.raises(UserError, match=message):
            TfIdf().fit(texts)  # type: ignore[arg-type]
