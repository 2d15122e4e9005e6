"""Words keep the combining marks of their letters, and a text may be cut at its single spaces."""

from __future__ import annotations

import json
import random
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from scratchlab.data.batching.encoded_texts import encode_all
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import (
    from_json,
    read_text_tokenizer,
    write_text_tokenizer,
)
from scratchlab.data.tokenizers.learned import RUNNING, Pieces, Words
from scratchlab.data.tokenizers.learning import learn
from scratchlab.data.tokenizers.words import (
    OLD_PATTERN,
    PATTERN,
    Memory,
    mark_words,
    parts,
    plain_words,
    unmark,
)
from scratchlab.data.tokenizers.workers import Workers
from scratchlab.errors import UserError

# Each is one word, or words with plain spaces between them.
MARKED = {
    "decomposed": "cafe\u0301 re\u0301sume\u0301 i\u0307stanbul",
    "Hindi": "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 \u0915\u094d\u200d\u0937 "
    "\u0928\u093f\u0915\u094b\u200c",
    "Thai": "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0e17\u0e35\u0e48\u0e19\u0e35\u0e48",
    "Arabic": "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627 "
    "\u0643\u0650\u062a\u064e\u0627\u0628",
    "Hebrew": "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e2\u05b4\u05d1\u05b0\u05e8\u05b4"
    "\u05d9\u05ea",
    "emoji": "\U0001f469\u200d\U0001f680 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd \u2764\ufe0f",
}
TEXTS = [*MARKED.values(), "it's a re\u0301sume\u0301.", "plain words, l'homme 12,5 a-t-il?"]


@pytest.mark.parametrize("script", MARKED)
def test_combining_marks_stay_with_their_letters(script: str) -> None:
    text = MARKED[script]
    assert plain_words(text) == text.split(" ")
    assert mark_words(text) == [f"\u2581{word}" for word in text.split(" ")]
    assert plain_words(text, OLD_PATTERN) != text.split(" ")
    for kind in ("word", "bpe", "char"):
        tokenizer = learn(kind, lambda: [text], 500, 1)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_word_that_ends_in_a_mark_has_one_form_wherever_it_stands() -> None:
    word = "\u0939\u093f\u0928\u094d\u0926\u0940"
    assert mark_words(f"{word}. ({word}) {word}5") == [
        f"\u2581{word}", "\u2581\uffed.", "\u2581(\uffed", f"\u2581{word}", "\u2581\uffed)",
        f"\u2581{word}", "\u2581\uffed5",
    ]  # fmt: skip
    assert mark_words("l'e\u0301te\u0301")[1] == "\u2581e\u0301te\u0301"
    assert plain_words("he's 's\u0301") == ["he", "'s", "'", "s\u0301"]


def test_text_without_marks_is_cut_as_it_always_was() -> None:
    """Every character that stands alone, between letters, digits and spaces, and doubled."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] == "M" or category in ("Cf", "Cn", "Co", "Cs") or code == 0x130:
            continue  # marks, joiners, what is no character, and what has a mark in lower case
        if 0x1F1E6 <= code <= 0x1F1FF:
            continue  # halves of flags
        if 0x1F3FB <= code <= 0x1F3FF or (code > 0x2FFF and character.isalpha() and code % 50):
            continue  # colours of skin; of tens of thousands of letters every fiftieth
        text = f"a{character}b {character}{character}5{character} '{character}'s"
        assert mark_words(text) == mark_words(text, None, OLD_PATTERN), hex(code)
        assert plain_words(text) == plain_words(text, OLD_PATTERN), hex(code)


def random_texts(count: int) -> list[str]:
    chance = random.Random(11)
    letters = "aB\u00e91 '\u2019.,-_\u00a0\u202f\t\n \u0301\u0947\u200d\u03a3\U0001f469\uffed\u2581"
    return ["".join(chance.choices(letters + "   ", k=chance.randrange(14))) for _ in range(count)]


@pytest.mark.parametrize("pattern", [OLD_PATTERN, PATTERN])
def test_the_words_of_the_parts_are_the_words_of_the_text(pattern: int) -> None:
    known = frozenset("aB1.'")
    for text in random_texts(6_000):
        cut = parts(text)
        assert " ".join(cut) == text
        assert [w for p in cut for w in plain_words(p, pattern)] == plain_words(text, pattern)
        whole = mark_words(text, known, pattern)
        assert [w for p in cut for w in mark_words(p, known, pattern)] == whole
        assert unmark("".join(whole)) == text


def test_ids_of_a_text_are_those_of_its_words_line_by_line() -> None:
    texts = random_texts(2_000)
    pieces = learn("bpe", lambda: ["".join(texts)], 120, 1, lines=True)
    words = learn("word", lambda: texts, 40, 1, lines=True, special=RUNNING["word"])
    assert isinstance(pieces, Pieces)
    for _ in range(2):  # at first, and out of memory
        for text in texts:
            lines = text.split("\n")
            wanted = [[i for w in pieces.words(line) for i in pieces.merges.apply(w)]
                      for line in lines]  # fmt: skip
            assert pieces.encode(text) == joined(wanted, 3)
            known = {w: i for i, w in enumerate(words.tokens) if i > 1}
            wanted = [[known.get(w, 0) for w in plain_words(line)] for line in lines]
            assert words.encode(text) == joined(wanted, 1)
    (none,) = pieces.encode_each([""])
    assert none.dtype == np.int64 and len(none) == 0 and pieces.encode("") == []


def joined(lines: list[list[int]], end: int) -> list[int]:
    return [i for line in lines for i in [*line, end]][:-1]


def stored_as_before(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint from before patterns had numbers and data sets one format."""
    folder.mkdir()
    found = tokenizer.to_json()
    described = {"format": 1, "kind": found["kind"], "words": found["tokens"]}
    if found["kind"] == "bpe":
        inner = {"format": 1, "kind": "bpe", "tokens": found["tokens"], "merges": found["merges"]}
        described = {"format": 1, "kind": "bpe", "tokenizer": inner}
    (folder / "text_tokenizer.json").write_text(json.dumps(described))
    return read_text_tokenizer(folder)


