"""Evaluators of word vectors: figures against independent formulas, and files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.files import read_vectors, write_vectors
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.estimators.embeddings.word2vec import SkipGram
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.words.analogies import Analogies
from scratchlab.evaluation.words.neighbours import Neighbours
from scratchlab.evaluation.words.similarity import Similarity, cosine
from scratchlab.evaluation.words.word_map import WordMap
from scratchlab.evaluation.words.word_sets import Pair, embedded_analogies, embedded_pairs

WORDS = ["king", "queen", "man", "woman", "apple", "prince", "princess"]
MATRIX = np.array(
    [
        [1, 1, 0],
        [1, -1, 0.05],
        [0, 1, 0.1],
        [0, -1, 0.1],
        [0, 0.1, 3],
        [0.6, 0.8, 0.4],
        [0.6, -0.8, 0.4],
    ],
    dtype=np.float32,
)


class Seen:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.figures: dict[str, Any] = {}

    def table(self, name: str, columns: Any, rows: Any) -> None:
        self.tables[name] = [dict(zip(columns, row, strict=True)) for row in rows]

    def figure(self, name: str, draw: Any, *drawn: Any) -> None:
        self.figures[name] = draw(*drawn)

    def outputs(self, records: Any) -> dict[str, Any]:
        raise AssertionError


def context() -> tuple[EvaluationContext, Seen]:
    """A model that has the vectors above."""
    model = SkipGram(epochs=0, vector_size=3, min_count=1, random_state=0)
    model.begin_with(WordVectors(WORDS, MATRIX))
    model.fit([["king", "queen"], ["man", "woman"]])
    sink = Seen()
    dataset: Any = None
    return EvaluationContext(model, dataset, None, "test", "cpu", sink), sink


def cos(a: str, b: str) -> float:
    x, y = MATRIX[WORDS.index(a)], MATRIX[WORDS.index(b)]
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_similarity_is_spearmans_correlation_and_tells_what_was_left_out(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(
        "Word 1,Word 2,Human (mean)\nKing,queen,8.5\nking,prince,9\nman,apple,1\nking,xyzzy,5\n"
        "woman,queen,6\nwoman,apple,2\n"
    )
    known = [("king", "queen", 8.5), ("king", "prince", 9), ("man", "apple", 1),
             ("woman", "queen", 6), ("woman", "apple", 2)]  # fmt: skip
    wanted = spearmanr([j for *_, j in known], [cos(a, b) for a, b, _ in known])[0]
    where, sink = context()
    (found,) = Similarity(Similarity.Config(pairs=str(file))).evaluate(where)
    assert found.value == pytest.approx(wanted)
    assert (found.n, found.settings["in_vocabulary"], found.settings["left_out"]) == (5, 5, 1)
    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high
    assert [r["cosine"] for r in sink.tables["similarity"]].count("unknown") == 1
    (zero,) = Similarity(Similarity.Config(pairs=str(file), unknown="zero")).evaluate(context()[0])
    cosines = [cos(a, b) for a, b, _ in known]
    assert zero.n == 6
    assert zero.value == pytest.approx(spearmanr([*(j for *_, j in known), 5], [*cosines, 0.0])[0])


def test_a_word_outside_the_vocabulary_is_composed_where_that_is_asked_for() -> None:
    vectors = WordVectors(WORDS, MATRIX, lambda word: MATRIX[0] if word == "kings" else None)
    pair = Pair("kings", "queen", 5.0)
    assert cosine(vectors, pair) is None
    assert cosine(vectors, pair, composed=True) == pytest.approx(cos("king", "queen"))
    assert cosine(vectors, Pair("xyzzy", "queen", 5.0), composed=True) is None


@pytest.mark.parametrize("method", ["add", "multiply"])
def test_analogies_are_answered_as_the_papers_say_and_told_by_section(
    tmp_path: Path, method: str
) -> None:
    file = tmp_path / "questions.txt"
    file.write_text(
        ": royal\nman woman king queen\nMan Woman Prince Princess\nking queen man xyzzy\n"
        ": other\nking apple man woman\n"
    )
    where, sink = context()
    config = Analogies.Config(questions=str(file), method=method)
    (found,) = Analogies(config).evaluate(where)
    assert (found.value, found.n, found.settings["left_out"]) == (pytest.approx(2 / 3), 3, 1)
    rows = [tuple(r.values()) for r in sink.tables["analogies"]]
    assert rows == [("royal", 1.0, 2, 2, 1), ("other", 0.0, 0, 1, 0)]

    def score(word: str) -> float:
        a, b, c = (cos(word, w) for w in ("man", "woman", "king"))
        if method == "add":
            return b - a + c
        return (b + 1) / 2 * (c + 1) / 2 / ((a + 1) / 2 + 0.001)

    best = max((w for w in WORDS if w not in ("man", "woman", "king")), key=score)
    vectors = where.model.vectors()
    asked = np.array([[vectors.numbers[w] for w in ("man", "woman", "king")]])
    assert vectors.words[Analogies(config).answers(vectors, asked)[0]] == best
    wrong = Analogies(Analogies.Config(questions=str(file), method=method, unknown="wrong"))
    assert wrong.evaluate(context()[0])[0].value == pytest.approx(2 / 4)


def test_neighbours_and_a_map_show_the_words(tmp_path: Path) -> None:
    where, sink = context()
    assert Neighbours(Neighbours.Config(words=["queen"], count=2)).evaluate(where) == []
    order = sorted((w for w in WORDS if w != "queen"), key=lambda w: -cos("queen", w))
    assert sink.tables["neighbours"][0]["nearest words and cosines"].split()[::2] == order[:2]
    WordMap(WordMap.Config(words=["king", "queen", "man", "nobody"])).evaluate(where)
    axis = sink.figures["word_map"].axes[0]
    assert {t.get_text() for t in axis.texts} == {"king", "queen", "man"}
    assert "1 unknown" in axis.get_title(loc="left")
    with pytest.raises(UserError, match="'nobody' has no vector"):
        Neighbours(Neighbours.Config(words=["nobody"])).evaluate(where)


@pytest.mark.parametrize(
    ("evaluator", "content", "message"),
    [
        (Similarity, "aa\tbb\t3\ncc\tdd\t4\n", "none of the 2 pairs of {} has vectors"),
        (Similarity, "king queen 3\nking queen\n", "{}, line 2: 'king queen' is not two words"),
        (Analogies, ": x\naa bb cc dd\n", "none of the 1 questions of {} has vectors"),
        (Analogies, "king queen man\n", "{}, line 1: 'king queen man' is not four words"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_one_line(
    tmp_path: Path, evaluator: Any, content: str, message: str
) -> None:
    file = tmp_path / "set.txt"
    file.write_text(content)
    name = "pairs" if evaluator is Similarity else "questions"
    with pytest.raises(UserError) as caught:
        evaluator(evaluator.Config(**{name: str(file)})).evaluate(context()[0])
    assert message.format(file) in caught.value.message and "\n" not in caught.value.message


def test_the_embedded_sets_are_whole() -> None:
    pairs = embedded_pairs()
    assert len(pairs) > 60 and all(0 <= p.judged <= 10 for p in pairs)
    assert len({frozenset((p.first, p.second)) for p in pairs}) == len(pairs)
    assert [len(s.questions) for s in embedded_analogies()] == [182, 90, 72, 72]


@pytest.mark.parametrize("binary", [False, True])
def test_vectors_come_back_bit_for_bit(tmp_path: Path, binary: bool) -> None:
    rng = np.random.default_rng(0)
    words = [*WORDS, "naïve", "日本", "1.5"]
    written = WordVectors(words, rng.normal(size=(len(words), 7)).astype(np.float32))
    write_vectors(tmp_path / "v", written, binary)
    found = read_vectors(tmp_path / "v")
    assert found.words == words and np.array_equal(found.matrix, written.matrix)


def test_gensim_reads_what_is_written_and_what_it_writes_is_read(tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models")
    written = WordVectors(WORDS, MATRIX)
    for binary in (False, True):
        write_vectors(tmp_path / "ours", written, binary)
        theirs = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
        assert theirs.index_to_key == WORDS and np.array_equal(theirs.vectors, MATRIX)
        theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
        found = read_vectors(tmp_path / "theirs")
        assert sorted(found.words) == sorted(WORDS)
        for word, row in zip(WORDS, MATRIX, strict=True):
            assert np.array_equal(found.vector(word), row)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"2 3\na 1 2 3\nb 1 2\n", "line 3: 2 numbers, where the first line has or names 3"),
        (b"2 3\na 1 2 3\nb 1 x 3\n", "line 3: not all of it are numbers"),
        (b"3 3\na 1 2 3\nb 1 2 3\n", "line 1 tells of 3 words, but the file holds 2"),
        (b"1 2\na nan 1\n", "line 2: the vector is not finite"),
        (b"1 2\na 1e60 1\n", "line 2: the vector is not finite"),
        (b"2 2\ncaf\xe9 1 1\nb 1 1\n", "line 2: the word is not UTF-8"),
        (b"", "line 1 is neither"),
        (b"0 2\n", "line 1 tells of 0 words, but the file holds 0"),
        (b"9999999999 2\na 1 1\n", "line 1 tells of 9999999999 words, but the file holds 1"),
        (b"hello\n", "line 1 is neither"),
        (b"2 2\na \x00\x01\x02\x03\x00\x00\x00\x00b \x00", "ends (or is damaged) in word 2 of 2"),
    ],
)
def test_a_broken_file_of_vectors_is_named_with_its_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_vectors(tmp_path / "v.txt")
    assert message in caught.value.message and "v.txt" in caught.value.message


def test_of_a_word_that_stands_twice_the_first_vector_counts_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "v.txt").write_text("3 2\na 1 2\nb 3 4\na 5 6\n")
    found = read_vectors(tmp_path / "v.txt")
    assert found.words == ["a", "b"] and found.vector("a").tolist() == [1, 2]
    assert "v.txt: 1 line left out, of words that stood there before" in caplog.text


def test_vectors_of_glove_have_no_first_line(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text("the 0.5 1 2\nof 1 2 3\n")
    found = read_vectors(tmp_path / "g.txt")
    assert found.words == ["the", "of"] and found.matrix.tolist() == [[0.5, 1, 2], [1, 2, 3]]
