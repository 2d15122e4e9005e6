"""Examples of a prompt and an answer, for language models: summaries, instructions.

An example is read as ``opening text separator answer <eos>``. Only the answer and the end have
targets. A text that is too long for the context is cut at its end; an answer never is. Examples of
like length share a batch of a bounded number of tokens, so little is padded.
"""

from __future__ import annotations

import functools
import logging
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.encoded_texts import learned
from scratchlab.data.batching.packing import Row, pack, packed_batch
from scratchlab.data.batching.plans import Plan, Plans, Shuffle, plan_batches
from scratchlab.data.batching.text_batches import token_batch
from scratchlab.data.contract import (
    IGNORE,
    DataContext,
    Provenance,
    Spec,
    TextDataset,
    TokenBatch,
)
from scratchlab.data.tokenizers.choosing import TokenizerOptions, given_tokenizer
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import write_text_tokenizer
from scratchlab.data.tokenizers.pretrained import PretrainedTokenizer
from scratchlab.errors import UserError, suggest
from scratchlab.registry import option

log = logging.getLogger(__name__)

MARK = "\ue000"  # stands where the text goes; of a private plane, so that no text has it
POOL = 512  # examples that are sorted by length together


@dataclass(frozen=True)
class PromptedOptions(TokenizerOptions):
    """How prompts and answers become batches of ids."""

    vocab_size: int | None = option(
        4000, "largest number of tokens, special ones included; null: 8000 pieces, all others",
        min=100,
    )  # fmt: skip
    max_length: int = option(
        512, "tokens of an example; longer texts are cut, answers are not", min=8
    )
    batch_tokens: int = option(2048, "tokens of a training batch, padding included", min=8)
    packing: bool = option(
        False,
        "fill training rows with several examples that do not see each other, instead of batches "
        "of like length",
    )
    eval_batch_tokens: int = option(4096, "the same of evaluation; changes no score", min=8)
    train_examples: int | None = option(None, "the first ones only; null: all", min=1)
    val_examples: int | None = option(None, "the first ones only; null: all", min=1)
    test_examples: int | None = option(None, "the first ones only; null: all", min=1)


@dataclass(frozen=True)
class Example:
    """``opening`` and ``separator`` stand before and behind the text; ``answer`` is learnt."""

    text: str
    answer: str
    opening: str = ""
    separator: str = ""


