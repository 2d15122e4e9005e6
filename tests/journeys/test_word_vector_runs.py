"""Word vectors from the command line: trained, exported, begun with, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scratchlab.config.compose import change, compose
from scratchlab.errors import UnansweredRows, UserError
from scratchlab.estimators.embeddings.files import read_vectors
from scratchlab.lab import predict as predicting
from scratchlab.lab import train as training
from scratchlab.run.folder import read_config

pytest.importorskip("numba")


def train(folder: Path, run_id: str, *words: str) -> Path:
    text = folder / "text.txt"
    if not text.exists():
        text.write_text("the cat sat on the mat\nthe dog sat on the rug\n" * 60)
    own = [f"output_dir={folder}", "name=x", f"run_id={run_id}", "tracker=[jsonl]"]
    data = ["dataset=text_file", f"dataset.paths=[{text}]", "dataset.tokenizer=whitespace"]
    small = ["model.vector_size=4", "model.epochs=2", "evaluator=[neighbours]"]
    config = compose(["model=skipgram", *data, *small, *own, *words]).config
    return training.train(config, [], ["train"])


def test_exported_vectors_are_what_another_training_begins_with(tmp_path: Path) -> None:
    first = train(tmp_path, "first", "export=word2vec")
    vectors = read_vectors(first / "export/vectors.txt")
    assert set(vectors.words) == {"the", "cat", "sat", "on", "mat", "dog", "rug"}
    begin = f"init_from={first}/export/vectors.txt"
    second = train(tmp_path, "second", begin, "model.epochs=0", "export=word2vec_binary")
    again = read_vectors(second / "export/vectors.bin")
    for word in vectors.words:
        assert np.array_equal(again.vector(word), vectors.vector(word))
    assert (second / "tables/neighbours.csv").is_file()
    third = train(tmp_path, "third", begin)
    assert (third / "plots/loss.png").is_file()


def test_predict_answers_sums_of_words_and_says_which_word_is_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "v.txt").write_text(
        "king 1 1 0 0\nqueen 1 -1 0 0\nman 0 1 0 0\nwoman 0 -1 0 0\nmat 0 0 0 1\n"
    )
    run = train(tmp_path, "sums", f"init_from={tmp_path}/v.txt", "model.epochs=0", "evaluate=false")
    config = change(read_config(run / "config.yaml"), [])
    (answer,) = predicting.predict(config, run, iter(["King - man + woman"]))
    assert "".join(answer).startswith("queen 0.9")
    lines = iter(["king - xyzzy", "king man", "", "woman"])
    answers = predicting.predict(config, run, lines)
    found = ["".join(next(answers)) for _ in range(4)]
    assert found[:3] == ["", "", ""] and found[3].startswith("queen 0.707")
    with pytest.raises(UnansweredRows, match="2 of 4 lines"):
        next(answers)
    said = caplog.text
    assert "'xyzzy' has no vector" in said and "+ or - is missing before 'man'" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init_from={}/bad.txt"], "bad.txt, line 3: 3 numbers, where the first line has or"),
        (["init_from={}/wide.txt"], "the vectors have 3 dimensions, the model 4"),
        (["model.window=0"], "model.window: 0 is out of range: must be at least 1"),
        (["model.min_count=500"], "min_count=500 leaves no word of the training text"),
        (["dataset.tokenizer=char"], "dataset.tokenizer=char gives characters"),
        (["evaluator=[perplexity]"], "perplexity is for"),
        (["evaluator=[similarity]", "evaluator.similarity.pairs={}/nowhere"], "no file"),
        (["evaluator=[similarity]", "evaluator.similarity.pairs={}/bad.txt"], "bad.txt, line 1"),
        (["evaluator=[analogies]", "evaluator.analogies.questions={}/bad.txt"], "bad.txt, line 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "bad.txt").write_text("2 4\nthe 1 2 3 4\ncat 1 2 3\n")
    (tmp_path / "wide.txt").write_text("the 1 2 3\ncat 1 2 3\n")
    with pytest.raises(UserError) as caught:
        train(tmp_path, "bad", *(w.format(tmp_path) for w in words))
    assert message in str(caught.value)
    assert not any((tmp_path / "x").glob("*/checkpoints/*"))  # it is said before training
