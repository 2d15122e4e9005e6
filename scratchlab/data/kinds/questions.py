"""Questions about what a corpus says: ``Where was X born? MASK place MASK PAD…``

The second stage of the knowledge task (CS224N's assignment on pretrained Transformers): the loss
counts the place and the mask that closes it, and nothing of the question. The vocabulary is that of
the documents of the first stage.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.plans import Plan, Ragged, Shuffle
from scratchlab.data.batching.text_batches import by_length, token_batch
from scratchlab.data.contract import (
    IGNORE,
    DataContext,
    TokenBatch,
)
from scratchlab.data.kinds.masked_text import Knowledge, MaskedText, TokenOptions
from scratchlab.data.sources.locating import Pair
from scratchlab.errors import UserError
from scratchlab.registry import option


@dataclass(frozen=True)
class QuestionOptions(TokenOptions):
    """How questions and answers become examples."""

    batch_size: int = option(256, "examples of a batch", min=1, auto="the largest that fits")
    pool_size: int = option(
        4096, "examples that are sorted by length together: fewer is more random, pads more", min=1
    )
    eval_batch_size: int = option(64, "the same for val and test; changes no score", min=1)


class QuestionDataset(MaskedText):
    """Questions with short answers; subclasses only say where they come from."""

    outputs = "short_answers"
    content_name = "questions"

    def __init__(self, config: Any, context: DataContext) -> None:
        super().__init__(config, context)
        self._ids: dict[str, tuple[Ragged, NDArray[np.int64]]] = {}

    @classmethod
    @abstractmethod
    def locate(cls, config: Any, context: DataContext) -> Knowledge:
        """Read the questions, and the documents that the vocabulary comes from."""

    @property
    def notes(self) -> list[str]:
        return [*self.located.notes]

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
        same = split == "test" and self.located.places["test"] == self.located.places["val"]
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

    def _asked(self, split: str) -> list[Pair]:
        return self.of_split(self.located.questions, split)

    # --- batches --------------------------------------------------------------------------------

    def size(self, split: str) -> int:
        return len(self._asked(split))

    def plan_epoch(self, split: str, shuffle: Shuffle) -> Plan:
        config = self.config
        size = config.batch_size if split == "train" else config.eval_batch_size
        return by_length(self._encoded(split)[0].lengths, size, config.pool_size, shuffle)

    def batch(self, split: str, planned: Any, *, seed: int, epoch: int) -> TokenBatch:
        pad_id = self.tokenizer.pad_id
        assert pad_id is not None
        ids, asked = self._encoded(split)
        examples = ids.take(planned).padded(pad_id)
        targets = examples[:, 1:].copy()
        targets[targets == pad_id] = IGNORE
        targets[np.arange(targets.shape[1]) < asked[planned][:, None]] = IGNORE
        return token_batch(examples[:, :-1], targets, planned)

    def _encoded(self, split: str) -> tuple[Ragged, NDArray[np.int64]]:
        """``question MASK answer MASK`` as ids, and the lengths of the questions [n]."""
        asked = self._asked(split)
        if split not in self._ids:
            self._ids[split] = self._encode_split(split, asked)
        return self._ids[split]

    def _encode_split(self, split: str, asked: list[Pair]) -> tuple[Ragged, NDArray[np.int64]]:
        sequences, lengths = [], []
        for number, (question, answer) in enumerate(asked, 1):
            where = f"{self.located.places[split]}, question {number}"
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
