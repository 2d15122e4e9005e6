"""Questions made from Python's own source: their documents hold the answers."""

from __future__ import annotations

import inspect
from collections import Counter
from importlib import import_module

from scratchlab.data.generated.python_questions import (
    KINDS,
    MOST,
    MOST_ALIKE,
    python_entries,
    python_questions,
)
from scratchlab.evaluation.outputs.cited_answers import stands_in


def test_every_answer_stands_in_the_document_of_its_question() -> None:
    texts = {entry.name: entry.text for entry in python_entries()}
    asked = python_questions()
    assert len(asked) > 400 and len(texts) > 2000
    assert {q.kind for q in asked} == set(KINDS)
    assert all(stands_in(q.answer, texts[q.document]) for q in asked)
    assert not any(stands_in(q.answer, q.question) for q in asked if q.kind == "module")


def test_what_one_document_answers_is_in_one_split_and_no_answer_is_frequent() -> None:
    asked = python_questions()
    splits: dict[str, set[str]] = {}
    for q in asked:
        splits.setdefault(q.document, set()).add(q.split)
    assert all(len(found) == 1 for found in splits.values())
    assert len({q.question for q in asked}) == len(asked)
    assert set(Counter(q.split for q in asked)) == {"train", "val", "test"}
    answers = Counter((q.kind, q.answer) for q in asked)
    assert max(answers.values()) <= MOST_ALIKE * MOST + 1
    most = Counter(q.kind for q in asked)
    assert max(most.values()) <= MOST


def test_defaults_are_those_that_python_itself_tells() -> None:
    """The functions are imported here only, to ask them."""
    checked = 0
    for q in python_questions():
        module, _, name = q.document.rpartition(".")
        if q.kind != "default" or module not in ("heapq", "json", "shutil", "textwrap", "glob"):
            continue
        parameter = q.question.split("`")[1]
        found = inspect.signature(getattr(import_module(module), name)).parameters[parameter]
        assert repr(found.default) == q.answer, q
        checked += 1
    assert checked >= 3
