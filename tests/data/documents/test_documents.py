"""Collections of documents: read, judged, cut, searched."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from scratchlab.data.contract import DataContext
from scratchlab.data.documents.inverted_lists import InvertedLists, share_found
from scratchlab.data.documents.judged import attached, read_beir, read_judgements
from scratchlab.data.documents.nearest import Nearest, first, ranks_of
from scratchlab.data.documents.passages import cut, passages_of
from scratchlab.data.documents.reading import CollectionOptions, Document, read_collection
from scratchlab.data.sets.retrieval import OwnDocuments
from scratchlab.describing.described import described
from scratchlab.errors import UserError


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def beir(folder: Path) -> Path:
    """A tiny collection as BEIR distributes them."""
    corpus = [("d1", "Cats", "They purr."), ("d2", "", "Dogs bark."), ("d3", "Owls", "They hoot.")]
    lines = (json.dumps({"_id": i, "title": t, "text": x}) for i, t, x in corpus)
    folder.mkdir()
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    queries = [("q1", "what purrs"), ("q2", "what hoots or barks"), ("q3", "nobody asks")]
    lines = (json.dumps({"_id": i, "text": x}) for i, x in queries)
    written(folder / "queries.jsonl", "\n".join(lines))
    head = "query-id\tcorpus-id\tscore\n"
    written(folder / "qrels/test.tsv", f"{head}q1\td1\t1\nq2\td3\t2\nq2\td2\t1\nq2\td1\t0\n")
    written(folder / "qrels/dev.tsv", f"{head}q3\td2\t1\n")
    return folder


def read(path: Path, **options: object) -> list[tuple[str, str]]:
    found = read_collection(path, CollectionOptions(**options))  # type: ignore[arg-type]
    return [(d.name, d.whole) for d in found.documents]


def test_every_form_of_a_collection_is_read(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.txt", "\ufeffone\r\n\r\n  two \n")) == [
        ("1", "one"), ("3", "two"),
    ]  # fmt: skip
    table = written(tmp_path / "b.csv", "id;text\nx;One\ny;\nz;Three\n")
    assert read(table, name_column="id") == [("x", "One"), ("z", "Three")]
    assert read_collection(table, CollectionOptions()).notes == [
        f"{table}: 1 empty document left out"
    ]
    tabs = written(tmp_path / "c.tsv", 'head\ttext\nA "b\tc\n')
    assert read(tabs, title_column="head") == [("2", 'A "b c')]
    objects = written(tmp_path / "d.jsonl", '{"n": 7, "body": "One"}\n{"n": "8", "body": "Two"}\n')
    assert read(objects, text_column="body", name_column="n") == [("7", "One"), ("8", "Two")]
    written(tmp_path / "notes/deep/one.md", "# One\n\nText.")
    written(tmp_path / "notes/two.txt", "Two")
    written(tmp_path / "notes/.git/config", "hidden")
    assert read(tmp_path / "notes") == [("deep/one.md", "# One\n\nText."), ("two.txt", "Two")]
    assert read(tmp_path / "notes", pattern="*.txt") == [("two.txt", "Two")]
    assert read(beir(tmp_path / "beir"))[0] == ("d1", "Cats They purr.")


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", "\n \n", {}, "there is no document in it"),
        ("a.csv", "id,text\n", {}, "there are no rows"),
        ("a.csv", "id,passage\nx,y\n", {"text_column": "pasage"}, "Did you mean 'passage'?"),
        ("a.jsonl", '{"txt": "x"}', {}, "line 1: no field 'text' Did you mean 'txt'?"),
        ("a.csv", "id,text\nx,y\nx,z\n", {"name_column": "id"},
         "line 3: a second document is called 'x' The first is line 2"),
        ("a/b.txt", "x", {"pattern": "../*"}, "leads out of the folder"),
        ("a/b.txt", "x", {"pattern": "*.md"}, "holds no file *.md"),
    ],
)  # fmt: skip
def test_what_is_no_collection_is_refused_in_a_line(
    tmp_path: Path, name: str, content: str, options: dict[str, object], message: str
) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(UserError) as caught:
        read(path if "/" not in name else path.parent, **options)
    assert message in " ".join(str(caught.value).split())


def test_a_folder_with_a_picture_in_it_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    with pytest.raises(UserError, match=r"a\.png is a picture, not text") as caught:
        read(tmp_path)
    assert "dataset.pattern=" in str(caught.value)


def test_queries_name_their_documents_in_each_form(tmp_path: Path) -> None:
    lines = '{"query": "a", "relevant": ["x", 7]}\n{"query": "b", "relevant": "y"}\n'
    tables = {"q.jsonl": lines, "q.tsv": "query\trelevant\na\tx\na\t7\nb\ty\n"}
    for name, content in tables.items():
        found = read_judgements(written(tmp_path / name, content))
        assert [(j.query, list(j.grades)) for j in found] == [("a", ["x", "7"]), ("b", ["y"])]
    notes: list[str] = []
    queries = attached(found, {"x": 0, "y": 1}, notes)
    assert [r.tolist() for r in queries.relevant] == [[0], [1]]
    assert "line 3: the collection has no document '7' (1 judgement of such" in notes[0]
    with pytest.raises(UserError, match="no document 'x'"):
        attached(found, {"xx": 0}, [])
    with pytest.raises(UserError, match="line 1: the name of a document is missing"):
        read_judgements(written(tmp_path / "r.jsonl", '{"query": "a", "relevant": []}'))


def test_a_folder_of_beirs_form_is_read_as_it_is(tmp_path: Path) -> None:
    folder = beir(tmp_path / "beir")
    judged = read_beir(folder, "test")
    assert judged is not None
    assert [(j.query, j.grades) for j in judged] == [
        ("what purrs", {"d1": 1}), ("what hoots or barks", {"d3": 2, "d2": 1}),
    ]  # fmt: skip
    dataset = OwnDocuments(OwnDocuments.Config(path=str(folder)), DataContext(None, tmp_path))
    assert [dataset.size(split) for split in dataset.splits] == [3, 1, 2]
    assert dataset.queries("test").relevant[1].tolist() == [1, 2]
    assert dataset.queries("test").grades[1].tolist() == [1, 2]
    assert dataset.passages.texts == ["Cats They purr.", "Dogs bark.", "Owls They hoot."]


def test_a_fifth_of_the_queries_chooses_settings(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "\n".join(f"word{i}" for i in range(20)))
    asked = "".join(f"word{i}\t{i + 1}\n" for i in range(20))
    queries = written(tmp_path / "q.tsv", f"query\trelevant\n{asked}")
    config = OwnDocuments.Config(path=str(path), queries=str(queries))
    dataset = OwnDocuments(config, DataContext(None, tmp_path))
    assert [dataset.size(split) for split in dataset.splits] == [20, 4, 16]
    assert set(dataset.contents("val")).isdisjoint(dataset.contents("test"))


def test_passages_have_so_many_words_and_share_some() -> None:
    text = "a b\nc  d e f g h i j"
    assert cut(text, 4, 2) == ["a b\nc  d", "c  d e f", "e f g h", "g h i j"]
    assert cut(text, 4) == ["a b\nc  d", "e f g h", "i j"]
    assert cut(text, 10) == cut(text, None) == [text]
    found = passages_of([Document("x", "a b c", "T"), Document("y", "d")], 2)
    assert found.texts == ["T a b", "T c", "d"] and found.owners.tolist() == [0, 0, 1]


def test_equal_scores_are_ranked_by_number_and_nothing_in_common_is_not_ranked() -> None:
    scores = np.array([1, 3, -np.inf, 3, 2, 1], dtype=np.float32)
    numbers, values = first(scores, 3)
    assert numbers.tolist() == [1, 3, 4] and values.tolist() == [3, 3, 2]
    assert first(scores, 10)[0].tolist() == [1, 3, 4, 0, 5]
    assert ranks_of(scores, np.array([3, 5, 2, 1])).tolist() == [2, 5, 0, 1]


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_search_finds_what_sorting_all_products_finds(kind: str, monkeypatch: object) -> None:
    random = np.random.default_rng(0)
    passages = random.integers(0, 3, (50, 6)).astype(np.float32)
    passages[7] = 0
    queries = random.integers(0, 2, (9, 6)).astype(np.float32)
    queries[4] = 0
    owners = np.sort(random.integers(0, 20, 50))
    owners = np.unique(owners, return_inverse=True)[1]
    made = sparse.csr_array if kind == "sparse" else np.asarray
    nearest = Nearest(made(passages), owners)
    found = nearest.search(made(queries), 8)
    ranks = nearest.ranks(made(queries), [np.array([3, 0])] * 9)
    for query, (numbers, values), ranked in zip(queries, found, ranks, strict=True):
        products = passages @ query
        order = sorted(range(50), key=lambda i: (-products[i], i))
        known = [i for i in order if kind == "dense" or products[i] > 0]
        known = known if query.any() else []
        assert numbers.tolist() == known[:8]
        assert values.tolist() == [products[i] for i in known[:8]]
        documents = list(dict.fromkeys(owners[i] for i in known))
        # A document stands where its best passage does; of equal ones the first document is first.
        best = {d: max(products[i] for i in known if owners[i] == d) for d in documents}
        documents.sort(key=lambda d: (-best[d], d))
        wanted = [1 + documents.index(d) if d in documents else 0 for d in (3, 0)]
        assert ranked.tolist() == wanted


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Passages and queries of small whole numbers, so that products are exact and many are equal;
    passages stand twice, and one query is empty."""
    random = np.random.default_rng(0)
    passages = random.integers(-2, 3, (300, 8)).astype(np.float32)
    passages[150:] = passages[:150]
    queries = random.integers(-2, 3, (70, 8)).astype(np.float32)
    queries[4] = 0
    return passages, queries


