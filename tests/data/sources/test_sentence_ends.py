"""Sentences end by their marks in every script, and where they did before in English."""

from __future__ import annotations

import re

import pytest

from scratchlab.data.generated.python_docs import python_documents
from scratchlab.data.sources.corpus import sentence_lines
from scratchlab.data.sources.sentence_ends import split_sentences

ENGLISH = re.compile(r"(?<=\w\w)([.!?][\"'”’)\]]*) +(?=[\"'“‘(\[]*[A-Z0-9])")
ROUGE = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“‘(A-Z0-9])")


@pytest.mark.parametrize(
    "sentences",
    [
        ["Il est tard.", "Élise dort.", "« Déjà ? » dit-il."],
        ["Уже поздно!", "Элиза спит.", "Я тоже."],
        ["Είναι αργά.", "Ύπνος."],
        ["हम घर जाते हैं।", "वे सोते हैं॥", "अच्छा।"],
        ["انتهى اليوم.", "هل نمت؟", "نعم."],
        ["He knows Mr. Smith.", "“Go!”", "2 left."],
    ],
)
def test_a_sentence_ends_before_any_letter_that_is_not_small(sentences: list[str]) -> None:
    if sentences[0].startswith("He"):  # an abbreviation of two letters ends one too early
        assert split_sentences(" ".join(sentences)) == ["He knows Mr.", "Smith.", *sentences[1:]]
        return
    assert split_sentences(" ".join(sentences)) == sentences


def test_chinese_and_japanese_sentences_need_no_space() -> None:
    sentences = ["天晚了。", "他睡了！", "“真的？”", "对。"]
    assert split_sentences("".join(sentences)) == sentences
    assert list(sentence_lines(["天晚了。他睡了！\n\n"])) == ["天晚了。\n他睡了！\n"]


def test_initials_small_letters_and_abbreviations_of_one_letter_end_none() -> None:
    for text in ("J. Élan and e.g. Я", "at 3 p.m. été", "the value of x. it is"):
        assert split_sentences(text) == [text]


def test_sentences_of_pythons_documentation_are_what_they_were() -> None:
    paragraphs = [
        " ".join(paragraph.split())
        for document in python_documents()
        for paragraph in re.split(r"\n[^\S\n]*\n", document)
    ]
    assert len(paragraphs) > 1000
    for text in paragraphs:
        assert "\n".join(split_sentences(text)) == ENGLISH.sub(r"\1\n", text)
    for text in paragraphs[:2000]:
        old = [s.strip() for s in ROUGE.split(text) if s.strip()]
        new = [s.strip() for s in split_sentences(text, loose=True)]
        # Closing quotes now stay with their sentence, which is no difference to ROUGE.
        assert [s.rstrip("\"'”’)") for s in new] == [s.rstrip("\"'”’)") for s in old]