def test_a_tokenizer_of_before_goes_on_cutting_marks_off(tmp_path: Path) -> None:
    text = "cafe\u0301 \u0939\u093f"
    learned = [*plain_words(text, OLD_PATTERN), "cafe\u0301"]
    old = stored_as_before(Words(learned), tmp_path / "words")
    assert old.labels(old.encode(text)) == ["cafe", "\u0301", "\u0939", "\u093f"]
    assert old.encode("\n") == [1] == [old.line_end_id] and old.pad_id is None
    bpe = stored_as_before(learn("bpe", lambda: [text], 60, 1), tmp_path / "pieces")
    assert isinstance(bpe, Pieces) and bpe.words(text) == mark_words(text, None, OLD_PATTERN)
    assert bpe.decode(bpe.encode(text)) == text
    for tokenizer in (old, bpe):
        write_text_tokenizer(tmp_path, tokenizer)  # as a run that goes on does
        again = read_text_tokenizer(tmp_path)
        assert again.to_json() == tokenizer.to_json()
        assert again.to_json()["pattern"] == OLD_PATTERN
        assert again.encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_the_pattern_is_kept_with_a_tokenizer_and_an_unknown_one_is_refused(kind: str) -> None:
    described = learn(kind, lambda: TEXTS, 300, 1).to_json()
    assert described["pattern"] == PATTERN
    assert from_json(described, "here").to_json() == described
    for wrong in (3, 0, True, "2", None, [2]):
        with pytest.raises(UserError, match="here: not a tokenizer"):
            from_json(described | {"pattern": wrong}, "here")


@pytest.mark.parametrize("pattern", [OLD_PATTERN, PATTERN])
@pytest.mark.parametrize("unit", ["a", "e\u0301", "-", "a1-", "\U0001f469\u200d", " ", "'s"])
def test_cutting_takes_time_in_proportion_to_the_text(unit: str, pattern: int) -> None:
    started = time.process_time()
    mark_words(unit * 100_000 + ".", None, pattern)
    plain_words(unit * 100_000 + ".", pattern)
    assert time.process_time() - started < 2


def test_a_memory_is_bounded_and_answers_all_the_same() -> None:
    memory = Memory(lambda key: key * 2, limit=3)
    assert [memory[i] for i in (*range(9), *range(9))] == [0, 2, 4, 6, 8, 10, 12, 14, 16] * 2
    assert len(memory) == 3


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any text is large enough for two processes."""
    monkeypatch.setattr("scratchlab.data.tokenizers.workers.LARGE", 1)
    monkeypatch.setattr("scratchlab.data.tokenizers.workers.LARGE_PIECE", 0)
    monkeypatch.setenv("RAYON_NUM_THREADS", "2")


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_several_processes_learn_the_same_tokens_and_give_the_same_ids(
    kind: str, two_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["\n".join(TEXTS), "", *random_texts(40)]
    options = {"special": RUNNING[kind], "lines": True}
    many = learn(kind, lambda: texts, 300, 1, **options)
    ids = [found.tolist() for found in many.encode_each(iter(texts))]
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")
    monkeypatch.setattr("subprocess.Popen", None)
    one = learn(kind, lambda: texts, 300, 1, **options)
    assert one.to_json() == many.to_json()
    assert [found.tolist() for found in one.encode_each(texts)] == ids
    assert any(ids)


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_many_short_texts_have_the_same_tokens_and_ids_from_several_processes(
    kind: str, two_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["", *TEXTS, "", *random_texts(40), "", ""]
    texts = [text.replace("\n", " ") for text in texts]
    many = learn(kind, lambda: texts, 300, 1)
    ids = encode_all(many, texts)
    monkeypatch.setattr("subprocess.Popen", None)
    lined = [*texts, "two\nlines"]  # no text may be cut at an end of a line of its own
    assert encode_all(many, lined)[len(texts)] == many.encode("two\nlines")
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")
    one = learn(kind, lambda: texts, 300, 1)
    assert one.to_json() == many.to_json()
    assert [ids[i] for i in range(len(ids))] == [one.encode(text) for text in texts]
    assert encode_all(one, texts).values.tolist() == ids.values.tolist()


def test_a_process_that_ends_early_is_told_of(two_workers: None) -> None:
    with Workers({"count": "no such kind"}) as workers, pytest.raises(UserError, match="threads=1"):
        list(workers.map(["text"]))
