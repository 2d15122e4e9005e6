"""The texts of the knowledge task: what is read in pretraining, and what is asked afterwards.

Both data sets of the task, documents with spans and questions, are made of the tokens of the same
documents, so that a model that was pretrained on the one understands the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.data.contract import DataContext, Provenance, Spec
from scratchlab.data.sources.locating import layout_hint, own_file
from scratchlab.data.sources.reading import find_file, read_text, sha256_of
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import read_text_tokenizer
from scratchlab.data.tokenizers.learned import MASKED_CHARACTERS, learn
from scratchlab.errors import UserError
from scratchlab.registry import option

WIKI = "cs224n_minigpt/wiki.txt"
TRAIN = "cs224n_minigpt/birth_places_train.tsv"
DEV = "cs224n_minigpt/birth_dev.tsv"
ORIGIN = "Stanford's course CS224N, the assignment on pretrained Transformers (folder data/)"

Question = tuple[str, str]


@dataclass
class Knowledge:
    """Documents, one a string, and the questions of each split with their answers.

    ``places`` [split] names where a split was read, for messages. ``spoken`` is text whose
    tokens belong to the vocabulary although no document may hold them.
    """

    provenance: Provenance
    documents: list[str]
    questions: dict[str, list[Question]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)

    @property
    def vocabulary_texts(self) -> list[str]:
        """The texts whose tokens make up the vocabulary."""
        return [*self.documents, *self.spoken]


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


def read_questions(name: str, context: DataContext) -> tuple[list[Question], str, dict[str, str]]:
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


@dataclass(frozen=True)
class TokenOptions:
    """What the texts of both stages are cut into; a checkpoint brings its own tokens."""

    tokenizer: str | None = option(
        None,
        "char: characters; bpe: pieces of words; word: lower-cased words; whitespace: what stands "
        "between spaces; null: what the checkpoint reads, else char",
        choices=("char", "bpe", "word", "whitespace"),
    )
    vocab_size: int | None = option(
        None, "largest number of tokens, special ones included; null: 8000 pieces, all words", min=5
    )
    block_size: int = option(128, "tokens of an example, padding included", min=8)
    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "vocab_size is None or tokenizer not in (None, 'char')",
            "vocab_size belongs to tokenizer=bpe and words; characters are all in the vocabulary",
        ),
    )


def task_tokenizer(config: TokenOptions, texts: Iterable[str], context: DataContext) -> Tokenizer:
    """The tokens of lines of text with padding and mask, or those of a given checkpoint."""
    if context.vocabulary is None:

        def read() -> Iterable[str]:
            return (f"{line}\n" for line in texts)

        if config.tokenizer in (None, "char"):
            return learn("char", read, None, 1, special=MASKED_CHARACTERS, lines=True)
        return learn(config.tokenizer, read, config.vocab_size, 1, lines=True, mask=True)
    tokenizer = read_text_tokenizer(context.vocabulary)
    if tokenizer.mask_id is None or tokenizer.pad_id is None:
        raise UserError(
            f"{context.vocabulary}: the checkpoint's vocabulary has no mask",
            "Start from a model that was pretrained on a data set of masked spans.",
        )
    kind, size = tokenizer.kind, len(tokenizer)
    if config.tokenizer not in (None, kind) or size > (config.vocab_size or size):
        asked = f"dataset.tokenizer={config.tokenizer}"
        asked += f" dataset.vocab_size={config.vocab_size}" if config.vocab_size else ""
        raise UserError(
            f"{asked}: the checkpoint ({context.vocabulary}) has {size} tokens of kind {kind}",
            f"Leave both out, or give what it was trained with: dataset.tokenizer={kind}"
            + (f" dataset.vocab_size={size}" if kind != "char" else ""),
        )
    return tokenizer


def token_spec(tokenizer: Tokenizer, block_size: int) -> Spec:
    """The spec of a data set of tokens with padding and mask; the mask ends an answer."""
    return Spec(
        task="language_modeling",
        vocab_size=len(tokenizer),
        pad_id=tokenizer.pad_id,
        eos_id=tokenizer.eos_id,
        unk_id=tokenizer.unk_id,
        max_length=block_size,
        unit=tokenizer.unit,
        tokenizer=tokenizer.kind,
    )
