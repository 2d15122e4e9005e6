"""Looking at classifiers of texts: their mistakes, and the words that attention weighs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scratchlab.data.contract import DataContext
from scratchlab.data.sets.labelled import OwnTextClasses
from scratchlab.evaluation.contract import EvaluationContext, Measurement
from scratchlab.figures.weighted_text import COLUMNS, WeightedText, broken, weighted_texts_figure
from scratchlab.models.rnn_classifier import RNNClassifier
from scratchlab.registry import build, find
from scratchlab.reporting.sink import FolderSink

WORDS = ("good", "bad", "a", "film", "very", "plot", "long", "and")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> OwnTextClasses:
    """Sixty texts of three to nine words; the class is told by one of them."""
    folder = tmp_path_factory.mktemp("texts")
    lines = ["text,label"]
    for i in range(60):
        others = [WORDS[2 + (i * 5 + k * (1 + i % 3)) % 6] for k in range(2 + i % 7)]
        others.insert(i % len(others), WORDS[i % 2])
        lines.append(f"{' '.join(others)},{WORDS[i % 2]}")
    (folder / "texts.csv").write_text("\n".join(lines) + "\n")
    config = OwnTextClasses.Config(
        path=str(folder / "texts.csv"), tokenizer="word", checkpoint=None, duplicates="keep",
        eval_batch_tokens=30,
    )  # fmt: skip
    return OwnTextClasses(config, DataContext(None, folder))


def classifier(dataset: Any, **options: Any) -> RNNClassifier:
    torch.manual_seed(0)
    small = {"d_embedding": 6, "d_hidden": 8, "d_attention": 5, **options}
    return RNNClassifier(RNNClassifier.Config(**small), dataset.spec).eval()


def measure(
    folder: Path, model: Any, dataset: Any, evaluator: str, **options: Any
) -> list[Measurement]:
    context = EvaluationContext(
        model=model,
        dataset=dataset,
        task=build("task", {"name": "classification", "label_smoothing": 0.0}, dataset.spec),
        split="test",
        device=torch.device("cpu"),
        sink=FolderSink(folder),
        folder=folder,
    )
    entry = {"name": evaluator, **find("evaluator", evaluator).defaults(), **options}
    return build("evaluator", entry).evaluate(context)


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_mistakes_of_a_classifier_of_texts_are_listed_with_their_texts(
    tmp_path: Path, texts: OwnTextClasses
) -> None:
    model = classifier(texts)
    (found,) = measure(tmp_path, model, texts, "mistakes")
    rows = table(tmp_path, "mistakes")
    given = texts.labelled("test")
    assert len(rows) == found.value > 0
    for row in rows:
        text, label = given[int(row["row"])]
        assert (row["text"], row["true"]) == (text, label) and row["predicted"] != label
        with torch.no_grad():
            shares = model(torch.tensor([texts.encode(text)])).softmax(-1)[0]
        assert float(row["probability"]) == pytest.approx(float(shares.max()), abs=1e-5)
    assert [float(r["probability"]) for r in rows] == sorted(
        (float(r["probability"]) for r in rows), reverse=True
    )


def test_words_are_listed_and_drawn_with_the_weights_of_the_attention(
    tmp_path: Path, texts: OwnTextClasses
) -> None:
    model = classifier(texts)
    assert measure(tmp_path, model, texts, "word_attention", min_count=1, count=3) == []
    rows = table(tmp_path, "word_attention")
    assert [row["text"] for row in rows] == texts.texts("test")[:3]
    labels = [label for _, label in texts.labelled("test")[:3]]
    for row, label in zip(rows, labels, strict=True):
        said = row["said"].split(" (")[0]
        assert row["said"].endswith(": right" if said == label else f": wrong, it is {label}")
        heaviest = [float(part.split()[-1]) for part in row["most attended words"].split(", ")]
        assert heaviest == sorted(heaviest, reverse=True) and heaviest[0] >= 1
    # By hand: the weights of every text that a word stands in, times the length of the text.
    word, sums = "film", []
    for text in texts.texts("test"):
        ids = torch.tensor([texts.encode(text)])
        with torch.no_grad():
            states = model.states(ids, None)
            scores = model.attention.score(model.attention.inner(states).tanh())[0, :, 0]
        shares = scores.softmax(0).tolist()
        sums += [w * len(shares) for w, t in zip(shares, text.split(), strict=True) if t == word]
    listed = {row["word"]: row for row in table(tmp_path, "attended_words")}
    assert float(listed[word]["mean weight (1: an even share)"]) == pytest.approx(
        np.mean(sums), abs=1e-4
    )
    assert int(listed[word]["times"]) == len(sums)
    assert (tmp_path / "plots/word_attention.png").stat().st_size > 5000


def test_texts_of_the_user_are_drawn_instead_and_what_has_no_weights_says_so(
    tmp_path: Path, texts: OwnTextClasses, caplog: pytest.LogCaptureFixture
) -> None:
    measure(tmp_path, classifier(texts), texts, "word_attention", texts=["a good film", "Bad!"])
    drawn = [row["text"] for row in table(tmp_path, "word_attention")]
    assert drawn == ["a good film", "bad <unk>"]
    measure(tmp_path / "mean", classifier(texts, pooling="mean"), texts, "word_attention")
    assert "model.pooling=attention has weights" in caplog.text
    assert not (tmp_path / "mean").exists()


def test_words_of_a_picture_stay_within_its_lines() -> None:
    words = ["a", "$5", "x" * 24, "plot"] * 12
    lines = broken(words)
    assert [word for line in lines for _, word in line] == words and len(lines) > 4
    assert all(left + len(word) <= COLUMNS for line in lines for left, word in line)
    weights = np.arange(1.0, 49) / sum(range(1, 49))
    one = WeightedText("b", ["y"], np.ones(1))
    texts = [WeightedText("long (90%): right", words, weights), one]
    assert weighted_texts_figure(texts, "Weights").get_figheight() > 1
