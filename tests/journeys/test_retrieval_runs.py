"""A collection of a user's own: indexed, measured, asked, changed; and answers from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scratchlab.cli import main
from tests.support.checkpoints import write_bert, write_llama

Captured = pytest.CaptureFixture[str]
FACTS = {
    "cats.txt": "Cats purr when they are happy.",
    "dogs.txt": "Dogs bark at strangers and at cats.",
    "owls.txt": "Owls hoot at night.\n\nThey see well in the dark.",
    "fish.txt": "Fish swim in water.",
}
ASKED = [
    ("who purrs or who does purr", "cats.txt"),
    ("what do dogs bark at", "dogs.txt"),
    ("seeing in the dark", "owls.txt"),
    ("where do fish swim", "fish.txt"),
    ("quantum chromodynamics", "fish.txt"),
    ("who hoots at night", "owls.txt"),
]
WORDS = sorted({word.strip(".?") for text in FACTS.values() for word in text.split()})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a user, with notes and queries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCRATCHLAB_DATA", raising=False)
    monkeypatch.setenv("SCRATCHLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "notes").mkdir()
    for name, text in FACTS.items():
        (tmp_path / "notes" / name).write_text(text)
    rows = [{"query": query, "relevant": [name]} for query, name in ASKED]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


OWN = ["dataset=documents", "dataset.path=notes", "name=x", "threads=1"]


def index(*words: str) -> int:
    return main(["train", "model=retriever", *OWN, *words])


def results(run: str) -> dict[str, float]:
    return {m["name"]: m["value"] for m in json.loads(Path(run, "results.json").read_text())}


@pytest.mark.parametrize("representation", ["bm25", "tfidf", "word_vectors", "encoder"])
def test_a_folder_of_notes_is_indexed_measured_and_asked(
    folder: Path, capfd: Captured, representation: str
) -> None:
    words = [f"representation={representation}", "dataset.queries=asked.jsonl"]
    if representation == "word_vectors":
        pytest.importorskip("numba")
        words += ["representation.min_count=1", "representation.vector_size=8"]
    if representation == "encoder":
        pytest.importorskip("transformers")
        checkpoint = write_bert(folder / "bert", WORDS)
        words += [f"representation.checkpoint={checkpoint}", "representation.max_length=32"]
    assert index(*words, "run_id=one") == 0
    capfd.readouterr()
    found = results("outputs/x/one")
    kept = {"mrr", "ndcg_at_10", "recall_at_1", "recall_at_10", "unknown_queries"}
    assert kept <= set(found) and all(0 <= found[name] <= 1 for name in kept)
    assert "map" not in found  # one right document each: it would be the MRR
    assert Path("outputs/x/one/plots/recall_curve.png").is_file()
    assert index(*words, "run_id=two") == 0
    for file in ("results.json", "checkpoints/last/model.safetensors"):
        assert Path("outputs/x/one", file).read_bytes() == Path("outputs/x/two", file).read_bytes()
    capfd.readouterr()
    assert main(["predict", "outputs/x/one", "fish swim in water", "model.shown=2"]) == 0
    first, second = capfd.readouterr().out.splitlines()
    place, score, name, text = first.split("  ", 3)
    assert (place, name, text) == ("1", "fish.txt", "Fish swim in water.")
    assert float(score) > float(second.split("  ")[1])
    assert main(["eval", "outputs/x/one"]) == 0
    again = Path("outputs/x/one/evaluations/latest/results.json")
    assert {m["name"]: m["value"] for m in json.loads(again.read_text())} == found


def test_unknown_words_find_nothing_and_changed_notes_are_told_of(
    folder: Path, capfd: Captured
) -> None:
    assert index("dataset.queries=asked.jsonl", "run_id=one") == 0
    assert capfd.readouterr().err.count("error") == 0
    assert main(["predict", "outputs/x/one", "xyzzy", "cats", ""]) == 1
    told = capfd.readouterr()
    assert "none of the words of 'xyzzy'" in told.err and "1 of 3 queries" in told.err
    assert [line.split("  ")[2] for line in told.out.splitlines() if line] == [
        "cats.txt", "dogs.txt",
    ]  # fmt: skip
    (folder / "notes/cats.txt").write_text("Cats sleep.")
    (folder / "notes/new.txt").write_text("More.")
    assert main(["predict", "outputs/x/one", "cats"]) == 0
    told = capfd.readouterr()
    assert "1 of 4 passages are no longer there, 2 are new" in told.err
    assert [line.split("  ")[2] for line in told.out.splitlines()] == ["dogs.txt"]
    assert main(["eval", "outputs/x/one"]) != 0
    assert "the documents have changed since the index was built" in capfd.readouterr().err


def test_notes_without_queries_are_indexed_for_use(folder: Path, capfd: Captured) -> None:
    assert index("run_id=one", "dataset.passage_words=4", "dataset.passage_overlap=1") == 0
    told = capfd.readouterr()
    assert "nothing is measured: no queries are given" in told.err + told.out
    assert main(["eval", "outputs/x/one"]) == 2
    assert "error: no queries are given (dataset.queries=FILE)" in capfd.readouterr().err
    assert not Path("outputs/x/one/evaluations").exists()
    assert main(["predict", "outputs/x/one", "the dark"]) == 0
    assert capfd.readouterr().out.endswith("owls.txt  well in the dark.\n")


def test_faiss_finds_what_the_exact_search_finds_and_is_kept_without_pickle(
    folder: Path, capfd: Captured
) -> None:
    pytest.importorskip("faiss")
    pytest.importorskip("numba")
    rows = [{"query": q, "relevant": [name, "owls.txt"]} for q, name in ASKED if "dark" not in q]
    Path("asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["representation=word_vectors", "representation.min_count=1", "model.shown=2",
             "representation.vector_size=8", "dataset.queries=asked.jsonl"]  # fmt: skip
    assert index(*words, "model.index=faiss", "run_id=one") == 0
    assert index(*words, "model.index=faiss", "run_id=again") == 0
    assert index(*words, "run_id=exact") == 0
    files = [p.name for p in Path("outputs/x/one/checkpoints/last").rglob("*") if p.is_file()]
    assert [f for f in files if not f.endswith((".safetensors", ".json", ".yaml"))] == []
    one, again, exact = (results(f"outputs/x/{run}") for run in ("one", "again", "exact"))
    assert one == again == exact and one["map"] < one["mrr"]
    capfd.readouterr()
    said = {}
    for run, how in (("one", "faiss"), ("one", "exact"), ("exact", "faiss"), ("exact", "exact")):
        assert main(["predict", f"outputs/x/{run}", "fish swim", f"model.index={how}"]) == 0
        said[run, how] = capfd.readouterr().out
    assert len(set(said.values())) == 1 and said["one", "exact"].startswith("1  ")


def test_faiss_refuses_sparse_rows_and_damaged_lists(folder: Path, capfd: Captured) -> None:
    pytest.importorskip("faiss")
    assert index("representation=tfidf", "model.index=faiss") == 2
    assert "sparse rows, which FAISS cannot search" in capfd.readouterr().err
    assert not Path("outputs/x").exists()
    assert index("representation=tfidf", "model.probes=4", "run_id=one") == 0
    assert "model.probes=4 does nothing here" in capfd.readouterr().err
    assert main(["predict", "outputs/x/one", "fish", "model.index=faiss"]) == 2
    assert "FAISS cannot search" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset.path=nowhere"], "no file"),
        (["dataset.path=latin"], "latin/a.md, line 1: byte 0xe9 is not UTF-8"),
        (["dataset.path=asked.txt"], "there is no document in it"),
        (["representation=null"], "representation=bm25"),
        (["dataset.queries=bad.jsonl"], "no field 'relevant' Did you mean 'relevent'?"),
        (["dataset.passage_words=3", "dataset.passage_overlap=3"], "must be less than"),
        (["dataset=docstrings"], "the model retriever is for retrieval"),
        (["representation=bm52"], "Did you mean 'bm25'?"),
        (["evaluator=[perplexity]"], "the data set documents poses retrieval"),
    ],
)
def test_what_cannot_be_indexed_is_refused_in_a_line(
    folder: Path, capfd: Captured, words: list[str], message: str
) -> None:
    (folder / "latin").mkdir()
    (folder / "latin/a.md").write_bytes(b"caf\xe9")
    (folder / "asked.txt").write_text("\n \n")
    (folder / "bad.jsonl").write_text('{"query": "x", "relevent": "cats.txt"}\n')
    assert index(*words) == 2
    assert message in " ".join(capfd.readouterr().err.split())


RAG = ["model=rag", "dataset=document_questions", "dataset.path=notes", "name=r", "threads=1",
       "dataset.passage_words=6",
    "dataset.passage_overlap=0", "dataset.passage_tokens=20", "dataset.chat=false",
       "dataset.max_length=128"]  # fmt: skip


def test_questions_are_answered_with_and_without_passages(folder: Path, capfd: Captured) -> None:
    pytest.importorskip("transformers")
    checkpoint = write_llama(folder / "llama", [*WORDS, "Question", "Answer", *":[]123."])
    rows = [{"question": f"{query}?", "answer": [name.removesuffix(".txt"), "x"]}
            for query, name in ASKED]  # fmt: skip
    Path("qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [*RAG, f"model.checkpoint={checkpoint}", "decoding.max_new_tokens=4"]
    assert main(["train", *words, "dataset.questions=qa.jsonl", "run_id=one"]) == 0
    found = results("outputs/r/one")
    for name in ("exact_match", "answer_f1"):
        gain = found[f"{name}_gain"]
        assert gain == pytest.approx(found[name] - found[f"{name}_without"])
    assert 0 < found["answer_in_passages"] <= 100
    capfd.readouterr()
    asked = ["where do Fish swim", "dataset.show_prompt=true", "dataset.examples=1"]
    assert main(["predict", "outputs/r/one", *asked]) == 0
    out = capfd.readouterr().out
    prompt, fish = out.split("\n\n")[0], "[ 1 ] Fish swim in water"
    assert prompt.count("Question :") == 2 and prompt.count("Answer :") == 2
    assert prompt.index("Answer :") < prompt.index(fish) < prompt.rindex("Question :")
    assert out.splitlines()[-1].startswith("  [1] fish.txt")
    (folder / "notes/fish.txt").write_text("Fish fly.")
    assert main(["predict", "outputs/r/one", "where do fish swim"]) == 0
    told = capfd.readouterr()
    assert "the documents have changed" in told.err and "fish.txt" not in told.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "who?"}', "bad.jsonl, line 2: no field 'answer'"),
        ('{"question": "who?", "answer": []}', "bad.jsonl, line 2: no text in the field 'answer'"),
        ('{"question": " ", "answer": "x"}', "bad.jsonl, line 2: no text in the field 'question'"),
        ("who?", "bad.jsonl, line 2"),
    ],
)
def test_questions_without_an_answer_are_named_with_their_line(
    folder: Path, capfd: Captured, line: str, message: str
) -> None:
    (folder / "bad.jsonl").write_text(f'{{"question": "what?", "answer": "x"}}\n{line}\n')
    words = ["document_questions", "path=notes", "questions=bad.jsonl", "tokenizer=word"]
    assert main(["data", "check", *words]) == 2
    assert message in capfd.readouterr().err


def test_documents_without_questions_can_be_asked(folder: Path, capfd: Captured) -> None:
    pytest.importorskip("transformers")
    checkpoint = write_llama(folder / "llama", WORDS)
    words = [*RAG, f"model.checkpoint={checkpoint}", "decoding.max_new_tokens=4"]
    assert main(["train", *words, "run_id=one"]) == 0
    told = capfd.readouterr()
    assert "nothing is measured: no questions are given" in told.err + told.out
    assert main(["predict", "outputs/r/one", "who purrs when they are happy"]) == 0
    assert "  [1] cats.txt" in capfd.readouterr().out


def test_word_vectors_of_a_file_say_what_is_near(folder: Path, capfd: Captured) -> None:
    Path("v.txt").write_text("4 2\npurr 1 0\nmeow 1 0.1\nbark 0 1\nhoot -1 0\n")
    assert index("representation=word_vectors", "init_from=v.txt", "run_id=one") == 0
    capfd.readouterr()
    assert main(["predict", "outputs/x/one", "meow"]) == 0  # in no note, but near a word of one
    found = [line.split("  ")[2] for line in capfd.readouterr().out.splitlines()]
    assert found[:2] == ["cats.txt", "dogs.txt"]
