"""Running text made ready for language models: tokenised, kept as memory-mapped ids, batched."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.cache import content_key
from scratchlab.data.batching.text_batches import (
    RandomBlocks,
    ShuffledBlocks,
    Streams,
    Windows,
    split_lines,
    stream_windows,
    token_batch,
)
from scratchlab.data.batching.token_shards import PreparedCorpus, Shards, prepared, write_shards
from scratchlab.data.contract import (
    IGNORE,
    DataContext,
    Examples,
    Provenance,
    TokenBatch,
)
from scratchlab.data.kinds.base import TokenText
from scratchlab.data.sources.corpus import Pieces, Read
from scratchlab.data.sources.text_sources import LocatedText, split_reads
from scratchlab.data.tokenizers.choosing import given_tokenizer
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import from_json, read_text_tokenizer, write_text_tokenizer
from scratchlab.data.tokenizers.learned import MARKS, RUNNING
from scratchlab.data.tokenizers.learning import learn
from scratchlab.errors import UserError

# Options that change nothing of what is prepared.
NOT_PREPARED = frozenset(
    (
        "block_size",
        "batch_size",
        "batching",
        "steps_per_epoch",
        "eval_batch_size",
        "eval_context",
        "eval_stride",
        "eval_tokens",
        "eval_streams",
    )
)


SEARCHED_FOR_COPIES = 20_000_000  # tokens of a split


class RunningText(TokenText):
    """A :class:`TextDataset` whose subclasses only say where their text comes from.

    ``config`` has the options of ``RunningTextOptions`` (:mod:`scratchlab.data.sets.corpora`).
    With ``context.vocabulary`` the text is not read before it is asked for, so a checkpoint writes
    on where its corpus is not. Evaluation predicts every token of a split exactly once: the first
    one from the end-of-line token that is put before it (a vocabulary without one, only characters
    can be, leaves the first character out).
    """

    content_name = "lines"

    def __init__(self, config: Any, context: DataContext) -> None:
        super().__init__(config, context)
        context_length = config.eval_context or config.block_size
        self._context = context_length
        self._stride = config.eval_stride or context_length
        if self._stride > context_length:
            raise UserError(
                f"dataset.eval_stride={self._stride} is more than the context of "
                f"{context_length} tokens",
                "Tokens between two windows would not be predicted: give at most that.",
            )
        if context.vocabulary is not None:
            self.tokenizer = read_text_tokenizer(context.vocabulary)
        else:
            described = self._corpus.facts["tokenizer"]
            self.tokenizer = from_json(described, str(self._corpus.folder))

    @classmethod
    @abstractmethod
    def locate(cls, config: Any, context: DataContext) -> LocatedText:
        """Find the corpus (UserError if it is not there) and hash it; tokenising comes later."""

    # --- what models and checkpoints need -------------------------------------------------------

    @property
    def longest(self) -> int:
        return max(self.config.block_size, self._context)

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]
        # Names and places are those of now; only what was hashed in reading comes from the cache.
        found = self.located.provenance
        hashes = {**found.sha256, **self._corpus.facts["read"]}
        return Provenance(found.kind, found.description, hashes)

    @property
    def notes(self) -> list[str]:
        """What a person should know of the splits."""
        return list(self._corpus.facts["notes"])

    def save_vocabulary(self, folder: Path) -> None:
        write_text_tokenizer(folder, self.tokenizer)

    def evaluation_settings(self, split: str) -> dict[str, Any]:
        """What changes the meaning of a perplexity on this split: unit, context and stride."""
        settings: dict[str, Any] = {"unit": self.tokenizer.unit, "tokenizer": self.tokenizer.kind}
        windows = self.windows(split)
        if self.config.eval_tokens is not None:
            settings["first_tokens"] = windows.n
        if self.config.batching == "stream":
            rows = len(windows)
            warm_up = windows.context - windows.stride
            return settings | {"context": "carried state", "streams": rows, "warm_up": warm_up}
        return settings | {"context": self._context, "stride": self._stride}

    # --- text -----------------------------------------------------------------------------------

    def tokens(self, split: str) -> Shards:
        """The ids of a split."""
        return self.of_split(self._corpus.splits, split)

    def contents(self, split: str) -> Iterator[bytes] | None:
        """The ids of each line that is not empty; None for a text too large to look through."""
        if len(self.tokens(split)) > SEARCHED_FOR_COPIES:
            return None
        ids, bounds = self.sentences(split)
        places = pairwise(bounds.tolist())
        return (ids[a:b].astype(np.int64).tobytes() for a, b in places if a < b)

    def true_split(self, split: str) -> str:
        same = split == "test" and self.tokens("test") is self.tokens("val")
        return "val" if same else split

    def sentences(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids [n] without the ends of lines, and the bounds [lines + 1] of the lines in them.

        For models that count and that mark the ends of lines themselves; an empty line is kept.
        """
        return split_lines(self.tokens(split).all(), self.tokenizer.line_end_id)

    def evaluated_text(self, split: str) -> str:
        """The text of the targets that an evaluation of a split predicts."""
        first = int(self._lead is None)  # without a lead the first id is only read
        ids = self.tokens(split).slice(first, first + self.windows(split).n)
        return self.decode(ids.tolist())

    def examples(self, split: str) -> Examples:
        """The sentences; ``<unk>`` is named, so that it is not taken for a word."""
        return Examples(self.sentences(split), {"unk_id": self.tokenizer.unk_id})

    def openings(self, split: str, count: int, tokens: int) -> list[tuple[list[int], list[int]]]:
        """``count`` places of a split, evenly spread: ``tokens`` ids to go on from, and as many
        that follow them. Each begins a line if one begins within ``tokens`` of the place."""
        ids = self.tokens(split)
        places = np.linspace(0, max(0, len(ids) - 2 * tokens), count).astype(np.int64).tolist()
        found = []
        for place in places:
            seen = ids.slice(place, min(len(ids), place + 3 * tokens)).tolist()
            begin = seen[:tokens].index(self._lead) + 1 if self._lead in seen[:tokens] else 0
            begin = 0 if place == 0 else begin
            found.append((seen[begin : begin + tokens], seen[begin + tokens : begin + 2 * tokens]))
        return found

    # --- batches --------------------------------------------------------------------------------

    def size(self, split: str) -> int:
        """The number of tokens of a split."""
        return len(self.tokens(split))

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        if split == "train":
            return self._plan.steps
        windows = self.windows(split)
        if self.config.batching == "stream":
            return -(-windows.context // self.config.block_size)
        return -(-len(windows) // self.config.eval_batch_size)

    def batches(self, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[TokenBatch]:
        """As the contract says; a batch before ``start`` costs nothing."""
        if split != "train":
            stream = self.config.batching == "stream"
            return self._stream_batches(split, start) if stream else self._windowed(split, start)
        return self._training_batches(seed, epoch, start)

    def windows(self, split: str) -> Windows:
        """How a split is read when it is evaluated."""
        n = len(self.tokens(split)) - (self._lead is None)
        n = min(n, self.config.eval_tokens or n)
        if n < 1:
            raise UserError(
                f"{self.registered_name}: the split {split!r} has too little text to predict"
            )
        if self.config.batching == "stream":
            return stream_windows(n, self.config.eval_streams, self.config.block_size)
        return Windows(n, self._context, self._stride)

    @property
    def _lead(self) -> int | None:
        return self.tokenizer.line_end_id

    @functools.cached_property
    def _plan(self) -> RandomBlocks | ShuffledBlocks | Streams:
        config = self.config
        ids = self.tokens("train")
        n, block, batch = len(ids) - 1, config.block_size, config.batch_size
        unit = self.tokenizer.unit
        if n < block:
            raise UserError(
                f"{self.registered_name}: the training text has {len(ids)} {unit}s, but one block "
                f"needs {block + 1}",
                f"Set dataset.block_size={max(1, n // 2)} or less, or give more text.",
            )
        if config.batching == "random":
            steps = config.steps_per_epoch or max(1, n // (batch * block))
            return RandomBlocks(n, block, batch, steps)
        if config.batching == "shuffled":
            return ShuffledBlocks(n, block, batch)
        if n < batch * block:
            raise UserError(
                f"{self.registered_name}: {len(ids)} {unit}s of training text are too few for "
                f"{batch} rows of at least {block} each",
                "Lower dataset.batch_size or dataset.block_size.",
            )
        return Streams(n, block, batch)

    def _training_batches(self, seed: int, epoch: int, start: int) -> Iterator[TokenBatch]:
        plan, ids = self._plan, self.tokens("train")
        block = self.config.block_size
        order = plan.order(seed, epoch) if isinstance(plan, ShuffledBlocks) else None
        for position in range(start, plan.steps):
            length, starts = block, None
            if isinstance(plan, Streams):
                places, length = plan.places(seed, epoch, position)
                starts = np.full(plan.batch, position == 0)
            elif isinstance(plan, RandomBlocks):
                places = plan.places(seed, epoch, position)
            else:
                assert order is not None
                places = order[position * plan.batch : (position + 1) * plan.batch]
            rows = ids.take(places, length + 1)
            yield token_batch(rows[:, :-1], rows[:, 1:], places, starts)

    def _windowed(self, split: str, start: int) -> Iterator[TokenBatch]:
        windows, size = self.windows(split), self.config.eval_batch_size
        for first in range(start * size, len(windows), size):
            last = min(first + size, len(windows))
            begins, counted, ends = windows.bounds(first, last)
            width = int((ends - begins).max())
            tokens, targets = self._window(split, begins, counted, ends, 0, width)
            yield token_batch(tokens, targets, np.arange(first, last))

    def _stream_batches(self, split: str, start: int) -> Iterator[TokenBatch]:
        windows, block = self.windows(split), self.config.block_size
        begins, counted, ends = windows.bounds(0, len(windows))
        for first in range(start * block, windows.context, block):
            width = min(block, windows.context - first)
            tokens, targets = self._window(split, begins, counted, ends, first, width)
            starts = np.full(len(windows), first == 0)
            yield token_batch(tokens, targets, np.arange(len(windows)), starts)

    def _window(
        self, split: str, begins: Any, counted: Any, ends: Any, first: int, width: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens and targets [windows, width] of the columns ``first`` to ``first + width``."""
        ids, lead = self.tokens(split), self._lead
        shift = int(lead is not None)  # with a lead, target i is id i; without one, id i + 1
        tokens = np.zeros((len(begins), width), dtype=np.int64)
        targets = np.full((len(begins), width), IGNORE, dtype=np.int64)
        for row in range(len(begins)):
            a = int(begins[row]) + first
            b = min(a + width, int(ends[row]))
            if a >= b:
                continue
            seen = ids.slice(max(0, a - shift), b + 1 - shift)
            if a == 0 and lead is not None:
                seen = np.concatenate(([lead], seen))
            tokens[row, : b - a] = seen[:-1]
            skip = min(max(0, int(counted[row]) - a), b - a)
            targets[row, skip : b - a] = seen[1 + skip :]
        return tokens, targets

    # --- preparation ----------------------------------------------------------------------------

    @functools.cached_property
    def _corpus(self) -> PreparedCorpus:
        located = self.located
        options = {k: v for k, v in asdict(self.config).items() if k not in NOT_PREPARED}
        tokenizer = given_tokenizer(self.config, self.context)
        key = content_key(
            options=options,
            data=located.key,
            vocabulary=tokenizer.to_json() if tokenizer else None,
            **({"masks": True} if self.context.masks and tokenizer is None else {}),
        )
        corpus = prepared(
            self.context.cache,
            self.registered_name,
            key,
            lambda folder: self._build(folder, located, tokenizer),
        )
        self.remark(corpus.facts["notes"])
        return corpus

    def _build(
        self, folder: Path, located: LocatedText, tokenizer: Tokenizer | None
    ) -> dict[str, Any]:
        known = set(located.provenance.sha256)
        reads, notes = split_reads(located, self.config, self.splits, self.registered_name)
        if tokenizer is None:
            tokenizer = self._learn(reads)
        splits: dict[str, Any] = {}
        for split, read in reads.items():
            pieces = tokenizer.encode_each(
                # A cut inside a line: the space there is no token of its own.
                (piece.removesuffix(" ") if tokenizer.kind == "bpe" else piece for piece in read()),
                f"{self.registered_name} ({split})",
            )
            splits[split] = write_shards(folder, split, pieces, len(tokenizer))
            if not sum(entry["tokens"] for entry in splits[split]):
                raise UserError(
                    f"{self.registered_name}: the split {split!r} of "
                    f"{located.provenance.description} is empty"
                )
        if "test" not in splits:
            splits["test"] = splits["val"]
            notes.append("there is no test split: test is the validation split")
        hashes = located.provenance.sha256
        return {
            "splits": splits,
            "tokenizer": tokenizer.to_json(),
            "notes": [*located.notes, *notes],
            "read": {name: digest for name, digest in hashes.items() if name not in known},
        }

    def _learn(self, reads: dict[str, Read]) -> Tokenizer:
        def everything() -> Pieces:
            for read in reads.values():
                yield from read()

        config, masks = self.config, self.context.masks
        if not any(piece.strip() for piece in reads["train"]()):
            raise UserError(f"{self.registered_name}: the training text is empty")
        return learn(
            config.tokenizer, reads["train"], config.vocab_size, config.min_frequency,
            special=MARKS if masks else RUNNING[config.tokenizer], lines=True, mask=masks,
            everything=everything,
        )  # fmt: skip
