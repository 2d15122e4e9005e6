"""Tokenizers give text back, are stored as plain JSON, and learn the same thing each time."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise, repeat
from pathlib import Path

import pytest

from scratchlab.data.batching.bpe_dropout import POOL, DropoutEncoder
from scratchlab.data.tokenizers.bpe import learn_merges
from scratchlab.data.tokenizers.files import from_json, write_tokenizer
from scratchlab.data.tokenizers.learned import MARKS, Learned, Pieces
from scratchlab.data.tokenizers.learning import learn
from scratchlab.data.tokenizers.words import (
    join_plain_words,
    mark_words,
    piece_label,
    plain_words,
    unmark,
)
from scratchlab.errors import UserError
from scratchlab.random_streams import generator
from tests.data.conftest import PAIRS

TEXTS = [text for pair in PAIRS["train"] for text in pair]
HARD = [
    "L'homme n'a pas vu l’été : « oui », dit-il !",
    "Va\u202f! «\u00a0Aujourd'hui\u00a0»\u2009; 12,5\u00a0% de 2016…",
    "it's the dogs' bone, I'd say: don't!!  (a(b)) 'tis \"so\" ",
    " a space before, a tab\there, ends in a line\n",
    "￭ ▁ ￮41￮ are marks of our own; _ and __ are not",
    "☃ 漢字 👩‍🚀 e\u0301 \x00 \ufeff",
    "",
    " ",
]


def learned(kind: str, texts: list[str], size: int, min_frequency: int) -> Learned:
    return learn(kind, lambda: texts, size, min_frequency)


def pieces(texts: list[str], size: int, min_frequency: int) -> Pieces:
    found = learned("bpe", texts, size, min_frequency)
    assert isinstance(found, Pieces)
    return found


@pytest.fixture(scope="module")
def bpe() -> Pieces:
    return pieces(TEXTS, 500, 2)


@pytest.mark.parametrize("text", HARD)
def test_bpe_gives_any_text_back_to_the_last_character(bpe: Pieces, text: str) -> None:
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text
    assert bpe.unk_id not in ids


def test_bpe_gives_random_text_back(bpe: Pieces) -> None:
    chance = random.Random(0)
    for _ in range(3000):
        text = "".join(chance.choices("aélT1 '’.,\u00a0\u202f-￭▁￮A(!\"s", k=chance.randrange(12)))
        assert bpe.decode(bpe.encode(text)) == text
        assert unmark("".join(mark_words(text))) == text


def test_a_word_has_the_same_pieces_wherever_it_stands(bpe: Pieces) -> None:
    assert mark_words("Homme. L'homme (homme)") == [
        "▁Homme", "▁￭.", "▁L'￭", "▁homme", "▁(￭", "▁homme", "▁￭)",
    ]  # fmt: skip


def test_text_that_no_sentence_would_give_is_still_decoded() -> None:
    assert unmark("▁￭a▁￭￭▁b￭") == "ab"
    assert unmark("▁￮41▁￮110000￮▁￮D800￮▁￮") == "41   "


def test_text_is_never_taken_for_a_special_token(bpe: Pieces) -> None:
    for tokenizer in (bpe, learned("word", TEXTS, 500, 1), learned("char", TEXTS, 99, 1)):
        for name in MARKS:
            assert not {1, 2, 3} & set(tokenizer.encode(f"a {name} {name}"))


def test_ids_of_padding_and_sentence_ends_decode_to_nothing(bpe: Pieces) -> None:
    assert bpe.decode([2, *bpe.encode("Le chat."), 3, 1, 1]) == "Le chat."


def test_bpe_applies_its_merges_as_the_tokenizers_library_does(bpe: Pieces) -> None:
    from tokenizers import models

    tokens = {token: i for i, token in enumerate(bpe.tokens)}
    theirs = models.BPE(vocab=tokens, merges=bpe.merges.pairs)
    words = {word for text in TEXTS for word in bpe.words(text)} | {"▁anticonstitutionnellement"}
    assert len(words) > 300
    for word in words:
        assert [t.id for t in theirs.tokenize(word)] == bpe.merges.apply(word)


def test_bpe_keeps_to_its_size_and_frequency() -> None:
    assert len(pieces(TEXTS, 300, 2)) == 300
    counts = Counter({"▁ab": 5, "▁cd": 1})
    tokens, merges = learn_merges(counts, ["a", "b", "c", "d", "▁"], 100, 2)
    assert merges and not any("c" in left + right for left, right in merges)
    assert len(tokens) == 5 + len(merges)


def test_too_small_a_vocabulary_is_refused_with_the_size_needed() -> None:
    with pytest.raises(UserError, match=r"vocab_size=20 is too small .* need \d+ tokens"):
        pieces(TEXTS, 20, 2)


def test_bpe_learns_the_same_in_another_process_with_other_threads(bpe: Pieces) -> None:
    program = (
        "import json, sys; from scratchlab.data.tokenizers.learning import learn;"
        "texts = json.load(sys.stdin);"
        "json.dump(learn('bpe', lambda: texts, 500, 2).to_json(), sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "3"},
    )
    assert json.loads(done.stdout) == bpe.to_json()


@pytest.mark.parametrize("kind", ["bpe", "word", "whitespace", "char"])
@pytest.mark.parametrize("lines", [False, True])
def test_a_stored_tokenizer_encodes_and_decodes_the_same(
    kind: str, lines: bool, tmp_path: Path
) -> None:
    tokenizer = learn(kind, lambda: TEXTS, 400, 2, lines=lines, mask=kind != "char")
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path, tokenizer)
    again = from_json(json.loads(path.read_text(encoding="utf-8")), str(path))
    assert again.to_json() == tokenizer.to_json()
    for text in (*TEXTS[:50], *HARD, "a ⁇ mask"):
        ids = tokenizer.encode(text)
        assert again.encode(text) == ids
        assert again.decode(ids) == tokenizer.decode(ids)
        assert again.labels(ids) == tokenizer.labels(ids)


@pytest.mark.parametrize(
    "stored",
    [
        [],
        {"format": 1},
        {"format": 3, "kind": "word", "tokens": []},
        {"format": 2, "kind": "word", "tokens": []},
        {"format": 2, "kind": "word", "tokens": [], "special": [], "lines": False, "mask": False},
        {"format": 1, "kind": "pickle", "tokens": []},
        {"format": 1, "kind": "word", "tokens": ["a", "a"]},
        {"format": 1, "kind": "word", "tokens": [3]},
        {"format": 1, "kind": "bpe", "tokens": ["▁", "a"], "merges": [["a", "x"]]},
        {"format": 1, "kind": "bpe", "tokens": ["a"], "merges": []},
    ],
)
def test_what_is_no_tokenizer_is_refused_in_one_message(stored: object) -> None:
    with pytest.raises(UserError, match=r"^here: "):
        from_json(stored, "here")


def test_words_are_lower_cased_and_rare_ones_unknown() -> None:
    tokenizer = learned("word", ["The cat. The dog.", "the CAT, the end"], 100, 2)
    assert tokenizer.tokens == [*MARKS, "the", ".", "cat"]
    assert tokenizer.decode(tokenizer.encode("The dog, the cat.")) == "the <unk> <unk> the cat."
    assert tokenizer.lower_case


def test_a_vocabulary_keeps_the_most_frequent_and_then_the_alphabetically_first() -> None:
    assert learned("char", ["bbaaccccd"], 6, 1).tokens[4:] == ["c", "a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("L'homme d'aujourd'hui.", ["l'", "homme", "d'", "aujourd'", "hui", "."]),
        ("It's a t-shirt, isn't it?", ["it", "'s", "a", "t-shirt", ",", "isn", "'t", "it", "?"]),
        ("Il y a 3.5 m (ou 1,000) !", ["il", "y", "a", "3.5", "m", "(", "ou", "1,000", ")", "!"]),
    ],
)
def test_plain_words_are_split_by_the_documented_rule(text: str, words: list[str]) -> None:
    assert plain_words(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "l'homme d'aujourd'hui n'a pas dit \"oui\" (ou 3.5), a-t-il dit.",
        "it's a man's t-shirt, isn't it?",
        "un homme, une femme; deux chiens: quoi...",
    ],
)
def test_joined_plain_words_read_as_they_are_commonly_typed(text: str) -> None:
    assert join_plain_words(plain_words(text)) == text


def test_without_dropout_every_word_is_encoded_as_ever(bpe: Pieces) -> None:
    for word in ("▁beautiful", "▁a", "▁￭."):
        assert bpe.merges.apply_dropout(word, 0.0, repeat(0.5)) == bpe.merges.apply(word)


def test_with_every_merge_dropped_a_word_is_its_characters(bpe: Pieces) -> None:
    ids = bpe.merges.apply_dropout("▁chat", 0.99, repeat(0.5))
    assert bpe.labels(ids) == ["▁", "+c", "+h", "+a", "+t"]
    assert [piece_label(p) for p in ("▁Homme", "▁￭.", "▁L'￭", "ing", "￭", "▁")] == [
        "Homme", ".", "L'", "+ing", "+", "▁",
    ]  # fmt: skip


def test_the_chance_of_a_split_is_that_of_the_paper() -> None:
    # One possible merge: it is dropped, and the word stays split, with exactly the probability.
    tokenizer = Pieces(["▁", "a", "▁a"], [("▁", "a")])
    chance = iter(generator(0).random(20_000).tolist())
    draws = [len(tokenizer.merges.apply_dropout("▁a", 0.1, chance)) for _ in range(10_000)]
    assert draws.count(2) / len(draws) == pytest.approx(0.1, abs=0.01)


def test_dropout_changes_pieces_by_epoch_and_never_the_text(bpe: Pieces) -> None:
    texts = TEXTS[:200]
    encoder = DropoutEncoder(bpe, texts, 0.2)
    first, second = encoder.encode(1, 0, 0), encoder.encode(1, 1, 0)
    assert [bpe.decode(first[i]) for i in range(len(first))] == texts
    assert [bpe.decode(second[i]) for i in range(len(second))] == texts
    different = sum(first[i] != second[i] for i in range(len(texts)))
    assert different > len(texts) / 2


def test_dropout_is_a_pure_function_of_seed_epoch_and_side(bpe: Pieces) -> None:
    texts = TEXTS[:100]
    encoder = DropoutEncoder(bpe, texts, 0.2)
    expected = encoder.encode(5, 3, 1).values.tolist()
    encoder.encode(5, 4, 1)
    assert encoder.encode(5, 3, 1).values.tolist() == expected
    assert DropoutEncoder(bpe, texts, 0.2).encode(5, 3, 1).values.tolist() == expected
    assert encoder.encode(6, 3, 1).values.tolist() != expected
    assert encoder.encode(5, 3, 0).values.tolist() != expected


def test_occurrences_of_one_word_get_different_pieces_in_one_epoch(bpe: Pieces) -> None:
    texts = ["beautiful"] * (4 * POOL)
    encoded = DropoutEncoder(bpe, texts, 0.3).encode(0, 0, 0)
    distinct = {tuple(encoded[i]) for i in range(len(texts))}
    assert 2 < len(distinct) <= POOL


def test_a_tokenizer_may_not_name_special_tokens_again() -> None:
    stored = {"format": 1, "kind": "whitespace", "tokens": ["a", "<pad>"]}
    tokenizer = from_json(stored, "here")
    assert tokenizer.encode("a <pad> <eos>") == [4, 5, 0] and tokenizer.pad_id == 1
    assert tokenizer.decode([4, 5, 1, 3]) == "a <pad>"


def by_definition(tokenizer: Pieces, word: str) -> list[int]:
    """The earliest learned merge first, the leftmost of these, looked for anew at each step."""
    ranks: dict[tuple[str, str], int] = {}
    for rank, pair in enumerate(tokenizer.merges.pairs):
        ranks.setdefault(pair, rank)
    parts = list(word)
    while True:
        found = [(ranks[p], i) for i, p in enumerate(pairwise(parts)) if p in ranks]
        if not found:
            return [tokenizer.ids[part] for part in parts]
        _, place = min(found)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def test_merges_come_in_the_order_in_which_they_were_learned_leftmost_first(
    bpe: Pieces,
) -> None:
    chance = random.Random(5)
    letters = "".join(sorted(set("".join(TEXTS)) - {" "}))
    few = pieces(["".join(chance.choices("ab", k=400)) for _ in range(9)], 60, 1)
    for tokenizer, characters in ((bpe, letters), (few, "ab")):
        for length in (*range(1, 40), 300):
            word = "".join(chance.choices(characters, k=length))
            assert tokenizer.merges.apply(word) == by_definition(tokenizer, word)


def test_a_word_of_many_thousand_characters_is_learned_from_and_encoded_at_once() -> None:
    genome = "".join(random.Random(0).choices("ACGT", k=16_000))
    started = time.process_time()
    tokenizer = pieces([genome, *TEXTS], 600, 1)
    ids = tokenizer.encode(genome)
    drawn = DropoutEncoder(tokenizer, [genome], 0.1).encode(0, 0, 0)
    assert time.process_time() - started < 2  # 12 s for the ids alone if each merge looks anew
    assert tokenizer.decode(ids) == genome == tokenizer.decode(drawn[0])
    assert 2 < len(genome) / len(ids) < 8 and len(ids) < len(drawn[0])
