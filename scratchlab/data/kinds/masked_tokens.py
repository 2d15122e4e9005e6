"""Any text read for its masked words: blocks of running text, or labelled texts without labels.

It stands around a data set, whose splits, tokenizer and order of batches stay what they are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from scratchlab.data.batching.masking import Ints, Masking, Vocabulary, mask_tokens
from scratchlab.data.batching.text_batches import token_batch
from scratchlab.data.contract import IGNORE, Dataset, Provenance, Spec, TextDataset, TokenBatch
from scratchlab.data.kinds.running_text import RunningText
from scratchlab.data.kinds.text_classes import TextClassDataset
from scratchlab.data.tokenizers.contract import Tokenizer
from scratchlab.data.tokenizers.files import write_text_tokenizer
from scratchlab.errors import UserError

# Keep the random streams of training and of evaluation apart from each other and from the orders.
TRAIN_STREAM, EVAL_STREAM = 21, 22


class MaskedTokens(TextDataset):
    """Rows are framed by the tokens that a tokenizer puts around a text, if it does.

    What is masked is drawn anew for each epoch of training, as a function of (seed, epoch, example)
    alone; for other splits it is the same always, whatever the size of batches.
    """

    outputs: ClassVar[str] = "filled_masks"

    def __init__(self, inner: Dataset, masking: Masking) -> None:
        if not isinstance(inner, RunningText | TextClassDataset):
            raise UserError(
                "masked words are those of running text or of labelled texts, and "
                f"{inner.registered_name} is neither"
            )
        self.inner: Any = inner
        self.masking = masking
        self.tokenizer: Tokenizer = inner.tokenizer
        if self.tokenizer.mask_id is None or self.tokenizer.pad_id is None:
            where = inner.context.vocabulary
            kind = self.tokenizer.kind
            raise UserError(
                f"the vocabulary of {where} has no mask"
                if where
                else f"dataset.tokenizer={kind}: dataset.checkpoint={inner.config.checkpoint} has "
                "no mask",
                "Take one of BERT's kind (dataset.checkpoint=minilm), or learn one from the text "
                "(dataset.tokenizer=bpe).",
            )
        if masking.whole_words and self.tokenizer.word_starts() is None:
            raise UserError(
                "task.whole_words: characters are no parts of words to this tokenizer",
                "Set dataset.tokenizer=bpe, or task.whole_words=false.",
            )
        options = inner.config
        if isinstance(inner, RunningText):
            if options.batching == "stream":
                raise UserError(
                    "dataset.batching=stream is for recurrent models: a text encoder carries "
                    "nothing to its next batch",
                    "Set dataset.batching=shuffled.",
                )
            if options.eval_stride not in (None, options.eval_context or options.block_size):
                raise UserError(
                    f"dataset.eval_stride={options.eval_stride}: masked words are predicted in "
                    "windows that do not overlap",
                    "Leave dataset.eval_stride=null.",
                )

    # --- the data set around which it stands -----------------------------------------------------

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]
        found: Provenance = self.inner.provenance
        return found

    @property
    def notes(self) -> Sequence[str]:
        found: Sequence[str] = self.inner.notes
        return found

    @functools.cached_property
    def spec(self) -> Spec:  # type: ignore[override]
        tokenizer, inner = self.tokenizer, self.inner
        framed = len(self._frame) if isinstance(inner, RunningText) else 0
        return Spec(
            task="masked_lm",
            vocab_size=len(tokenizer),
            unk_id=tokenizer.unk_id,
            pad_id=tokenizer.pad_id,
            sos_id=tokenizer.cls_id,
            max_length=inner.spec.max_length + framed,
            unit=tokenizer.unit,
            tokenizer=tokenizer.kind,
        )

    def size(self, split: str) -> int:
        found: int = self.inner.size(split)
        return found

    def texts_in(self, split: str) -> int:
        """The number of rows that an evaluation of a split reads."""
        inner = self.inner
        windows = isinstance(inner, RunningText)
        return len(inner.windows(split)) if windows else int(inner.size(split))

    def contents(self, split: str) -> Iterable[str | bytes] | None:
        found: Iterable[str | bytes] | None = self.inner.contents(split)
        return found

    def true_split(self, split: str) -> str:
        found: str = self.inner.true_split(split)
        return found

    def batch_count(self, split: str, *, seed: int, epoch: int) -> int:
        found: int = self.inner.batch_count(split, seed=seed, epoch=epoch)
        return found

    def save_vocabulary(self, folder: Path) -> None:
        write_text_tokenizer(folder, self.tokenizer)

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def token_labels(self, ids: list[int]) -> list[str]:
        return self.tokenizer.labels(ids)

    def evaluation_settings(self, split: str) -> dict[str, Any]:
        """What changes the meaning of figures: unit, what is read, what is masked."""
        masking = self.masking
        return {
            "unit": self.tokenizer.unit,
            "tokenizer": self.tokenizer.kind,
            "context": self.spec.max_length,
            "predicted": masking.share,
            "masked": masking.masked,
            "replaced": masking.replaced,
            "whole_words": masking.whole_words,
        }

    # --- ids --------------------------------------------------------------------------------------

    @property
    def mask_text(self) -> str:
        """How a text writes the mask."""
        assert self.tokenizer.mask_id is not None
        return self.tokenizer.tokens[self.tokenizer.mask_id]

    def encode(self, text: str) -> list[int]:
        """Ids of a text within its frame; not cut."""
        first, last = self.tokenizer.cls_id, self.tokenizer.sep_id
        ids = self.tokenizer.encode(text.removesuffix("\n"))
        return [*([] if first is None else [first]), *ids, *([] if last is None else [last])]

    @property
    def _frame(self) -> list[int]:
        """The ids around a text: none, or those of its two ends."""
        return [i for i in (self.tokenizer.cls_id, self.tokenizer.sep_id) if i is not None]

    @functools.cached_property
    def fixed(self) -> Ints:
        """The ids that are no part of a text and never masked."""
        tokenizer = self.tokenizer
        end = tokenizer.line_end_id if tokenizer.line_end_id == tokenizer.sep_id else None
        ids = (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, end)
        return np.array(sorted({i for i in ids if i is not None}), dtype=np.int64)

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """What masking needs of the tokenizer."""
        tokenizer = self.tokenizer
        ends = {tokenizer.unk_id, tokenizer.sos_id, tokenizer.eos_id, *self.fixed.tolist()}
        ordinary = [i for i in range(len(tokenizer)) if i not in ends]
        assert tokenizer.mask_id is not None
        return Vocabulary(
            tokenizer.mask_id,
            np.array(ordinary, dtype=np.int64),
            self.fixed,
            tokenizer.word_starts() if self.masking.whole_words else None,
        )

    # --- batches ----------------------------------------------------------------------------------

    def batches(self, split: str, *, seed: int, epoch: int, start: int = 0) -> Iterator[TokenBatch]:
        """As the contract says: what is read, with masks, and what is to be predicted."""
        key = (TRAIN_STREAM, seed, epoch) if split == "train" else (EVAL_STREAM,)
        for batch in self.inner.batches(split, seed=seed, epoch=epoch, start=start):
            examples = batch.indices.numpy()
            ids = self.framed(batch.targets.numpy()) if hasattr(batch, "tokens") else batch.inputs
            tokens, targets = mask_tokens(
                np.asarray(ids), examples, key, self.masking, self.vocabulary
            )
            yield token_batch(tokens, targets, examples)

    def framed(self, text: Ints) -> Ints:
        """text [n, T], ``IGNORE`` behind its end → within its frame, padded."""
        first, last, pad = self.tokenizer.cls_id, self.tokenizer.sep_id, self.tokenizer.pad_id
        lengths = (text != IGNORE).sum(1)
        lead, tail = int(first is not None), int(last is not None)
        assert pad is not None
        rows = np.full((len(text), text.shape[1] + lead + tail), pad, dtype=np.int64)
        rows[:, lead : lead + text.shape[1]] = np.where(text == IGNORE, pad, text)
        if first is not None:
            rows[:, 0] = first
        if last is not None:
            rows[np.arange(len(rows)), lead + lengths] = last
        return rows
