"""Docstrings by package: embedded, balanced enough to learn from, near copies on one side."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from scratchlab.config.compose import compose
from scratchlab.data.generated.docstring_topics import NEAR, RUN, TOPICS
from scratchlab.data.sets.docstring_topics import DocstringTopics
from scratchlab.data.splits.examples import COMMON, runs, text_key
from scratchlab.describing.described import describe
from scratchlab.lab.parts import data_context


@pytest.fixture(scope="module")
def topics() -> DocstringTopics:
    config = compose(["model=text_cnn", "dataset=docstring_topics"]).config
    return DocstringTopics(
        DocstringTopics.Config(**{k: v for k, v in config["dataset"].items() if k != "name"}),
        data_context(config),
    )


def test_every_package_has_texts_in_every_split(topics: DocstringTopics) -> None:
    assert topics.classes == sorted(TOPICS) and len(TOPICS) == 20
    for split, least in (("train", 90), ("val", 5), ("test", 5)):
        counts = topics.class_counts(split)
        assert set(counts) == set(TOPICS) and min(counts.values()) >= least, split
    assert 3800 < topics.size("train") < 4500
    assert topics.provenance.kind == "embedded" and topics.provenance.sha256


def test_no_text_stands_twice_or_shows_where_it_is_imported_from(topics: DocstringTopics) -> None:
    found = [row for split in topics.splits for row in topics.labelled(split)]
    assert max(Counter(text_key(text) for text, _ in found).values()) == 1
    assert not [t for t, _ in found if re.search(r"\b(numpy|scipy|sklearn)\b|>>>", t)]


def test_near_copies_are_on_one_side(topics: DocstringTopics) -> None:
    texts = {split: topics.texts(split) for split in topics.splits}
    # A run in very many texts is a set phrase and joins none.
    often = Counter(run for part in texts.values() for text in part for run in runs(text, RUN))
    found = {
        split: [{r for r in runs(text, RUN) if often[r] <= COMMON} for text in part]
        for split, part in texts.items()
    }
    holders: dict[int, list[int]] = {}
    for number, of_text in enumerate(found["train"]):
        for run in of_text:
            holders.setdefault(run, []).append(number)
    for split in ("val", "test"):
        for text, of_text in zip(texts[split], found[split], strict=True):
            shared = Counter(n for run in of_text for n in holders.get(run, ()))
            whole = len(runs(text, RUN))
            for number, count in shared.items():
                least = min(whole, len(runs(texts["train"][number], RUN)))
                assert count < NEAR * least, (text, texts["train"][number])


def test_many_classes_are_described_in_a_table_of_their_own(topics: DocstringTopics) -> None:
    tables = {table.title: table for table in describe(topics)}
    rows = tables["texts of each class"].rows
    assert [row[0] for row in rows] == sorted(TOPICS) and len(rows[0]) == 4
