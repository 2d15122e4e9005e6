"""Questions answered from documents: on Python's library (embedded), and the user's own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.documents.reading import (
    CollectionOptions,
    Document,
    find_collection,
    read_collection,
)
from scratchlab.data.kinds.document_questions import (
    AnsweredDocuments,
    DocumentQuestionOptions,
    DocumentQuestions,
)
from scratchlab.data.sources.locating import Pair, own_file
from scratchlab.data.sources.reading import read_objects, sha256_of, text_field
from scratchlab.data.splits.examples import split_off, text_key
from scratchlab.errors import UserError
from scratchlab.registry import option, register

SHARES = {"test": 0.5, "val": 0.25}


@register(
    "dataset",
    "python_questions",
    task="language_modeling",
    sources=("embedded",),
    holds=("answers", "cited_answers", "passages"),
)
class PythonQuestions(DocumentQuestions):
    """Which module has a name, a parameter's default, what is raised: asked on Python's docstrings.

    Made of this Python's own source files. Questions that one document answers are in one split.
    """

    @dataclass(frozen=True)
    class Config(DocumentQuestionOptions):
        pass

    @classmethod
    def locate(cls, config: Config, context: DataContext) -> AnsweredDocuments:
        from scratchlab.data.generated.python_questions import (
            VERSION,
            python_entries,
            python_questions,
        )

        entries, questions = python_entries(), python_questions()
        provenance = Provenance.generated(
            "python_questions",
            VERSION,
            f"{len(questions):,} questions on {len(entries):,} docstrings of Python "
            f"{sys.version.split()[0]}",
            sys.version,
        )
        pairs: dict[str, list[Pair]] = {split: [] for split in cls.splits}
        for asked in questions:
            pairs[asked.split].append((asked.question, asked.answer))
        return AnsweredDocuments(
            provenance,
            lambda: pairs,
            documents=[Document(entry.name, entry.text) for entry in entries],
            accepted={asked.question: [asked.answer] for asked in questions},
            kinds={asked.question: asked.kind for asked in questions},
        )


@register(
    "dataset",
    "document_questions",
    task="language_modeling",
    sources=("files",),
    holds=("answers", "cited_answers", "passages"),
)
class OwnDocumentQuestions(DocumentQuestions):
    """Your own documents (as of dataset=documents), and questions with their answers to measure by.

    A line of the questions is ``{"question": …, "answer": TEXT or [TEXT, …]}``. Half of them are
    "test", a quarter "val". Without questions the documents are there to be asked (predict).
    """

    @dataclass(frozen=True)
    class Config(CollectionOptions, DocumentQuestionOptions):
        questions: str | None = option(
            None, "JSONL of question and answer; null: there are none", path="data"
        )
        val_questions: str | None = option(
            None, "JSONL to choose settings on; null: a quarter of questions", path="data"
        )
        test_questions: str | None = option(
            None, "JSONL to test on; null: half of questions", path="data"
        )
        question_field: str = option("question", "field of the question")
        answer_field: str = option("answer", "field of the answer, or of a list of right ones")

    @classmethod
    def locate(cls, config: Config, context: DataContext) -> AnsweredDocuments:
        if config.path is None:
            raise UserError(
                "document_questions needs to know your documents",
                "Give dataset.path=FILE or dataset.path=FOLDER.",
            )
        found = read_collection(find_collection(config.path, context.root), config)
        named = {
            "train": config.questions,
            "val": config.val_questions,
            "test": config.test_questions,
        }
        accepted: dict[str, list[str]] = {}
        pairs: dict[str, list[Pair]] = {}
        for split, name in named.items():
            if name is not None:
                path = own_file(name, context.root)
                rows = read_questions(path, config.question_field, config.answer_field)
                accepted |= rows
                pairs[split] = [(question, answers[0]) for question, answers in rows.items()]
                found.provenance.sha256[str(path)] = sha256_of(path)
        if pairs:
            if "train" not in pairs:
                raise UserError(
                    "val_questions and test_questions need dataset.questions as well",
                    "Give all questions as dataset.questions to have them split here.",
                )
            if shares := {split: share for split, share in SHARES.items() if split not in pairs}:
                every = pairs["train"]
                chosen = split_off([text_key(question) for question, _ in every], shares)
                pairs |= {s: [every[i] for i in sorted(numbers)] for s, numbers in chosen.items()}
        return AnsweredDocuments(
            found.provenance,
            lambda: dict(pairs),
            found.notes,
            documents=found.documents,
            accepted=accepted,
        )


def read_questions(path: Path, question: str, answer: str) -> dict[str, list[str]]:
    """The right answers of each question of a JSONL file, the first of them first.

    Raises:
        UserError: a line is no JSON, lacks a field, or has no text in it.
    """
    found: dict[str, list[str]] = {}
    for number, row in read_objects(path, (question, answer)):
        asked = text_field(path, number, row, question).strip()
        given = row[answer] if isinstance(row[answer], list) else [row[answer]]
        answers = [text_field(path, number, {answer: value}, answer).strip() for value in given]
        for name, texts in ((question, [asked]), (answer, answers)):
            if not texts or not all(texts):
                raise UserError(
                    f"{path}, line {number}: no text in the field {name!r}",
                    "Take the line out, or mend it.",
                )
        found.setdefault(asked, []).extend(answers)
    if not found:
        raise UserError(f"{path}: there is no question in it")
    return found
