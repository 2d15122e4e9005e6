"""Models that begin with word vectors: of a file, of a run; frozen or tuned; what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scratchlab.config.compose import change, compose
from scratchlab.data.contract import Spec
from scratchlab.data.sources.reading import sha256_of
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.learning import learn
from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.files import read_vectors
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.lab import predict as predicting
from scratchlab.lab import train as training
from scratchlab.lab.vectors import open_vectors
from scratchlab.lab.weights import Weights
from scratchlab.models.layers.word_vectors import begin_with_vectors
from scratchlab.models.text_cnn import TextCNN
from scratchlab.registry import build, find
from scratchlab.run import checkpoint as checkpoints
from scratchlab.run.folder import read_config

WORDS = ("the", "cat", "sat", "on", "mat", "dog", "rug", "ran")
SMALL = {
    "text_cnn": ["model.d_embedding=4", "model.maps=3", "evaluator=[classification]"],
    "rnn_classifier": [
        *("model.d_embedding=4", "model.d_hidden=4", "model.d_attention=3"),
        "evaluator=[word_attention]",
    ],
    "skipgram": ["model.vector_size=4", "model.epochs=2", "evaluator=[neighbours]"],
    "fasttext": ["model.vector_size=4", "model.epochs=2", "evaluator=[neighbours]"],
}


def train(folder: Path, model: str, run_id: str, *words: str) -> Path:
    """A run on twenty texts of two classes, or (of word vectors) on some of their words."""
    labelled, text = folder / "texts.csv", folder / "text.txt"
    if not text.exists():
        rows = [f"the {w} sat on the {v} {i},{'xy'[i % 2]}" for i in range(40)
                for w, v in [(WORDS[i % 8], WORDS[(i * 3) % 8])]]  # fmt: skip
        labelled.write_text("text,label\n" + "\n".join(rows) + "\n")
        text.write_text("the cat sat on the mat\nthe dog sat on the rug\n" * 60)
    if model in ("skipgram", "fasttext"):
        data = ["dataset=text_file", f"dataset.paths=[{text}]", "dataset.tokenizer=whitespace"]
    else:
        data = ["dataset=text_classification", f"dataset.path={labelled}", "trainer.epochs=2"]
    own = [f"output_dir={folder}", f"name={model}", f"run_id={run_id}", "tracker=[jsonl]"]
    own.append("pictures=false")
    config = compose([f"model={model}", *SMALL[model], *data, *own, *words]).config
    return training.train(config, [], ["train"])


def embedding(run: Path, which: str = "last") -> dict[str, np.ndarray]:
    """The vector of each word in a checkpoint."""
    folder = run / "checkpoints" / which
    weight = checkpoints.load(folder).model["embed.weight"]
    tokens = json.loads((folder / "text_tokenizer.json").read_text())
    names = [*tokens["special"], *tokens["tokens"]]
    return dict(zip(names, weight.numpy(), strict=True))


def told_by(capsys: pytest.CaptureFixture[str]) -> str:
    """What the console shows, without the spaces and line ends that depend on its width."""
    shown = capsys.readouterr()
    return "".join((shown.out + shown.err).split())


def write_vectors(folder: Path) -> Path:
    path = folder / "vectors.txt"
    rows = [f"{w} {i}.5 {-i} 0.25 1\n" for i, w in enumerate(["the", "sat", "zebra", "cat"])]
    path.write_text(f"{len(rows)} 4\n" + "".join(rows))
    return path


def test_words_begin_with_the_vectors_of_a_file_and_frozen_ones_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_vectors(tmp_path)
    told = ["model.embedding=frozen", "tracker=[console]"]
    run = train(tmp_path, "text_cnn", "frozen", f"init_from={path}", *told)
    said = told_by(capsys)
    assert f"starts from the word vectors of {path}".replace(" ", "") in said
    assert "3of44wordsbeginwiththeirvectorsof" in said
    found = embedding(run)
    assert found["sat"].tolist() == [1.5, -1, 0.25, 1]
    assert found["cat"].tolist() == [3.5, -3, 0.25, 1]
    tuned = embedding(train(tmp_path, "text_cnn", "tuned", f"init_from={path}"))
    assert 0 < np.abs(tuned["sat"] - found["sat"]).max() < 0.5
    path.unlink()  # a checkpoint needs nothing else
    config = change(read_config(run / "config.yaml"), [])
    ((answer,),) = predicting.predict(config, run, iter(["the cat sat"]))
    assert answer.split("\t")[0] in "xy" and 0.5 <= float(answer.split("\t")[1]) <= 1


def test_a_run_of_word_vectors_gives_what_its_exported_file_gives(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    vectors = train(tmp_path, "skipgram", "v", "export=word2vec")
    frozen = ["model.embedding=frozen", "trainer.max_steps=0", "evaluate=false"]
    places = ("skipgram/v", f"{vectors}/export/vectors.txt")
    found = [
        embedding(train(tmp_path, "text_cnn", f"r{i}", f"init_from={place}", *frozen))
        for i, place in enumerate(places)
    ]
    exported = read_vectors(vectors / "export/vectors.txt")
    for word in exported.words:
        assert all(np.array_equal(one[word], exported.vector(word)) for one in found)
    for one in found[1:]:
        assert all(np.array_equal(one[word], found[0][word]) for word in one)
    again = train(tmp_path, "skipgram", "w", f"init_from={vectors}", "model.epochs=0",
                  "export=word2vec")  # fmt: skip
    assert np.array_equal(read_vectors(again / "export/vectors.txt").matrix, exported.matrix)


def test_a_run_of_fasttext_makes_vectors_of_words_that_it_never_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("numba")
    vectors = train(tmp_path, "fasttext", "v", "model.min_n=2")
    capsys.readouterr()
    told = ["trainer.max_steps=0", "evaluate=false", "tracker=[console]"]
    train(tmp_path, "text_cnn", "r", f"init_from={vectors}", *told)
    # "ran" has n-grams of "rug" and "mat"
    assert "ofthemmadeofn-grams" in told_by(capsys)


def fresh(tokenizer: Tokenizer) -> TextCNN:
    torch.manual_seed(0)
    words, padding = len(tokenizer), tokenizer.pad_id
    spec = Spec(task="classification", vocab_size=words, pad_id=padding, n_classes=2)
    return TextCNN(TextCNN.Config(d_embedding=6), spec)


def test_a_run_that_began_with_a_file_tells_its_hash_and_when_it_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_vectors(tmp_path)
    run = train(tmp_path, "text_cnn", "r", f"init_from={path}", "tracker=[console]")
    wanted = {"kind": "file", "checkpoint": str(path), "sha256": sha256_of(path)}
    assert json.loads((run / "manifest.json").read_text())["began_with"] == wanted
    config = change(read_config(run / "config.yaml"), ["trainer.epochs=3"])
    config |= {"resume": True, "run_id": "r"}
    capsys.readouterr()
    training.train(config, [], ["train"])
    assert "wordvectors" not in told_by(capsys)
    path.write_text("the 1 2 3 4\n")
    config["trainer"]["epochs"] = 4
    training.train(config, [], ["train"])
    assert "vectors.txt,whosewordvectorsitbeganwith,haschanged" in told_by(capsys)
    assert json.loads((run / "manifest.json").read_text())["began_with"] == wanted


def test_fasttext_goes_on_from_fasttext_with_its_ngrams(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("numba")
    first = train(tmp_path, "fasttext", "v", "model.min_n=2")
    words = [f"init_from={first}", "model.epochs=0", "evaluate=false"]
    vectors = {}
    for name, more in (("v", []), ("same", ["model.min_n=2"]), ("other", ["model.min_n=3"])):
        run = train(tmp_path, "fasttext", name, *words, *more) if more else first
        config = read_config(run / "config.yaml")
        vectors[name] = open_vectors(run, Weights.of_run(run, "last").content, None)
        assert config["model"]["name"] == "fasttext"
    for name in ("same", "other"):  # the mean of a word's rows is what it began with
        assert vectors[name].words == vectors["v"].words
        assert vectors[name].matrix == pytest.approx(vectors["v"].matrix, abs=1e-6)
    unseen = {name: one.vector("rat") for name, one in vectors.items()}  # of "mat" and "rug"
    assert unseen["same"] == pytest.approx(unseen["v"]) and np.abs(unseen["v"]).max() > 0
    ((answer,),) = predicting.predict(change(read_config(first / "config.yaml"), []), first,
                                      iter(["rat"]))  # fmt: skip
    assert len(answer.split("  ")) == 7 and "'rat' was never seen: its vector" in caplog.text


def test_other_words_get_the_deviation_of_the_vectors() -> None:
    words = [f"w{i}" for i in range(400)]
    random = np.random.default_rng(0)
    matrix = (3 * random.standard_normal((200, 6)) + 0.1).astype(np.float32)
    tokenizer = learn("word", lambda: words, None, 1)
    model = fresh(tokenizer)
    note = begin_with_vectors(model, WordVectors(words[:200], matrix), tokenizer, "here")
    assert note.startswith("200 of 404 words begin with their vectors of here, the others with")
    weight = model.embed.weight.detach()
    for number in (0, 7, 199):
        assert weight[tokenizer.encode(f"w{number}")[0]].tolist() == matrix[number].tolist()
    others = [i for i, t in enumerate(tokenizer.tokens) if t not in words[:200]]
    assert abs(float(weight[others].std()) / matrix.std() - 1) < 0.1


def test_padding_takes_no_vector_and_marks_only_their_own() -> None:
    tokenizer = learn("word", lambda: ["one two"], None, 1)
    unknown, padding = tokenizer.unk_id, tokenizer.pad_id
    everything = WordVectors(["<unk>", "<pad>", "one"], np.full((3, 6), 7, dtype=np.float32))
    model = fresh(tokenizer)
    begin_with_vectors(model, everything, tokenizer, "here")
    assert (model.embed.weight[unknown] == 7).all() and (model.embed.weight[padding] != 7).all()
    composing = WordVectors(["one"], everything.matrix[:1], lambda word: everything.matrix[0])
    model = fresh(tokenizer)
    note = begin_with_vectors(model, composing, tokenizer, "here")
    assert "2 of 6 words" in note and "(1 of them made of n-grams)" in note
    assert (model.embed.weight[unknown] != 7).all()


@pytest.mark.parametrize("kind", ["gpt", "rnn_lm", "text_encoder"])
def test_a_language_model_keeps_the_scale_of_its_embedding(kind: str) -> None:
    words = [f"w{i}" for i in range(50)]
    tokenizer = learn("word", lambda: words, None, 1)
    torch.manual_seed(0)
    task = "masked_lm" if kind == "text_encoder" else "language_modeling"
    spec = Spec(task=task, vocab_size=len(tokenizer), max_length=8)
    part = find("model", kind)
    assert "vectors" in part.facts["begins_with"]
    few = {"d_model": 8, "n_layers": 1, **({} if kind == "rnn_lm" else {"n_heads": 2})}
    model = build("model", {"name": kind, **part.defaults(), **few}, spec)
    before = float(model.token_layers.embeddings[0].weight.detach().std())
    matrix = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    begin_with_vectors(model, WordVectors(words, matrix), tokenizer, "here")
    weight: Any = model.token_layers.embeddings[0].weight.detach()
    assert abs(float(weight.std()) / before - 1) < 0.1
    row = weight[tokenizer.encode("w7")[0]].numpy()
    direction = matrix[7] / np.linalg.norm(matrix[7])
    np.testing.assert_allclose(row / np.linalg.norm(row), direction, 1e-4)


def test_only_wanted_words_of_a_file_are_kept(tmp_path: Path) -> None:
    found = read_vectors(write_vectors(tmp_path), {"cat", "sat", "unheard"})
    assert found.words == ["sat", "cat"] and found.matrix.shape == (2, 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init_from={}/bad.txt"], "bad.txt, line 3: 3 numbers, where the first line has or"),
        (["init_from={}/wide.txt"], "wide.txt have 3 dimensions, the embedding of the model 4"),
        (["init_from={}/wide.txt"], "Set model.d_embedding=3."),
        (["init_from={}/other.txt"], "words of the data set has a vector in "),
        (["init_from={}/good.txt", "dataset.tokenizer=char"], "tokenizer=char gives characters"),
        (["init_from={}/good.txt", "dataset.tokenizer=bpe"], "tokenizer=bpe gives subwords"),
        (["init_from=nowhere.txt"], "there is no run 'nowhere.txt'"),
    ],
)
def test_what_cannot_be_begun_with_is_said_in_one_line(
    tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "good.txt").write_text("the 1 2 3 4\ncat 1 2 3 5\n")
    (tmp_path / "bad.txt").write_text("2 4\nthe 1 2 3 4\ncat 1 2 3\n")
    (tmp_path / "wide.txt").write_text("the 1 2 3\ncat 1 2 3\n")
    (tmp_path / "other.txt").write_text("der 1 2 3 4\nhund 1 2 3 5\n")
    with pytest.raises(UserError) as caught:
        train(tmp_path, "text_cnn", "bad", *(w.format(tmp_path) for w in words))
    assert message in str(caught.value)
    assert not (tmp_path / "text_cnn").exists()  # nothing half-made is left


def test_what_begins_with_vectors_and_what_does_not_is_told_apart(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    vectors = train(tmp_path, "skipgram", "v")
    other = train(tmp_path, "text_cnn", "t", "trainer.max_steps=1")
    with pytest.raises(UserError, match="with which model=mlp cannot begin"):
        config = compose(["model=mlp", f"init_from={vectors}", f"output_dir={tmp_path}"]).config
        training.train(config, [], ["train"])
    with pytest.raises(UserError, match="holds no word vectors"):
        train(tmp_path, "skipgram", "s", f"init_from={other}")
    path = write_vectors(tmp_path)
    for words in (["model=mlp"], ["model=retriever", "representation=bm25"]):
        config = compose([*words, f"init_from={path}", f"output_dir={tmp_path}"]).config
        with pytest.raises(
            UserError, match=r"is a file, with which model=\w+ cannot begin"
        ) as told:
            training.train(config, [], ["train"])
        assert "text_cnn" in str(told.value) and "representation=word_vectors" in str(told.value)
    again = train(tmp_path, "text_cnn", "again", f"init_from={other}", "trainer.max_steps=0")
    assert np.array_equal(embedding(again)["cat"], embedding(other, "best")["cat"])
