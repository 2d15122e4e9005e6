"""Text as word vectors learn from it: ids that need not fit into memory, read block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.batching.token_shards import Shards
from scratchlab.data.contract import Dataset
from scratchlab.data.kinds.running_text import RunningText
from scratchlab.errors import UserError

LINE_END, LEFT_OUT = -2, -1
"""What stands in a block of words where a line ends, and where a word is not of the vocabulary."""


@dataclass(frozen=True)
class Text:
    """``ids`` [n], mapped into memory or in it, and the text of each id.

    No window reaches over the id ``line_end``; ``unknown`` stands for words that have no id.
    """

    ids: Shards
    tokens: Sequence[str]
    line_end: int | None = None
    unknown: int | None = None

    @classmethod
    def of(cls, dataset: Dataset, split: str) -> Text:
        """A split of running text, whatever its tokenizer."""
        if not isinstance(dataset, RunningText):
            raise UserError(
                f"word vectors are learned from running text, not from {type(dataset).__name__}",
                "Choose dataset=python_docs or dataset=text_file.",
            )
        t = dataset.tokenizer
        if t.unit != "word":
            raise UserError(
                f"word vectors are learned from words, but dataset.tokenizer={t.kind} gives "
                f"{t.unit}s",
                "Set dataset.tokenizer=word, or whitespace for a text that is tokenised already.",
            )
        return cls(dataset.tokens(split), t.tokens, t.line_end_id, t.unk_id)

    @classmethod
    def from_sentences(cls, sentences: Sequence[Sequence[str]]) -> Text:
        """Lists of words, each a line."""
        tokens = ["\n", *dict.fromkeys(word for sentence in sentences for word in sentence)]
        numbers = {word: number for number, word in enumerate(tokens)}
        ids = [i for sentence in sentences for i in (*map(numbers.__getitem__, sentence), 0)]
        return cls(Shards([np.array(ids, dtype=np.uint32)]), tokens, 0)

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(self, first: int, last: int, size: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Ids ``first`` to ``last``, ``size`` at a time, with where each block begins."""
        for begin in range(first, last, size):
            yield begin, self.ids.slice(begin, min(begin + size, last))

    def counts(self, block: int = 1 << 22) -> NDArray[np.int64]:
        """How often each id occurs; the ends of lines and unknown words are not counted."""
        found = np.zeros(len(self.tokens), dtype=np.int64)
        for _, ids in self.blocks(0, len(self), block):
            found += np.bincount(ids, minlength=len(found))
        for special in (self.line_end, self.unknown):
            if special is not None:
                found[special] = 0
        return found