def test_all_lists_of_faiss_give_the_exact_order_ties_included(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    pytest.importorskip("faiss")
    passages, queries = drawn
    exact, lists = Nearest(passages), InvertedLists(passages, None, 1000)
    for count in (1, 10, 400):
        for wanted, found in zip(exact.search(queries, count), lists.search(queries, count)):
            assert found[0].tolist() == wanted[0].tolist()
            assert found[1].tolist() == wanted[1].tolist()
    right = [np.array([17, 205])] * len(queries)
    ranks = [[r.tolist() for r in near.ranks(queries, right)] for near in (exact, lists)]
    assert ranks[0] == ranks[1]
    assert share_found(lists) == 1


def test_lists_of_faiss_are_arrays_that_give_the_same_search(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    pytest.importorskip("faiss")
    passages, queries = drawn
    made, again = (InvertedLists(passages, None, 2) for _ in range(2))
    state = made.get_state()
    assert {name: a.shape for name, a in state.items()} == {
        "list_centres": (17, 8), "list_of": (300,),
    }  # fmt: skip
    kept = InvertedLists(passages, None, 2, state)
    for one, other in ((made, again), (made, kept)):
        for a, b in zip(one.search(queries, 9), other.search(queries, 9)):
            assert a[0].tolist() == b[0].tolist() and a[1].tolist() == b[1].tolist()
    assert 0.3 < share_found(made) < 1  # two of 17 lists
    of_nowhere = np.full(300, 17, dtype=np.int32)
    for damage in ({"list_of": of_nowhere}, {"list_of": state["list_of"][:9]},
                   {"list_centres": state["list_centres"] * np.nan},
                   {"list_centres": state["list_centres"][:, :3]}):  # fmt: skip
        with pytest.raises(ValueError, match=r"list|passages"):
            InvertedLists(passages, None, 2, state | damage)


def test_a_querys_scores_do_not_depend_on_what_is_asked_beside_it() -> None:
    random = np.random.default_rng(1)
    passages = random.standard_normal((999, 37)).astype(np.float32)
    queries = random.standard_normal((130, 37)).astype(np.float32)
    nearest = Nearest(passages)
    together = list(nearest.scores(queries))
    for i in (0, 63, 64, 129):
        (alone,) = nearest.scores(queries[i : i + 1])
        assert np.abs(alone - together[i]).max() < 1e-5
        assert first(alone, 50)[0].tolist() == first(together[i], 50)[0].tolist()


def test_a_collection_is_described_by_its_lengths_and_queries(tmp_path: Path) -> None:
    config = OwnDocuments.Config(path=str(beir(tmp_path / "beir")), passage_words=2)
    tables = described(OwnDocuments(config, DataContext(None, tmp_path)))
    assert tables[0].rows == [["3", "3", "2.7 / 3 / 3 / 3"]]
    assert tables[1].rows == [["val", "1", "2.0", "1.00"], ["test", "2", "3.0", "1.50"]]
    assert tables[2].rows[0] == ["val", "nobody asks", "d2", "Dogs bark."]
