"""Questions about what a corpus says: ``Where was X born? MASK place MASK PAD…``

The second stage of the knowledge task (CS224N's assignment on pretrained Transformers): the loss
counts the place and the mask that closes it, and nothing of the question. The vocabulary is that of
the documents of the first stage.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.plans import Plan, Plans, Ragged
from scratchlab.data.batching.text_batches import by_length, token_batch
from scratchlab.data.contract import (
    IGNORE,
    DataContext,
    Provenance,
    Spec,
    TextDataset,
    TokenBatch,
)
from scratchlab.data.kinds.knowledge_sources import (
    Knowledge,
    Question,
    TokenOptions,
    made_up,
    read_documents,
    read_questions,
    task_tokenizer,
    token_spec,
)
from scratchlab.data.tokenizers.files import write_text_tokenizer
from scratchlab.errors import UserError, suggest
from scratchlab.registry import option, register


@dataclass(frozen=True)
class QuestionOptions(TokenOptions):
    """How questions and answers become examples."""

    batch_size: int = option(256, "examples of a batch", min=1)
    pool_size: int = option(
        4096, "examples that are sorted by length together: fewer is more random, pads more", min=1
    )
    eval_batch_size: int = option(64, "the same for val and test; changes no score", min=1)


class QuestionDataset(TextDataset):
    """Questions with short answers; subclasses only say where they come from."""

    content_name = "questions"

    def __init__(self, config: Any, context: DataContext) -> None:
        self.config = config
        self.context = context
        self._ids: dict[str, tuple[Ragged, NDArray[np.int64]]] = {}
        self._plans = Plans()
        texts = [] if context.vocabulary is not None else self._knowledge.vocabulary_texts
        self.tokenizer = task_tokenizer(config, texts, context)

    @abstractmethod
    def locate(self) -> Knowledge:
        """Read the questions, and the documents that the vocabulary comes from."""

    @functools.cached_property
    def _knowledge(self) -> Knowledge:
        return self.locate()

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        return token_spec(self.tokenizer, self.config.block_size)

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]
        return self._knowledge.provenance

    @property
    def notes(self) -> list[str]:  # type: ignore[override]
        """What a person should know of the splits."""
        return self._knowledge.notes

    @property
    def mask_id(self) -> int:
        assert self.tokenizer.mask_id is not None
        return self.tokenizer.mask_id

    def save_vocabulary(self, folder: Path) -> None:
        write_text_tokenizer(folder, self.tokenizer)

    def encode(self, text: str) -> list[int]:
        """As the contract says; the character ⁇ is the mask, which ends a question."""
        return self.tokenizer.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def token_labels(self, ids: list[int]) -> list[str]:
        return self.tokenizer.labels(ids)

    def evaluation_settings(self, split: str) -> dict[str, Any]:
        """What changes the meaning of a perplexity on this split."""
        return {"unit": self.tokenizer.unit, "context": "the question", "targets": "the answer"}

    # --- questions ------------------------------------------------------------------------------

    def questions(self, split: str) -> list[str]:
        """The questions of a split, in the order of ``TokenBatch.indices``."""
        return [question for question, _ in self._asked(split)]

    def contents(self, split: str) -> list[str]:
        return self.questions(split)

    def true_split(self, split: str) -> str:
        same = split == "test" and self._knowledge.places["test"] == self._knowledge.places["val"]
        return "val" if same else split

    def answers(self, split: str) -> list[str]:
        """Their answers."""
        return [answer for _, answer in self._asked(split)]

    def prompt(self, question: str) -> list[int]:
        """What a model is given to answer a question: its ids and the mask."""
        return [*self.encode(question), self.mask_id]

    def read_answer(self, ids: Sequence[int]) -> str:
        """The answer that generated ids begin with: before the next mask or the line's end."""
        ids = [int(i) for i in ids]
        end = ids.index(self.mask_id) if self.mask_id in ids else len(ids)
        return self.decode(ids[:end]).partition("\n")[0].strip()

    @functools.cached_property
    def constant_answer(self) -> str:
        """The most frequent answer of the training questions."""
        counts = Counter(self.answers("train"))
        return min(counts, key=lambda answer: (-counts[answer], answer))

    @functools.cached_property
    def longest_answer(self) -> int:
        """Tokens of the longest answer of any split."""
        return max(len(self.encode(a)) for split in self.splits for a in self.answers(split))

    def openings(self, split: str, count: int, tokens: int) -> list[tuple[list[int], list[int]]]:
        """Questions evenly spread over a split, and their answers (``tokens`` is not needed)."""
        chosen = np.linspace(0, self.size(split) - 1, count).astype(np.int64).tolist()
        asked = self._asked(split)
        return [(self.prompt(asked[i][0]), self.encode(asked[i][1])) for i in chosen]

    def _asked(self, split: str) -> list[Question]:
        known = self._knowledge.questions
        if split not in known:
            raise UserError(
                f"{self.registered_name} has no split {split!r}", suggest(split, known, "Splits")
            )
        return known[split]

    # --- batches --------------------------------------------------------------------------------

    def size(self, split: str) -> int:
        return len(self._asked(split))

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        return len(self._plan(split, seed, epoch))

    def batches(self, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[TokenBatch]:
        pad_id = self.tokenizer.pad_id
        assert pad_id is not None
        ids, asked = self._encoded(split)
        plan = self._plan(split, seed, epoch)
        for position in range(start, len(plan)):
            rows = plan[position]
            examples = ids.take(rows).padded(pad_id)
            targets = examples[:, 1:].copy()
            targets[targets == pad_id] = IGNORE
            targets[np.arange(targets.shape[1]) < asked[rows][:, None]] = IGNORE
            yield token_batch(examples[:, :-1], targets, rows)

    def _plan(self, split: str, seed: int, epoch: int) -> Plan:
        config = self.config
        size = config.batch_size if split == "train" else config.eval_batch_size
        lengths = self._encoded(split)[0].lengths
        return self._plans.of(
            split, seed, epoch, lambda shuffle: by_length(lengths, size, config.pool_size, shuffle)
        )

    def _encoded(self, split: str) -> tuple[Ragged, NDArray[np.int64]]:
        """``question MASK answer MASK`` as ids, and the lengths of the questions [n]."""
        asked = self._asked(split)
        if split not in self._ids:
            self._ids[split] = self._encode_split(split, asked)
        return self._ids[split]

    def _encode_split(self, split: str, asked: list[Question]) -> tuple[Ragged, NDArray[np.int64]]:
        sequences, lengths = [], []
        for number, (question, answer) in enumerate(asked, 1):
            where = f"{self._knowledge.places[split]}, question {number}"
            text = [self.tokenizer.encode(part, where) for part in (question, answer)]
            lengths.append(len(text[0]))
            sequences.append([*text[0], self.mask_id, *text[1], self.mask_id])
            if len(sequences[-1]) > self.config.block_size + 1:
                raise UserError(
                    f"{where}: question and answer have {len(sequences[-1])} "
                    f"{self.tokenizer.unit}s with their masks, but "
                    f"block_size={self.config.block_size}",
                    "Raise dataset.block_size, in pretraining as well.",
                )
        return Ragged.of(sequences), np.array(lengths, dtype=np.int64)


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

    def locate(self) -> Knowledge:
        config, context = self.config, self.context
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

    def locate(self) -> Knowledge:
        return made_up(self.config)
