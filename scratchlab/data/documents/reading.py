"""Documents of a collection: lines of a file, a column, a field of JSON lines, files of a folder.

==========================  ======================================  ============================
what lies at the path       a document is                           its name
==========================  ======================================  ============================
``NAME.csv``, ``NAME.tsv``  a row's cell in the column of the text  its cell in the column of
                                                                    names, else its line
``NAME.jsonl``              the same of fields
any other file              a line that is not empty                its line
a folder                    a file in it (or below)                 its path in the folder
a folder of BEIR's form     a line of ``corpus.jsonl``              its ``_id``
==========================  ======================================  ============================
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.data.contract import Provenance
from scratchlab.data.sources.csv_cells import read_cells
from scratchlab.data.sources.image_files import LEFT_BY_SYSTEMS
from scratchlab.data.sources.locating import own_file
from scratchlab.data.sources.reading import (
    find_file,
    read_objects,
    read_text,
    read_whole,
    sha256_of,
    text_field,
)
from scratchlab.errors import UserError, number_of, shortened
from scratchlab.registry import option
from scratchlab.regular_files import expanded

CORPUS = "corpus.jsonl"
JSON_LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class PassageOptions:
    """How documents are cut into what is ranked."""

    passage_words: int | None = option(
        None, "words of a passage that documents are cut into; null: they are whole", min=1
    )
    passage_overlap: int = option(0, "words that a passage shares with the one before", min=0)

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "passage_words is None or passage_overlap < passage_words",
            "passage_overlap must be less than passage_words",
        ),
    )


@dataclass(frozen=True)
class CollectionOptions(PassageOptions):
    """Where documents lie."""

    path: str | None = option(
        None,
        "file of documents (a line each; CSV, TSV, JSONL: a row each), folder of text files, or "
        "folder of BEIR's form",
        path="data",
    )
    pattern: str = option("**/*", "of a folder: the files that are documents, as *.txt or **/*.md")
    text_column: str = option("text", "CSV, TSV, JSONL: column or field of the text")
    name_column: str | None = option(
        None, "the same of a document's name, by which it is judged and cited; null: its line"
    )
    title_column: str | None = option(None, "the same of its title, read before the text")


@dataclass(frozen=True)
class Document:
    """``name`` is what judgements and answers call it; the title is searched with the text."""

    name: str
    text: str
    title: str = ""

    @property
    def whole(self) -> str:
        """Title and text, as BEIR joins them."""
        return f"{self.title} {self.text}".strip()


@dataclass
class Collection:
    """Documents with names of their own, where they came from, and what was left out."""

    documents: list[Document]
    provenance: Provenance
    notes: list[str] = field(default_factory=list)


def find_collection(name: str, root: Path | None) -> Path:
    """A user's file or folder of documents; UserError if there is neither."""
    for folder in (expanded(name), *([root / name] if root is not None else [])):
        if folder.is_dir():
            return folder
    return own_file(name, root)


def is_beir(path: Path) -> bool:
    """Whether a folder holds a collection as BEIR distributes them (Thakur et al. 2021)."""
    return path.is_dir() and find_file(path / CORPUS) is not None


def read_collection(path: Path, config: CollectionOptions) -> Collection:
    """All documents of a file or folder.

    Raises:
        UserError: a file cannot be read, a column is not there, two documents have one name, or
            there is no document.
    """
    if path.is_dir() and not is_beir(path):
        found, hashes = _files_of(path, config.pattern)
    else:
        file = find_file(path / CORPUS) or path if path.is_dir() else path
        found = list(_rows_of(file, config, beir=path.is_dir()))
        hashes = {str(file): sha256_of(file)}
    documents: list[Document] = []
    lines: dict[str, str] = {}
    for line, document in found:
        if not document.whole:
            continue
        if document.name in lines:
            raise UserError(
                f"{path}, {line}: a second document is called {shortened(document.name)}",
                f"The first is {lines[document.name]}; each needs a name of its own.",
            )
        lines[document.name] = line
        documents.append(document)
    if not documents:
        raise UserError(
            f"{path}: there is no document in it", "A collection needs at least one text."
        )
    notes = []
    if empty := len(found) - len(documents):
        notes.append(f"{path}: {number_of(empty, 'empty document')} left out")
    return Collection(documents, Provenance("files", str(path), hashes), notes)


Found = tuple[str, Document]  # where it stands, for messages


def _rows_of(path: Path, config: CollectionOptions, beir: bool) -> Iterator[Found]:
    """The documents of a file, the empty ones too."""
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    text, name, title = config.text_column, config.name_column, config.title_column
    if kind in JSON_LINES:
        if beir:
            text, name = "text", "_id"
        named = tuple(n for n in (text, name, title) if n is not None)
        for number, row in read_objects(path, named):
            head = row if title is not None or not beir else {"title": "", **row}
            yield (
                f"line {number}",
                Document(
                    str(number) if name is None else document_name(path, number, row, name),
                    text_field(path, number, row, text).strip(),
                    text_field(path, number, head, title or "title").strip()
                    if beir or title
                    else "",
                ),
            )
    elif kind in (".csv", ".tsv"):
        wanted = tuple(n for n in (text, name, title) if n is not None)
        tabs = kind == ".tsv"
        cells = read_cells(path, "\t" if tabs else None, quoted=not tabs, wanted=wanted)
        places = {column: cells.column(column) for column in wanted}
        for number, of_row in zip(cells.lines, cells.rows, strict=True):
            yield (
                f"line {number}",
                Document(
                    str(number) if name is None else of_row[places[name]],
                    of_row[places[text]],
                    "" if title is None else of_row[places[title]],
                ),
            )
    else:
        for number, line in enumerate(read_text(path).lines, 1):
            if line.strip():
                yield f"line {number}", Document(str(number), line.strip())


def document_name(path: Path, number: int, row: dict[str, Any], field_name: str) -> str:
    """The name of a document in JSON: a text or a whole number."""
    value = row[field_name]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    found = text_field(path, number, row, field_name).strip()
    if not found:
        raise UserError(f"{path}, line {number}: no name in the field {field_name!r}")
    return found


def _files_of(folder: Path, pattern: str) -> tuple[list[Found], dict[str, str]]:
    """A document for each file of a folder, and one hash over all of them."""
    if not pattern or ".." in Path(pattern).parts or Path(pattern).is_absolute():
        raise UserError(
            f"dataset.pattern={pattern!r} leads out of the folder",
            "Write it as seen from there, for example **/*.txt.",
        )
    found, digest = [], hashlib.sha256()
    for path in sorted(p for p in folder.glob(pattern) if p.is_file()):
        name = path.relative_to(folder)
        if any(n.startswith(".") or n.lower() in LEFT_BY_SYSTEMS for n in name.parts):
            continue
        try:
            text = read_whole(path)
        except UserError as error:
            if path.suffix == ".txt":
                raise
            others = "choose the files that are text: dataset.pattern=**/*.txt."
            hint = f"{error.hint.rstrip('.')}; or {others}" if error.hint else others.capitalize()
            raise UserError(error.message, hint) from error
        digest.update(f"{name}\0{sha256_of(path)}\n".encode())
        found.append((str(name), Document(str(name), text.strip())))
    if not found:
        raise UserError(
            f"{folder} holds no file {pattern}", "Set dataset.pattern, for example **/*.txt."
        )
    return found, {str(folder): digest.hexdigest()}
