"""Data sets of the knowledge task: where people were born, read of real people and of made-up ones.

The first stage reads documents with masked spans, the second asks about the same people.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.kinds.masked_text import Knowledge
from scratchlab.data.kinds.questions import QuestionDataset, QuestionOptions
from scratchlab.data.kinds.spans import SpanDataset, SpanOptions
from scratchlab.data.sources.locating import Pair, layout_hint, own_file
from scratchlab.data.sources.reading import find_file, read_text, sha256_of
from scratchlab.errors import UserError
from scratchlab.registry import option, register

WIKI = "cs224n_minigpt/wiki.txt"
TRAIN = "cs224n_minigpt/birth_places_train.tsv"
DEV = "cs224n_minigpt/birth_dev.tsv"
ORIGIN = "Stanford's course CS224N, the assignment on pretrained Transformers (folder data/)"


def located_file(name: str, context: DataContext) -> Path:
    """A file of the data folder, or a user's own; UserError that says where it is looked for."""
    if name not in (WIKI, TRAIN, DEV):
        return own_file(name, context.root)
    found = find_file(context.root / name) if context.root else None
    if found is None:
        raise UserError(
            f"no file {context.root / name if context.root else name}",
            layout_hint([WIKI, TRAIN, DEV], context.root, ORIGIN)
            + " The same task on made-up people needs no files: dataset=biographies and "
            "dataset=biography_questions.",
        )
    return found


def read_documents(name: str, context: DataContext) -> Knowledge:
    """The documents of a file, one a line; empty lines are left out."""
    path = located_file(name, context)
    file = read_text(path)
    documents = [line for line in file.lines if line.strip()]
    if not documents:
        raise UserError(f"{path} is empty", "It must hold one document a line.")
    return Knowledge(Provenance("files", str(path.parent), {path.name: file.sha256}), documents)


def read_questions(name: str, context: DataContext) -> tuple[list[Pair], str, dict[str, str]]:
    """Question and answer of each line of a tab-separated file; where it is; its hash."""
    path = located_file(name, context)
    found = []
    for number, line in enumerate(read_text(path).lines, 1):
        if not line.strip():
            continue
        question, *answers = line.split("\t")
        answer = answers[0] if len(answers) == 1 else ""
        if not question.strip() or not answer.strip():
            raise UserError(
                f"{path}, line {number}: no question and answer with one tab between them",
                "Each line must read, for example: Where was Ada Lovelace born?<tab>London",
            )
        found.append((question.strip(), answer.strip()))
    if not found:
        raise UserError(f"{path} is empty", "It must hold a question and its answer on each line.")
    return found, str(path), {path.name: sha256_of(path)}


def made_up(config: Any) -> Knowledge:
    """Generated biographies and questions about their people."""
    from scratchlab.data.generated.biographies import VERSION, biographies

    sizes = (config.train_questions, config.val_questions, config.test_questions)
    text = biographies(config.seed, config.people, config.documents_per_person, *sizes)
    provenance = Provenance.generated(
        "biographies",
        VERSION,
        f"generated, seed {config.seed}: {config.people} people, {len(text.documents)} documents, "
        f"{' / '.join(map(str, sizes))} questions",
    )
    questions = {"train": list(text.train), "val": list(text.dev), "test": list(text.test)}
    places = {split: f"biographies ({split})" for split in questions}
    spoken = [part for pairs in questions.values() for pair in pairs for part in pair]
    return Knowledge(provenance, list(text.documents), questions, places, spoken=spoken)


@register(
    "dataset",
    "wiki_spans",
    task="language_modeling",
    sources=("files",),
    files=("cs224n_minigpt/wiki.txt",),
    origin="Stanford's course CS224N, the assignment on pretrained Transformers (folder data/)",
)
class WikiSpans(SpanDataset):
    """2,937 first lines of Wikipedia articles on people, with masked spans.

    Nothing is held out by default, since whom the model has not read about it cannot know.
    """

    @dataclass(frozen=True)
    class Config(SpanOptions):
        corpus: str = option(
            "cs224n_minigpt/wiki.txt", "file of documents, one a line", path="data"
        )

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Knowledge:
        return read_documents(config.corpus, context)


@register("dataset", "biographies", task="language_modeling", sources=("embedded",))
class Biographies(SpanDataset):
    """Generated biographies of made-up people, with masked spans; no files are needed."""

    @dataclass(frozen=True)
    class Config(SpanOptions):
        seed: int = option(0, "seed of the made-up people", min=0)
        people: int = option(3000, "how many there are", min=1, max=1_000_000)
        documents_per_person: int = option(2, "biographies of each", min=1)
        train_questions: int = option(1500, "people who are asked for in training", min=0)
        val_questions: int = option(300, "people who are asked for in validation", min=0)
        test_questions: int = option(300, "people who are asked for in the test", min=0)

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Knowledge:
        return made_up(config)


@register(
    "dataset",
    "birthplaces",
    task="language_modeling",
    sources=("files",),
    files=(
        "cs224n_minigpt/wiki.txt",
        "cs224n_minigpt/birth_places_train.tsv",
        "cs224n_minigpt/birth_dev.tsv",
    ),
    origin="Stanford's course CS224N, the assignment on pretrained Transformers (folder data/)",
    holds=("questions",),
)
class Birthplaces(QuestionDataset):
    """Where 2,000 people were born, to learn how to answer, and 500 others to be asked for.

    The documents of wiki_spans tell of all of them. Test and validation are the same 500: the
    published test questions have no answers.
    """

    @dataclass(frozen=True)
    class Config(QuestionOptions):
        corpus: str = option("cs224n_minigpt/wiki.txt", "documents that give the tokens")
        train: str = option("cs224n_minigpt/birth_places_train.tsv", "questions to learn from")
        val: str = option("cs224n_minigpt/birth_dev.tsv", "questions to validate on")
        test: str | None = option(None, "questions to test on; null: those of val")

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Knowledge:
        found = read_documents(config.corpus, context)
        wanted = {"train": config.train, "val": config.val, "test": config.test or config.val}
        for split, name in wanted.items():
            questions, place, hashes = read_questions(name, context)
            found.questions[split], found.places[split] = questions, place
            found.provenance.sha256.update(hashes)
        if config.test is None:
            found.notes.append("there are no test questions with answers: test is val")
        return found


@register(
    "dataset",
    "biography_questions",
    task="language_modeling",
    sources=("embedded",),
    holds=("questions",),
)
class BiographyQuestions(QuestionDataset):
    """Where the made-up people of the data set biographies were born; no files are needed.

    The options of the people must be those that the biographies were generated with.
    """

    @dataclass(frozen=True)
    class Config(QuestionOptions):
        seed: int = option(0, "seed of the made-up people", min=0)
        people: int = option(3000, "how many there are", min=1, max=1_000_000)
        documents_per_person: int = option(2, "biographies of each", min=1)
        train_questions: int = option(1500, "people who are asked for in training", min=1)
        val_questions: int = option(300, "people who are asked for in validation", min=1)
        test_questions: int = option(300, "people who are asked for in the test", min=1)

    @classmethod
    def locate(cls, config: Any, context: DataContext) -> Knowledge:
        return made_up(config)