@dataclass
class Prompted:
    """The examples of each split and where they came from."""

    provenance: Provenance
    splits: dict[str, list[Example]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Encoded:
    """Ids of a prompt and of its answer with the end, and whether the text was cut."""

    prompt: list[int]
    answer: list[int]
    cut: bool


class PromptedDataset(TextDataset):
    """Prompts with answers; subclasses say where the examples come from and how they look."""

    content_name = "texts"
    pretrained: PretrainedTokenizer | None = None

    def __init__(self, config: Any, context: DataContext) -> None:
        self.config = config
        self.context = context
        self.notes: list[str] = []
        self._encoded: dict[str, list[Encoded]] = {}
        self._plans = Plans()
        given = given_tokenizer(config, context)
        if isinstance(given, PretrainedTokenizer):
            self.pretrained = given
        self.tokenizer = self._learned() if given is None else given

    @abstractmethod
    def locate(self) -> Prompted:
        """Find and read the examples; UserError if they are not there."""

    def _learned(self) -> Tokenizer:
        examples = self._prompted.splits["train"]
        texts = [f"{e.opening}{e.text}{e.separator}{e.answer}" for e in examples]
        return learned(self.context.cache, self.config, texts, lines=True)

    # --- what models and checkpoints need -------------------------------------------------------

    @functools.cached_property
    def _prompted(self) -> Prompted:
        found = self.locate()
        for split in self.splits:
            limit = getattr(self.config, f"{split}_examples")
            found.splits[split] = found.splits[split][:limit]
            if not found.splits[split]:
                raise UserError(f"{self.registered_name}: the split {split!r} has no examples")
        self.notes += found.notes
        for note in found.notes:
            log.info("%s: %s", self.registered_name, note)
        return found

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        tokenizer = self.tokenizer
        return Spec(
            task="language_modeling",
            vocab_size=len(tokenizer),
            unk_id=tokenizer.unk_id,
            pad_id=tokenizer.pad_id,
            eos_id=tokenizer.eos_id,
            max_length=self.config.max_length,
            unit=tokenizer.unit,
            tokenizer=tokenizer.kind,
        )

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]
        return self._prompted.provenance

    def save_vocabulary(self, folder: Any) -> None:
        write_text_tokenizer(folder, self.tokenizer)

    def evaluation_settings(self, split: str) -> dict[str, Any]:
        """What changes the meaning of a perplexity on this split."""
        if split == "train" and self.config.packing:
            raise UserError(
                "evaluate_split=train: scores are of single examples, training rows hold several",
                "Set dataset.packing=false.",
            )
        return {
            "unit": self.tokenizer.unit,
            "targets": "answers",
            "context": self.config.max_length,
        }

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def token_labels(self, ids: list[int]) -> list[str]:
        return self.tokenizer.labels(ids)

    # --- examples -------------------------------------------------------------------------------

    def cases(self, split: str) -> list[Example]:
        """The examples of a split in their order."""
        splits = self._prompted.splits
        if split not in splits:
            raise UserError(
                f"{self.registered_name} has no split {split!r}", suggest(split, splits, "Splits")
            )
        return splits[split]

    def contents(self, split: str) -> list[str]:
        return self.sources(split)

    def sources(self, split: str) -> list[str]:
        """The texts as read."""
        return [example.text for example in self.cases(split)]

    def references(self, split: str) -> list[str]:
        """The answers as read."""
        return [example.answer for example in self.cases(split)]

    def prompts(self, split: str) -> list[list[int]]:
        """Ids up to where the answer begins."""
        return [e.prompt for e in self.encoded(split)]

    def prompt(self, text: str) -> tuple[list[int], int, int]:
        """Ids of a prompt for a text of the user's, cut so that an answer has room; how many tokens
        the text has, and how many of them are in the prompt."""
        example = self.frame(text)
        room = max(1, self.config.max_length // 4)
        prompt = self._encode(example, [0] * room).prompt
        frame = sum(len(self._frame_ids(t)) for t in (example.opening, example.separator))
        return prompt, len(self.encode(text)), len(prompt) - frame

    def chat_frame(self, instruction: str = "") -> tuple[str, str]:
        """What the checkpoint's chat template writes before and behind the text of a request."""
        if self.pretrained is None:
            raise UserError(
                "dataset.chat=true needs the tokenizer of a checkpoint",
                "Set dataset.tokenizer=pretrained and dataset.checkpoint=NAME.",
            )
        message = f"{instruction}\n\n{MARK}" if instruction else MARK
        whole = self.pretrained.chat([{"role": "user", "content": message}], prompt=True)
        before, _, after = whole.partition(MARK)
        return before, after

    @abstractmethod
    def frame(self, text: str) -> Example:
        """An example without an answer around a text of the user's."""

    def openings(self, split: str, count: int, tokens: int) -> list[tuple[list[int], list[int]]]:
        """Prompts and the answers that belong to them, evenly spread over the split."""
        found = self.encoded(split)
        chosen = np.linspace(0, len(found) - 1, min(count, len(found))).astype(np.int64)
        return [(found[i].prompt, found[i].answer) for i in chosen.tolist()]

    def encoded(self, split: str) -> list[Encoded]:
        """The examples of a split as ids."""
        if split not in self._encoded:
            examples = self.cases(split)
            answers = self.tokenizer.encode_each(e.answer for e in examples)
            self._encoded[split] = [
                self._encode(e, a.tolist(), number)
                for number, (e, a) in enumerate(zip(examples, answers, strict=True), 1)
            ]
            cut = sum(e.cut for e in self._encoded[split])
            if cut:
                log.info("%s: %d of %d texts of %s are cut to %d tokens", self.registered_name,
                         cut, len(examples), split, self.config.max_length)  # fmt: skip
        return self._encoded[split]

    @functools.lru_cache(maxsize=64)  # noqa: B019 (a handful of frames, as long as the data set)
    def _frame_ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.encode(text)) if text else ()

    def _encode(self, example: Example, answer: list[int], number: int = 0) -> Encoded:
        opening = list(self._frame_ids(example.opening))
        separator = list(self._frame_ids(example.separator))
        end = self.tokenizer.eos_id
        answer = [*answer, *([] if end is None else [end])]
        # One more position would be needed only for what follows the last token.
        room = self.config.max_length + 1 - len(opening) - len(separator) - len(answer)
        if room < 1:
            raise UserError(
                f"{self.registered_name}: the answer of example {number} has {len(answer)} tokens "
                f"and does not fit into dataset.max_length={self.config.max_length}",
                f"Set dataset.max_length={self.config.max_length - room + 64} or more.",
            )
        # A token holds a few characters; a long article need not be encoded to its end.
        text = example.text[: 12 * room]
        ids = self.encode(text)
        cut = len(ids) > room or len(text) < len(example.text)
        return Encoded([*opening, *ids[:room], *separator], answer, cut)

    # --- batches --------------------------------------------------------------------------------

    def size(self, split: str) -> int:
        return len(self.cases(split))

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        if self._packs(split):
            return len(self._rows(split, seed, epoch))
        return len(self._plan(split, seed, epoch))

    def _packs(self, split: str) -> bool:
        return split == "train" and self.config.packing

    def batches(self, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[TokenBatch]:
        encoded, pad = self.encoded(split), self.tokenizer.pad_id or 0
        if self._packs(split):
            examples = [(e.prompt, e.answer) for e in encoded]
            for rows in self._rows(split, seed, epoch)[start:]:
                yield packed_batch(rows, examples, pad)
            return
        plan = self._plan(split, seed, epoch)
        for position in range(start, len(plan)):
            rows = plan[position].tolist()
            width = max(len(encoded[i].prompt) + len(encoded[i].answer) for i in rows) - 1
            tokens = np.full((len(rows), width), pad, dtype=np.int64)
            targets = np.full((len(rows), width), IGNORE, dtype=np.int64)
            for row, i in enumerate(rows):
                prompt, answer = encoded[i].prompt, encoded[i].answer
                ids = [*prompt, *answer]
                tokens[row, : len(ids) - 1] = ids[:-1]
                targets[row, len(prompt) - 1 : len(ids) - 1] = answer
            yield token_batch(tokens, targets, plan[position])

    def _lengths(self, split: str) -> NDArray[np.int64]:
        return np.array([len(e.prompt) + len(e.answer) - 1 for e in self.encoded(split)])

    def _plan(self, split: str, seed: int, epoch: int) -> Plan:
        config = self.config
        tokens = config.batch_tokens if split == "train" else config.eval_batch_tokens

        def plan(shuffle: Shuffle) -> Plan:
            lengths = self._lengths(split)
            return plan_batches(
                np.zeros_like(lengths), lengths, batch_tokens=tokens, shuffle=shuffle,
                pool_size=POOL,
            )  # fmt: skip

        return self._plans.of(split, seed, epoch, plan)

    def _rows(self, split: str, seed: int, epoch: int) -> list[list[Row]]:
        config = self.config

        def rows(shuffle: Shuffle) -> list[list[Row]]:
            return pack(
                self._lengths(split), capacity=config.max_length, batch_tokens=config.batch_tokens,
                shuffle=shuffle or (seed, epoch), pool_size=POOL,
            )  # fmt: skip

        return self._plans.of(split, seed, epoch, rows)

    def padding_share(self, split: str, *, seed: int = 0, epoch: int = 0) -> float:
        """The share of padding in the batches of one epoch, 0 to 1."""
        lengths = self._lengths(split)
        if self._packs(split):
            batches = self._rows(split, seed, epoch)
            widths = [max(int(lengths[row].sum()) for row in rows) for rows in batches]
            filled = sum(len(rows) * w for rows, w in zip(batches, widths, strict=True))
            return 1 - int(lengths.sum()) / filled
        plan = self._plan(split, seed, epoch)
        places = sum(len(plan[i]) * int(lengths[plan[i]].max()) for i in range(len(plan)))
        return 1 - int(lengths.sum()) / places
