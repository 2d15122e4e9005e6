"""A generated English–French parallel corpus with held-out word combinations.

The sentences come from a small grammar (:mod:`.grammar`): agreement, elision, contraction,
negation, adjective order, tenses, object pronouns, questions. Each English sentence has exactly one
French one, so a perfect model scores 100 BLEU: "you" is always a polite "vous" to one person,
"they" is "ils", and first and second persons agree as masculine.

Validation and test sentences each hold at least one pair of words (adjective and noun, verb and
object, subject and verb) that no training sentence holds, so they measure composition and not
memory. What is held out is the pair of dictionary forms: "black cat" held out also rules out "black
cats" in training.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from scratchlab.data.generated.phrasebook.grammar import (
    Existence,
    NounPhrase,
    Sentence,
    english,
    french,
)
from scratchlab.data.generated.phrasebook.lexicon import ADJECTIVES, NOUNS, VERBS
from scratchlab.data.generated.phrasebook.sampling import nouns_of, objects_of, sample_sentence
from scratchlab.data.generated.phrasebook.words import Adjective, Pronoun

Combination = tuple[str, str, str]
Corpus = dict[str, list[tuple[str, str]]]

VERSION = 1  # raise it when the same arguments give other sentences
_HELD_OUT_SHARE = 0.08
_MIN_WORDS, _MAX_WORDS = 3, 14


# --- Held-out combinations ----------------------------------------------------------------------


def _possible_combinations() -> dict[str, list[tuple[str, str]]]:
    """Every pair of words that the grammar can bring together, by kind of pair."""
    pairs: dict[str, list[tuple[str, str]]] = {
        "adjective noun": [(a.en, n.en) for a in ADJECTIVES for n in NOUNS if n.kind in a.kinds],
        "verb object": [(v.base, n.en) for v in VERBS for n in objects_of(v)],
        "subject verb": [(n.en, v.base) for v in VERBS for n in nouns_of(v.subjects)],
    }
    return pairs


@lru_cache(maxsize=8)
def held_out_combinations(seed: int = 0) -> frozenset[Combination]:
    """The pairs of dictionary forms that training never shows, about 8 % of all.

    No word loses more than a quarter of its pairs of a kind, so each is well known by itself.
    """
    rng = random.Random(f"held out {seed}")
    held: set[Combination] = set()
    for kind, pairs in _possible_combinations().items():
        room: dict[str, float] = defaultdict(float)
        for first, second in pairs:
            room[f"1 {first}"] += 0.25
            room[f"2 {second}"] += 0.25
        shuffled = rng.sample(pairs, len(pairs))
        wanted = round(_HELD_OUT_SHARE * len(pairs))
        for first, second in shuffled:
            keys = f"1 {first}", f"2 {second}"
            if wanted and all(room[key] >= 1 for key in keys):
                held.add((kind, first, second))
                wanted -= 1
                for key in keys:
                    room[key] -= 1
    return frozenset(held)


def _phrase_combinations(phrase: NounPhrase) -> Iterator[Combination]:
    if phrase.before:
        yield ("adjective noun", phrase.before.en, phrase.noun.en)
    if phrase.after:
        yield ("adjective noun", phrase.after.en, phrase.noun.en)


def combinations(sentence: Sentence) -> list[Combination]:
    """The pairs of dictionary forms in a sentence that might be held out."""
    clause = sentence.clause
    if isinstance(clause, Existence):
        return [*_phrase_combinations(clause.phrase), *_phrase_combinations(clause.place.phrase)]
    found: list[Combination] = []
    verb = clause.verb.base
    if not isinstance(clause.subject, Pronoun):
        for phrase in clause.subject:
            found += _phrase_combinations(phrase)
            found.append(("subject verb", phrase.noun.en, verb))
            if isinstance(clause.complement, Adjective):
                found.append(("adjective noun", clause.complement.en, phrase.noun.en))
    if isinstance(clause.complement, NounPhrase):
        found += _phrase_combinations(clause.complement)
        found.append(("verb object", verb, clause.complement.noun.en))
    if clause.receiver:
        found += _phrase_combinations(clause.receiver)
    if clause.place:
        found += _phrase_combinations(clause.place.phrase)
        if clause.verb.pattern == "motion":
            found.append(("verb object", verb, clause.place.phrase.noun.en))
    return found


# --- The corpus ---------------------------------------------------------------------------------


def _draw(split: str, count: int, seed: int, seen: set[str]) -> Iterator[tuple[Sentence, str]]:
    """Sentences that belong to the split, with their English, none of it in ``seen``."""
    held = held_out_combinations(seed)
    rng = random.Random(f"{split} {seed}")
    while count:
        sentence = sample_sentence(rng)
        if held.isdisjoint(combinations(sentence)) != (split == "train"):
            continue
        source = english(sentence)
        if source not in seen and _MIN_WORDS <= source.count(" ") + 1 <= _MAX_WORDS:
            seen.add(source)
            count -= 1
            yield sentence, source


def sentences(
    seed: int = 0, train_pairs: int = 30000, val_pairs: int = 500, test_pairs: int = 500
) -> dict[str, list[Sentence]]:
    """The structures behind the pairs of :func:`generate`, in the same order."""
    seen: set[str] = set()
    # Test first, so that its sentences do not depend on how many the other splits hold.
    sizes = {"test": test_pairs, "val": val_pairs, "train": train_pairs}
    drawn = {split: [s for s, _ in _draw(split, n, seed, seen)] for split, n in sizes.items()}
    return {split: drawn[split] for split in ("train", "val", "test")}


def generate(
    seed: int = 0, train_pairs: int = 30000, val_pairs: int = 500, test_pairs: int = 500
) -> Corpus:
    """Splits "train", "val" and "test" of distinct (English, French) pairs.

    The same arguments give the same pairs, and the test pairs depend on nothing but the seed and
    their number.
    """
    seen: set[str] = set()
    sizes = {"test": test_pairs, "val": val_pairs, "train": train_pairs}
    corpus = {
        split: [(source, french(sentence)) for sentence, source in _draw(split, n, seed, seen)]
        for split, n in sizes.items()
    }
    return {split: corpus[split] for split in ("train", "val", "test")}
