"""Span corruption over characters or pieces: a text with a hole, then what was in it.

``prefix MASK suffix MASK content PAD…`` (the task of CS224N's assignment on pretrained
Transformers, after T5's span corruption; Raffel et al., 2020). A document is cut to a random length
between 4 and ⌊7/8 · block⌋ tokens; a span of a random length, a quarter of that on average, is
taken out of its middle: something always stays before and behind it. The model reads all but the
last token and predicts all but the first.

Length and span of every document are drawn anew in each epoch, as a function of (seed, epoch)
alone. Padding is never computed: batches hold examples of like length and are cut to the longest.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator
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
from scratchlab.data.tokenizers.learned import PAD_CHARACTER
from scratchlab.errors import UserError
from scratchlab.random_streams import generator
from scratchlab.registry import option

Ints = NDArray[np.int64]

SHORTEST = 4
# Keep the random streams of training and of evaluation apart from each other and from the orders.
TRAIN_STREAM, EVAL_STREAM = 11, 12


@dataclass(frozen=True)
class SpanOptions(TokenOptions):
    """How documents become examples."""

    batch_size: int = option(128, "examples of a batch", min=1, auto="the largest that fits")
    pool_size: int = option(
        4096, "examples that are sorted by length together: fewer is more random, pads more", min=1
    )
    eval_batch_size: int = option(64, "the same for val and test; changes no score", min=1)
    held_out: int = option(
        0, "documents to validate on that are not trained on; 0: see val_examples", min=0
    )
    val_examples: int = option(
        256, "with held_out=0: training documents to validate on, with spans of their own", min=1
    )


@dataclass(frozen=True)
class Draw:
    """What was drawn for examples [n]: length of the document, start and length of the span."""

    length: Ints
    start: Ints
    span: Ints

    def take(self, rows: Ints) -> Draw:
        return Draw(self.length[rows], self.start[rows], self.span[rows])


@dataclass(frozen=True)
class Planned:
    """The batches of an epoch: the numbers of the examples of each, and what was drawn for all."""

    rows: Plan
    drawn: Draw

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Ints, Draw]:
        return self.rows[position], self.drawn


def draw(document_lengths: Ints, block: int, *key: int) -> Draw:
    """Lengths and spans as a pure function of ``key``; see the module's text."""
    chance = generator(*key).random((3, len(document_lengths)))
    longest = 7 * block // 8
    length = SHORTEST + np.floor(chance[0] * (longest - SHORTEST + 1)).astype(np.int64)
    length = np.minimum(length, document_lengths)
    # Uniform from 1 to length / 2 - 1: a quarter of the length on average.
    span = 1 + np.floor(chance[1] * np.maximum(1, length // 2 - 1)).astype(np.int64)
    start = 1 + np.floor(chance[2] * (length - span - 1)).astype(np.int64)
    return Draw(length, start, span)


def corrupt(documents: Ragged, rows: Ints, drawn: Draw, mask_id: int, pad_id: int) -> Ints:
    """The examples of ``rows`` [n, longest + 2]; ``drawn`` [n] belongs to these rows."""
    length, start, span = (a[:, None] for a in (drawn.length, drawn.start, drawn.span))
    column = np.arange(int(length.max()) + 2)
    second = length - span + 1  # where the second mask stands
    source = np.where(
        column < start,
        column,
        np.where(column < second, column - 1 + span, start + column - second - 1),
    )
    source = np.clip(source, 0, length - 1)
    examples = documents.values[documents.offsets[rows][:, None] + source].astype(np.int64)
    examples[(column == start) | (column == second)] = mask_id
    examples[column >= length + 2] = pad_id
    return examples


class SpanDataset(MaskedText):
    """Documents with masked spans; subclasses only say where the documents come from.

    ``notes`` tell what a person should know of the splits; test is the same as val.
    """

    content_name = "documents"

    @classmethod
    @abstractmethod
    def locate(cls, config: Any, context: DataContext) -> Knowledge:
        """Read the documents."""

    def evaluation_settings(self, split: str) -> dict[str, Any]:
        """What changes the meaning of a perplexity on this split."""
        return {
            "unit": self.tokenizer.unit,
            "context": self.config.block_size,
            "examples": "masked spans",
        }

    # --- examples -------------------------------------------------------------------------------

    @functools.cached_property
    def _documents(self) -> tuple[Ragged, dict[str, Ints]]:
        """All documents that are long enough, and the numbers of those of each split."""
        config, found = self.config, self.located.documents
        ids = [
            self.tokenizer.encode(text, f"{self.registered_name}, document {i}")
            for i, text in enumerate(found, 1)
        ]
        kept = [tokens for tokens in ids if len(tokens) >= SHORTEST]
        if len(kept) < len(found):
            self.remark([f"{len(found) - len(kept):,} documents are too short and left out"])
        if len(kept) <= config.held_out:
            raise UserError(
                f"{self.registered_name}: {len(kept)} documents, of which {config.held_out} are "
                "held out, leave none to train on",
                "Lower dataset.held_out, or give more documents.",
            )
        everything = np.arange(len(kept), dtype=np.int64)
        held = config.held_out or min(config.val_examples, len(kept))
        val = np.linspace(0, len(kept) - 1, held).astype(np.int64)
        train = np.setdiff1d(everything, val) if config.held_out else everything
        return Ragged.of(kept), {"train": train, "val": val, "test": val}

    def contents(self, split: str) -> Iterator[bytes]:
        documents = self._documents[0]
        bounds = documents.offsets.tolist()
        for row in self._rows(split).tolist():
            yield documents.values[bounds[row] : bounds[row + 1]].tobytes()

    def true_split(self, split: str) -> str:
        return "val" if split == "test" else split

    def _rows(self, split: str) -> Ints:
        return self.of_split(self._documents[1], split)

    def size(self, split: str) -> int:
        return len(self._rows(split))

    def drawn(self, split: str, *, seed: int, epoch: int) -> Draw:
        """What is drawn for the examples of a split; the same in every epoch but for training."""
        key = (TRAIN_STREAM, seed, epoch) if split == "train" else (EVAL_STREAM,)
        lengths = self._documents[0].lengths[self._rows(split)]
        return draw(lengths, self.config.block_size, *key)

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        config, size = self.config, self.size(split)
        if split != "train":
            return -(-size // config.eval_batch_size)
        whole, rest = divmod(size, config.pool_size)
        return whole * -(-config.pool_size // config.batch_size) + -(-rest // config.batch_size)

    def plan_epoch(self, split: str, shuffle: Shuffle) -> Planned:
        config = self.config
        size = config.batch_size if split == "train" else config.eval_batch_size
        seed, epoch = shuffle or (0, 0)
        drawn = self.drawn(split, seed=seed, epoch=epoch)
        return Planned(by_length(drawn.length, size, config.pool_size, shuffle), drawn)

    def batch(self, split: str, planned: Any, *, seed: int, epoch: int) -> TokenBatch:
        rows, drawn = planned
        examples = self._examples(split, rows, drawn)
        targets = examples[:, 1:].copy()
        targets[targets == self.tokenizer.pad_id] = IGNORE
        return token_batch(examples[:, :-1], targets, rows)

    def _examples(self, split: str, chosen: Ints, drawn: Draw) -> Ints:
        assert self.tokenizer.pad_id is not None
        rows = self._rows(split)[chosen]
        return corrupt(
            self._documents[0], rows, drawn.take(chosen), self.mask_id, self.tokenizer.pad_id
        )

    def example(self, split: str, index: int, *, seed: int = 0, epoch: int = 0) -> str:
        """One example as text, with ⁇ for the mask and □ for padding up to the block size."""
        drawn = self.drawn(split, seed=seed, epoch=epoch)
        ids = self._examples(split, np.array([index]), drawn)[0].tolist()
        return self.decode(ids) + PAD_CHARACTER * (self.config.block_size - len(ids))

    def openings(self, split: str, count: int, tokens: int) -> list[tuple[list[int], list[int]]]:
        """Examples up to their second mask, and the contents that belong there.

        ``tokens`` is not needed: where an example parts is given by its masks.
        """
        drawn = self.drawn(split, seed=0, epoch=0)
        chosen = np.linspace(0, self.size(split) - 1, count).astype(np.int64)
        rows = self._examples(split, chosen, drawn).tolist()
        found = []
        for row, length, span in zip(
            rows, drawn.length[chosen].tolist(), drawn.span[chosen].tolist(), strict=True
        ):
            found.append((row[: length - span + 2], row[length - span + 2 : length + 2]))
        return found

    def padding_share(self, split: str, *, seed: int = 0, epoch: int = 0) -> float:
        """The share of padding in the batches of one epoch, 0 to 1."""
        planned = self.plan(split, seed, epoch)
        drawn = planned.drawn
        positions = sum(
            len(rows) * int(drawn.length[rows].max() + 1)
            for rows, _ in (planned[i] for i in range(len(planned)))
        )
        return 1 - int((drawn.length + 1).sum()) / positions
