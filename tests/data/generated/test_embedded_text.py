"""Embedded text: what it holds, that it is always the same, and that nothing is imported for it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scratchlab.data.generated import biographies as people
from scratchlab.data.generated import docstrings as functions
from scratchlab.data.generated import python_docs
from scratchlab.data.generated.biographies import biographies
from scratchlab.data.generated.docstrings import docstring_splits, docstrings
from scratchlab.data.generated.phrasebook import corpus as phrasebook
from scratchlab.data.generated.python_docs import STDLIB_MODULES, python_documents, share
from scratchlab.data.sources.corpus import sentence_lines
from scratchlab.data.splits.examples import near_copies, text_key
from scratchlab.errors import UserError


def in_a_fresh_python(code: str) -> str:
    """What ``code`` prints in a new process with another hash seed."""
    command = [sys.executable, "-X", "utf8", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_python_docs_hold_topics_and_docstrings_in_a_couple_of_megabytes() -> None:
    text = "\n\n".join(python_documents())
    assert 1_000_000 < len(text) < 2_500_000
    # A documentation topic, and the docstrings of heapq.heappush and textwrap.dedent.
    assert 'The "if" statement is used for conditional execution' in text
    assert "Push item onto heap, maintaining the heap invariant." in text
    assert "Remove any common leading whitespace from every line in" in text
    assert text.index('The "if" statement') < text.index("Push item onto heap")


SOURCE = '''
"""A module with a docstring."""

def first(x):
    """Give the first of some things.

    Things are what can be asked for its first; nothing is an error, and so is what has no order.
    """
    return x[0]

class Second:
    """Hold what comes second, and all that is behind it."""

    def third(self, number):
        """Tell the third of some things.

        Short.
        """
        for step in range(number):
            print("a line of code that says more than its docstring", step)
'''


def test_generated_text_changes_with_its_version_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is pinned here is what a version stands for in manifests and in the cache's names: if
    another text is wanted, raise the generator's VERSION and write down the new hash."""
    for package in ("pinned_one", "pinned_two"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(SOURCE.replace("things", package))
    monkeypatch.syspath_prepend(tmp_path)
    records = tuple(
        {name: value for name, value in record.items() if name != "group"}
        for record in functions._docstring_records(("pinned_one", "pinned_two"))
    )
    texts = [d.docstring for d in python_docs.documented("pinned_one")] * 2
    long = [f"{i} {'x' * 500}" for i in range(2000)]
    found = {
        "phrasebook": (phrasebook.VERSION, phrasebook.generate(5, 200, 20, 20)),
        "biographies": (people.VERSION, biographies(5, 200, 2, 50, 10, 10)),
        "docstrings": (functions.VERSION, (functions.LIBRARIES, records)),
        "python_docs": (
            python_docs.VERSION,
            (
                STDLIB_MODULES,
                python_docs.without_repetition(texts),
                [[d.split()[0] for d in share(long, s)] for s in ("val", "test")],
            ),
        ),
    }
    assert {
        name: (version, digest(repr(text))[:12]) for name, (version, text) in found.items()
    } == {
        "phrasebook": (1, "8a2f7bd5966c"),
        "biographies": (1, "783718cbccbd"),
        "docstrings": (1, "5de623092be6"),
        "python_docs": (1, "cf9349809276"),
    }


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_docs_are_read_without_importing_the_modules_and_are_the_same_in_each_process() -> None:
    assert set(STDLIB_MODULES) <= sys.stdlib_module_names
    assert list(STDLIB_MODULES) == sorted(STDLIB_MODULES)
    printed = in_a_fresh_python(
        "import sys, hashlib\n"
        "from scratchlab.data.generated.python_docs import python_documents\n"
        "print(hashlib.sha256(repr(python_documents()).encode()).hexdigest())\n"
        "print(sorted({'turtle', 'imaplib', 'asyncio', 'xml'} & set(sys.modules)))"
    )
    assert printed.split("\n") == [digest(repr(python_documents())), "[]"]


@pytest.mark.slow
def test_docstrings_are_read_without_importing_the_libraries() -> None:
    printed = in_a_fresh_python(
        "import sys, hashlib\n"
        "from scratchlab.data.generated.docstrings import docstrings\n"
        "print(hashlib.sha256(repr(docstrings()).encode()).hexdigest())\n"
        "print(sorted({'turtle', 'imaplib', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    assert printed.split("\n") == [digest(repr(docstrings())), "[]"]


def test_docstring_records_have_a_one_line_summary_and_a_body_that_does_not_repeat() -> None:
    records = docstrings()
    assert len(records) > 3000
    assert all("\n" not in r["summary"] and len(r["summary"].split()) >= 3 for r in records)
    assert all(len(r["body"]) >= 80 for r in records)
    assert len({r["summary"] for r in records}) == len(records)
    assert len({r["body"] for r in records}) == len(records)


def test_a_body_is_the_rest_of_the_docstring_or_the_source_without_it() -> None:
    records = {r["name"]: r for r in docstrings()}
    bisect = records["bisect.bisect_right"]
    assert bisect["summary"].startswith("Return the index where to insert item x in list a")
    assert bisect["body"].startswith("The return value i is such that")
    push = records["heapq.heappush"]
    assert push["summary"] == "Push item onto heap, maintaining the heap invariant."
    assert push["body"].startswith("def heappush(heap, item):\n    heap.append(item)")
    assert push["summary"] not in push["body"]


def test_changing_a_record_does_not_change_the_next_call() -> None:
    docstrings()[0]["summary"] = "spoilt"
    assert docstrings()[0]["summary"] != "spoilt"


def test_docstrings_are_drawn_from_every_package_and_near_copies_stay_on_one_side() -> None:
    splits = docstring_splits()
    total = sum(map(len, splits.values()))
    assert total == len(docstrings())
    assert all(0.08 < len(splits[s]) / total < 0.12 for s in ("val", "test"))
    whole = Counter(record["package"] for record in docstrings())
    for split, records in splits.items():
        counts = Counter(record["package"] for record in records)
        for package in ("asyncio", "email", "sklearn.metrics", "numpy.lib"):
            share = counts[package] / len(records)
            assert share == pytest.approx(whole[package] / total, rel=0.6), (split, package)
    # The first 60 are what the suites measure: once all of one package.
    first = Counter(record["package"] for record in splits["test"][:60])
    assert len(first) > 30 and max(first.values()) <= 8
    everything = [r for records in splits.values() for r in records]
    groups = near_copies([record["body"] for record in everything])
    homes: dict[int, set[str]] = {}
    for record, group in zip(everything, groups, strict=True):
        homes.setdefault(group, set()).add(record["split"])
    assert all(len(found) == 1 for found in homes.values())


def test_a_paragraph_of_the_documentation_stands_once_and_test_sentences_hardly_in_train() -> None:
    documents = python_documents()
    paragraphs = [p for d in documents for p in re.split(r"\n\s*\n", d)]
    assert len({text_key(p) for p in paragraphs}) == len(paragraphs)
    homes = {s: share(documents, s) for s in ("train", "val", "test")}
    assert sum(map(len, homes.values())) == len(documents)
    lines = {
        s: [line for line in "".join(sentence_lines(["\n\n".join(d)])).split("\n") if line.strip()]
        for s, d in homes.items()
    }
    train = set(lines["train"])
    shared = [line for line in lines["test"] if line in train]
    assert len(lines["test"]) > 500 and len(shared) < 0.01 * len(lines["test"])


def test_biographies_are_one_line_documents_of_about_140_characters() -> None:
    facts = biographies()
    assert len(facts.documents) == 6000
    assert len(set(facts.documents)) == 6000
    assert all("\n" not in line and "{" not in line for line in facts.documents)
    assert 120 < sum(map(len, facts.documents)) / 6000 < 160
    assert not any(re.search(r"\ba [aeio]", line) for line in facts.documents)


def test_every_question_is_answered_by_the_documents_of_its_person() -> None:
    facts = biographies(
        seed=1, people=300, train_questions=100, dev_questions=60, test_questions=60
    )
    about: dict[str, list[str]] = {}
    for line in facts.documents:
        found = re.search(r"[A-Z]\w+ [A-Z]\w+(?= (?:was|\()|,| became| came)", line)
        assert found, line
        about.setdefault(found[0], []).append(line)
    assert len(about) == 300
    for question, place in (*facts.train, *facts.dev, *facts.test):
        name = question.removeprefix("Where was ").removesuffix(" born?")
        assert len(about[name]) == 2
        assert all(place in line for line in about[name])


def test_people_asked_about_in_dev_and_test_have_no_training_question() -> None:
    facts = biographies()
    asked = [{question for question, _ in part} for part in (facts.train, facts.dev, facts.test)]
    assert [len(part) for part in asked] == [1500, 300, 300]
    assert not (asked[0] & asked[1] or asked[0] & asked[2] or asked[1] & asked[2])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_constant_answer_is_right_for_five_in_a_hundred_and_no_place_is_commoner(
    seed: int,
) -> None:
    facts = biographies(seed)
    for part in (facts.train, facts.dev, facts.test):
        counts = Counter(place for _, place in part)
        assert counts.most_common(1) == [(facts.constant_answer, len(part) * 5 // 100)]
        assert len(counts) == 80


def test_the_same_seed_gives_the_same_biographies_in_each_process() -> None:
    printed = in_a_fresh_python(
        "from scratchlab.data.generated.biographies import biographies\n"
        "facts = biographies(2, 50, 2, 20, 5, 5)\n"
        "print(facts.documents[0], facts.test[0])"
    )
    facts = biographies(2, 50, 2, 20, 5, 5)
    assert printed == f"{facts.documents[0]} {facts.test[0]}"
    assert biographies(3, 50, 2, 20, 5, 5).documents != facts.documents


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"people": 100}, "2100 questions about 100 people"),
        ({"people": 10**6}, "people is 1000000"),
        ({"documents_per_person": 7}, "documents_per_person is 7"),
    ],
)
def test_impossible_numbers_of_people_are_refused_with_the_limit(
    options: dict[str, int], fault: str
) -> None:
    with pytest.raises(UserError, match=fault) as caught:
        biographies(**options)
    assert caught.value.hint
