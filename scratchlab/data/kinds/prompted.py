"""Examples of a prompt and an answer, for language models: summaries, instructions.

An example is read as ``opening text separator answer <eos>``. Only the answer and the end have
targets. A text that is too long for the context is cut at its end; an answer never is. Examples of
like length share a batch of a bounded number of tokens, so little is padded.
"""

from __future__ import annotations

import functools
import logging
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.encoded_texts import learned
from scratchlab.data.batching.packing import Row, pack, packed_batch
from scratchlab.data.batching.plans import Plan, Shuffle, plan_batches
from scratchlab.data.batching.text_batches import token_batch
from scratchlab.data.contract import (
    IGNORE,
    DataContext,
    TokenBatch,
)
from scratchlab.data.kinds.base import TextPairs, TokenText
from scratchlab.data.sources.locating import Located
from scratchlab.data.tokenizers.choosing import TokenizerOptions, given_tokenizer
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.pretrained import PretrainedTokenizer
from scratchlab.errors import UserError
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
    batch_tokens: int = option(
        2048, "tokens of a training batch, padding included", min=8, auto="the largest that fits"
    )
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


@dataclass(frozen=True)
class Encoded:
    """Ids of a prompt and of its answer with the end, and whether the text was cut."""

    prompt: list[int]
    answer: list[int]
    cut: bool


class PromptedDataset(TextPairs, TokenText):
    """Prompts with answers; subclasses say where they come from and what stands around them."""

    outputs = "answers"
    content_name = "texts"
    pretrained: PretrainedTokenizer | None = None

    def __init__(self, config: Any, context: DataContext) -> None:
        super().__init__(config, context)
        self._encoded: dict[str, list[Encoded]] = {}
        given = given_tokenizer(config, context)
        if isinstance(given, PretrainedTokenizer):
            self.pretrained = given
        self.tokenizer = self._learned() if given is None else given

    @classmethod
    @abstractmethod
    def locate(cls, config: Any, context: DataContext) -> Located:
        """Find the texts and their answers; UserError if they are not there."""

    @abstractmethod
    def example(self, text: str, answer: str = "") -> Example:
        """A text and its answer with what stands around them; a user's text has no answer."""

    def _learned(self) -> Tokenizer:
        examples = self.cases("train")
        texts = [f"{e.opening}{e.text}{e.separator}{e.answer}" for e in examples]
        return learned(self.context.cache, self.config, texts, lines=True)

    # --- what models and checkpoints need -------------------------------------------------------

    @property
    def longest(self) -> int:
        return self.config.max_length

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

    # --- examples -------------------------------------------------------------------------------

    def cases(self, split: str) -> list[Example]:
        """The examples of a split in their order."""
        return [self.example(text, answer) for text, answer in self.of_split(self.pairs, split)]

    def sources(self, split: str) -> list[str]:
        """The texts as read."""
        return self.texts(split)

    def references(self, split: str) -> list[str]:
        """The answers as read."""
        return [example.answer for example in self.cases(split)]

    def prompts(self, split: str) -> list[list[int]]:
        """Ids up to where the answer begins."""
        return [e.prompt for e in self.encoded(split)]

    def prompt(self, text: str) -> tuple[list[int], int, int]:
        """Ids of a prompt for a text of the user's, cut so that an answer has room; how many tokens
        the text has, and how many of them are in the prompt."""
        example = self.example(text)
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

    def _packs(self, split: str) -> bool:
        return split == "train" and self.config.packing

    def batch(self, split: str, planned: Any, *, seed: int, epoch: int) -> TokenBatch:
        encoded, pad = self.encoded(split), self.tokenizer.pad_id or 0
        if self._packs(split):
            return packed_batch(planned, [(e.prompt, e.answer) for e in encoded], pad)
        chosen = [encoded[i] for i in planned.tolist()]
        width = max(len(e.prompt) + len(e.answer) for e in chosen) - 1
        tokens = np.full((len(chosen), width), pad, dtype=np.int64)
        targets = np.full((len(chosen), width), IGNORE, dtype=np.int64)
        for row, e in enumerate(chosen):
            ids = [*e.prompt, *e.answer]
            tokens[row, : len(ids) - 1] = ids[:-1]
            targets[row, len(e.prompt) - 1 : len(ids) - 1] = e.answer
        return token_batch(tokens, targets, planned)

    def _lengths(self, split: str) -> NDArray[np.int64]:
        return np.array([len(e.prompt) + len(e.answer) - 1 for e in self.encoded(split)])

    def plan_epoch(self, split: str, shuffle: Shuffle) -> Plan | list[list[Row]]:
        config, lengths = self.config, self._lengths(split)
        if self._packs(split):
            return pack(
                lengths, capacity=config.max_length, batch_tokens=config.batch_tokens,
                shuffle=shuffle or (0, 0), pool_size=POOL,
            )  # fmt: skip
        tokens = config.batch_tokens if split == "train" else config.eval_batch_tokens
        return plan_batches(
            np.zeros_like(lengths), lengths, batch_tokens=tokens, shuffle=shuffle, pool_size=POOL
        )

    def padding_share(self, split: str, *, seed: int = 0, epoch: int = 0) -> float:
        """The share of padding in the batches of one epoch, 0 to 1."""
        lengths = self._lengths(split)
        if self._packs(split):
            batches = self.plan(split, seed, epoch)
            widths = [max(int(lengths[row].sum()) for row in rows) for rows in batches]
            filled = sum(len(rows) * w for rows, w in zip(batches, widths, strict=True))
            return 1 - int(lengths.sum()) / filled
        plan = self.plan(split, seed, epoch)
        places = sum(len(plan[i]) * int(lengths[plan[i]].max()) for i in range(len(plan)))
        return 1 - int(lengths.sum()) / places
