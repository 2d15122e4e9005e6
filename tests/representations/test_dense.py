"""Averaged word vectors and vectors of an encoder, beside what other code makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.data.contract import DataContext
from scratchlab.estimators.embeddings.fasttext import FastText
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.estimators.protocol import InputError
from scratchlab.representations.averaged import AveragedWordVectors
from scratchlab.representations.contract import load_representation, save_representation
from tests.support.checkpoints import write_bert

WORDS = ("cats", "purr", "dogs", "bark", "loudly", "owls")
VECTORS = WordVectors(WORDS[:3], np.array([[1, 0], [0, 2], [3, 4]], dtype=np.float32))


def test_a_text_is_the_mean_of_its_words_at_length_1(tmp_path: Path) -> None:
    plain = AveragedWordVectors(idf=False)
    plain.begin_with(VECTORS)
    rows = plain.fit_transform(["Cats purr, purr.", "dogs", "owls hoot", ""])
    mean = np.array([1, 4]) / np.linalg.norm([1, 4])
    assert rows == pytest.approx(np.array([mean, [0.6, 0.8], [0, 0], [0, 0]]), abs=1e-6)
    weighed = AveragedWordVectors()
    weighed.begin_with(VECTORS)
    found = weighed.fit_transform(["cats purr", "cats"])
    idf = np.log(3 / 3) + 1, np.log(3 / 2) + 1  # of cats and of purr
    wanted = idf[0] * np.array([1, 0]) + idf[1] * np.array([0, 2])
    assert found[0] == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-6)
    save_representation(weighed, tmp_path)
    again = AveragedWordVectors()
    load_representation(again, tmp_path)
    assert np.array_equal(again.transform(["dogs purr"]), weighed.transform(["dogs purr"]))


def test_words_of_the_texts_that_have_no_vector_may_have_one_made() -> None:
    given = WordVectors(["cats"], VECTORS.matrix[:1], {"cat": np.array([0, 1], "f")}.get)
    made = AveragedWordVectors(idf=False)
    made.begin_with(given)
    rows = made.fit_transform(["cat", "dog"])
    assert rows.tolist() == [[0, 1], [0, 0]]


def test_fasttext_makes_vectors_of_words_of_queries_too_also_when_it_was_kept(
    tmp_path: Path,
) -> None:
    pytest.importorskip("numba")
    texts = ["cats purr and cats sleep", "dogs bark and dogs run"] * 30
    learnt = FastText(
        vector_size=8, min_count=1, epochs=3, threads=1, random_state=0, buckets=10**6
    )
    made = AveragedWordVectors()
    made.begin_with(learnt.fit([text.split() for text in texts]).vectors())
    rows = made.fit_transform([*texts, "catses"])
    asked = made.transform_queries(["catty", "cats catty", "xyz"])  # nothing of xyz was seen
    assert np.linalg.norm(asked, axis=1) == pytest.approx([1, 1, 0])
    assert asked[0] @ rows[0] > asked[0] @ rows[1]
    vectors = learnt.vectors()
    idf = np.log(62 / 31) + 1, np.log(62 / 1) + 1  # of cats, and of a word that no text has
    wanted = idf[0] * vectors.vector("cats") + idf[1] * vectors.vector("catty")
    assert asked[1] == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-6)
    save_representation(made, tmp_path)
    again = AveragedWordVectors()
    load_representation(again, tmp_path)
    assert np.array_equal(again.transform_queries(["catty", "cats catty", "xyz"]), asked)
    state = made.get_state()
    with pytest.raises(InputError, match="n-grams have rows of shape"):
        again.set_state(state | {"ngram_sizes": np.array([3, 2, 9])})


def test_without_vectors_they_are_learnt_from_the_texts() -> None:
    pytest.importorskip("numba")
    texts = ["cats purr and cats sleep", "dogs bark and dogs run"] * 30
    rows = [AveragedWordVectors(vector_size=8, epochs=3).fit_transform(texts) for _ in range(2)]
    assert np.array_equal(*rows)
    assert rows[0].shape == (60, 8) and np.linalg.norm(rows[0][0]) == pytest.approx(1)
    assert rows[0][0] @ rows[0][2] > rows[0][0] @ rows[0][1]
    with pytest.raises(InputError, match="no word"):
        AveragedWordVectors().fit(["", ""])


def encoder(folder: str, cache: Path, **options: Any) -> Any:
    from scratchlab.representations.encoder import PretrainedEncoderMean

    made = PretrainedEncoderMean(checkpoint=folder, **options)
    made.context = DataContext(None, cache)
    return made


def test_sentence_vectors_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    """Its mean pooling and normalisation, written out on transformers' own model."""
    transformers = pytest.importorskip("transformers")
    import torch

    folder = write_bert(tmp_path / "bert", WORDS)
    texts = ["cats purr", "", "dogs bark loudly at owls", "owls", "cats " * 40]
    made = encoder(folder, tmp_path, max_length=12, batch_tokens=20)
    rows = made.fit_transform(texts)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    ids = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    for text, row in zip(texts, rows, strict=True):
        tokens = [2, *[ids.get(word, 1) for word in text.split()][:10], 3]
        padded = torch.tensor([[*tokens, 0, 0, 0]])
        mask = torch.tensor([[1] * len(tokens) + [0, 0, 0]])
        with torch.no_grad():
            hidden = model(padded, attention_mask=mask).last_hidden_state
        wide = mask.unsqueeze(-1).expand(hidden.size()).float()
        pooled = torch.sum(hidden * wide, 1) / torch.clamp(wide.sum(1), min=1e-9)
        wanted = torch.nn.functional.normalize(pooled, p=2, dim=1)[0].numpy()
        assert np.abs(row - wanted).max() < 1e-5
    assert not made.transform_queries([" "]).any()
    first = encoder(folder, tmp_path, pooling="first").transform(["cats purr"])
    assert np.abs(first - rows[:1]).max() > 1e-3
    asked = encoder(folder, tmp_path, query_prefix="cats ")
    assert np.allclose(asked.transform_queries(["purr"]), rows[:1], atol=1e-6)


def test_an_encoder_with_other_weights_or_too_short_a_context_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    one = encoder(write_bert(tmp_path / "one", WORDS), tmp_path, max_length=8)
    other = encoder(write_bert(tmp_path / "other", [*WORDS, "x"]), tmp_path, max_length=8)
    state = one.fit(["x"]).get_state()
    one.set_state(state)
    with pytest.raises(InputError, match="are others than"):
        other.set_state(state)
    with pytest.raises(InputError, match="reads at most 32"):
        encoder(str(tmp_path / "one"), tmp_path, max_length=64).fit(["x"])
