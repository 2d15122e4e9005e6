"""The promises of the phrasebook's splits: held-out combinations, known words, no repeats."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from scratchlab.data.generated.phrasebook.corpus import (
    Corpus,
    combinations,
    generate,
    held_out_combinations,
    sentences,
)
from scratchlab.data.generated.phrasebook.grammar import (
    english,
    french,
)
from scratchlab.data.generated.phrasebook.lexicon import (
    NOUNS,
)

NOUN = {n.en: n for n in NOUNS}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generate()


def french_words(text: str) -> list[str]:
    return re.findall(r"[\w-]+'?", text.lower())


def test_the_same_seed_gives_the_same_pairs_and_another_seed_gives_others() -> None:
    sizes = {"train_pairs": 200, "val_pairs": 20, "test_pairs": 20}
    assert generate(3, **sizes) == generate(3, **sizes)
    assert generate(3, **sizes) != generate(4, **sizes)
    assert held_out_combinations(3) != held_out_combinations(4)


def test_splits_have_the_asked_sizes_and_share_no_english_sentence(corpus: Corpus) -> None:
    assert {split: len(pairs) for split, pairs in corpus.items()} == {
        "train": 30000,
        "val": 500,
        "test": 500,
    }
    sources = [source for pairs in corpus.values() for source, _ in pairs]
    assert len(set(sources)) == 31000


def test_training_holds_no_held_out_combination_and_every_test_sentence_holds_one() -> None:
    held = held_out_combinations(0)
    drawn = sentences(0, train_pairs=3000)
    assert all(held.isdisjoint(combinations(sentence)) for sentence in drawn["train"])
    for split in ("val", "test"):
        assert not any(held.isdisjoint(combinations(sentence)) for sentence in drawn[split])
    assert {kind for kind, _, _ in held} == {"adjective noun", "verb object", "subject verb"}


def test_sentence_structures_are_the_ones_behind_the_pairs() -> None:
    sizes = {"train_pairs": 50, "val_pairs": 10, "test_pairs": 10}
    drawn = sentences(5, **sizes)
    rendered = {split: [(english(s), french(s)) for s in part] for split, part in drawn.items()}
    assert rendered == generate(5, **sizes)


def test_held_out_pairs_of_words_do_not_meet_in_the_training_text(corpus: Corpus) -> None:
    # Read from the text alone: an adjective right before its noun.
    def neighbours(*splits: str) -> set[tuple[str, str]]:
        texts = [re.findall(r"\w+", source.lower()) for k in splits for source, _ in corpus[k]]
        return {pair for words in texts for pair in pairwise(words)}

    pairs = [(a.lower(), n) for kind, a, n in held_out_combinations(0) if kind == "adjective noun"]
    assert len(pairs) > 40
    held = [{(a, n), (a, NOUN[n].en_plural)} for a, n in pairs]
    training, testing = neighbours("train"), neighbours("val", "test")
    assert all(forms.isdisjoint(training) for forms in held)
    assert sum(not forms.isdisjoint(testing) for forms in held) > 0.8 * len(held)


def test_every_word_of_the_test_sentences_is_frequent_in_training(corpus: Corpus) -> None:
    for side in (0, 1):
        known = Counter(w for pair in corpus["train"] for w in french_words(pair[side]))
        for split in ("val", "test"):
            rare = {w for pair in corpus[split] for w in french_words(pair[side]) if known[w] < 5}
            assert rare == set()
        assert 250 < len(known) < 720


def test_sentences_are_short_and_end_in_punctuation(corpus: Corpus) -> None:
    pairs = corpus["train"]
    lengths = [len(source.split()) for source, _ in pairs]
    assert min(lengths) == 3 and max(lengths) == 14
    assert 6.5 < sum(lengths) / len(lengths) < 8.5
    for source, target in pairs:
        assert source[0].isupper() and target[0].isupper()
        assert (source[-1], target[-2:]) == ("?", " ?") or (source[-1] == "." == target[-1])


def test_no_elision_or_contraction_is_missed_anywhere(corpus: Corpus) -> None:
    vowel = "[aeiouyhàâéèêîôœ]"
    eliding = "le|la|je|me|ne|de|que|ce|ma|sa|beau|nouveau"
    wrong = re.compile(rf"\b(?:{eliding}) (?!héros){vowel}|\bà les?\b|\bde les?\b|' ")
    for _, target in corpus["train"]:
        assert not wrong.search(target.lower()), target
