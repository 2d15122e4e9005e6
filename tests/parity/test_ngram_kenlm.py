"""The n-gram model against KenLM: its reader on our ARPA files, its estimate of WikiText-2."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from scratchlab.errors import UserError
from scratchlab.estimators.ngrams.model import NGram

kenlm = pytest.importorskip("kenlm", reason="the package kenlm (extra `dev`) is not installed")

# KenLM, `lmplz -o 5`, and its query of the test set.
KENLM_PERPLEXITY, TEST_WORDS = 224.8116, 244_102


def python_topics() -> list[list[str]]:
    """Lines of Python's own documentation, split at spaces."""
    lines = (line.split() for name in sorted(topics) for line in topics[name].splitlines())
    return [line for line in lines if line]


def compare(model: NGram, path: Path, sentences: list[list[str]], tolerance: float) -> None:
    """Score ``sentences`` word by word with ``model`` and with KenLM on the file at ``path``."""
    reader = kenlm.Model(str(path))
    assert reader.order == sum(len(level.keys) > 0 for level in model.tables_.levels)
    read = [list(reader.full_scores(" ".join(sentence))) for sentence in sentences]
    scores = model.score_sentences(sentences)
    words = [word for sentence in read for word in sentence]
    np.testing.assert_allclose(scores.log10_probs, [w[0] for w in words], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(scores.unknown, [w[2] for w in words])
    np.testing.assert_allclose(
        scores.sentence_log10,
        [sum(word[0] for word in sentence) for sentence in read],
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("order", [2, 3, 5])
@pytest.mark.parametrize("unk_is_a_word", [False, True])
def test_kenlm_reads_the_same_scores_from_the_exported_file(
    tmp_path: Path, order: int, unk_is_a_word: bool
) -> None:
    text = python_topics()
    train, test = text[:3000], text[3000:3400]
    if unk_is_a_word:
        train = [["<unk>" if len(word) == 7 else word for word in line] for line in train]
    model = NGram(order=order).fit_sentences(train)
    model.export_arpa(tmp_path / "model.arpa")
    assert [p.name for p in tmp_path.iterdir()] == ["model.arpa"]
    compare(model, tmp_path / "model.arpa", test, 1e-5)
    assert 0.05 < model.score_sentences(test).unknown.mean() < 0.7


@pytest.mark.filterwarnings("ignore:the counts of order")
def test_orders_that_no_sentence_reaches_are_left_out_of_the_file(tmp_path: Path) -> None:
    train = [line[:2] for line in python_topics()[:2000]]
    model = NGram(order=8).fit_sentences(train)
    model.export_arpa(tmp_path / "model.arpa")
    compare(model, tmp_path / "model.arpa", python_topics()[:200], 1e-5)


@pytest.mark.filterwarnings("ignore:the counts of order")
def test_a_model_of_ids_is_written_with_ids_as_words(tmp_path: Path) -> None:
    model = NGram(order=2).fit([3, 4, 3, 7, 3, 4], [0, 3, 6])
    model.export_arpa(tmp_path / "ids.arpa")
    reader = kenlm.Model(str(tmp_path / "ids.arpa"))
    mine = model.score_tokens([3, 7, 8], [0, 3]).sentence_log10[0]
    assert reader.score("3 7 8") == pytest.approx(mine, abs=1e-5)


@pytest.mark.filterwarnings("ignore:the counts of order")
def test_what_an_arpa_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot express smoothing=add_k"):
        NGram(order=2, smoothing="add_k").fit_sentences([["a"]]).export_arpa(tmp_path / "m")
    with pytest.raises(UserError, match="cannot hold the word 'a b'"):
        NGram(order=2).fit_sentences([["a b"]]).export_arpa(tmp_path / "m")
    with pytest.raises(UserError, match="'x' stands twice"):
        NGram(order=2).fit([0, 1], [0, 2], words=["x", "x"]).export_arpa(tmp_path / "m")
    with pytest.raises(UserError, match="cannot write the ARPA file"):
        NGram(order=2).fit_sentences([["a"]]).export_arpa(tmp_path / "nowhere" / "m")
    assert list(tmp_path.iterdir()) == []


def wikitext2(split: str) -> list[list[str]]:
    root = os.environ.get("SCRATCHLAB_DATA")
    path = Path(root or "") / "wikitext2" / f"{split}.txt.gz"
    if root is None or not path.is_file():
        pytest.skip("needs wikitext2 in $SCRATCHLAB_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.split() for line in file if line.strip()]


MEASURE = """
import json, sys, time
import numpy as np
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.run.manifest import peak_memory_bytes

text = np.load(sys.argv[1])
peak = lambda: peak_memory_bytes() / 2**20
before, start = peak(), time.process_time()
model = NGram(order=5).fit(text["train"], text["train_offsets"], unk_id=int(text["unk_id"]))
trained = time.process_time()
scores = model.score_tokens(text["test"], text["test_offsets"])
scored = time.process_time()
print(json.dumps({
    "perplexity": scores.perplexity, "words": len(scores.log10_probs),
    "train_seconds": trained - start, "test_seconds": scored - trained,
    "peak_mb": peak(), "before_mb": before,
}))
"""


@pytest.mark.slow
def test_wikitext2_has_kenlms_perplexity_within_its_time_and_memory(tmp_path: Path) -> None:
    splits = {split: wikitext2(split) for split in ("train", "test")}
    ids: dict[str, int] = {}
    arrays = {}
    for split, lines in splits.items():
        tokens = [ids.setdefault(word, len(ids)) for line in lines for word in line]
        arrays[split] = np.array(tokens, dtype=np.int32)
        arrays[f"{split}_offsets"] = np.concatenate(([0], np.cumsum([len(x) for x in lines])))
    np.savez(tmp_path / "text.npz", unk_id=ids["<unk>"], **arrays)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "text.npz")],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(ran.stdout)
    print(figures)
    assert figures["words"] == TEST_WORDS
    assert figures["perplexity"] == pytest.approx(KENLM_PERPLEXITY, abs=0.005)
    # Seconds of processor time, so that a busy machine does not decide.
    assert figures["train_seconds"] <= 10 and figures["test_seconds"] <= 5
    assert figures["peak_mb"] < 500


@pytest.mark.slow
def test_kenlm_reads_the_same_scores_from_the_wikitext2_model(tmp_path: Path) -> None:
    train, test = wikitext2("train"), wikitext2("test")
    model = NGram(order=5, discount_fallback=False).fit_sentences(train)
    model.export_arpa(tmp_path / "wikitext2.arpa")
    compare(model, tmp_path / "wikitext2.arpa", test, 1e-4)
