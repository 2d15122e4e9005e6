"""What every tokenizer promises, whatever its tokens are and whichever data set it serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError

FORMAT = 2
Ids = NDArray[np.int64]


class Tokenizer(ABC):
    """Turns text into ids and back; special ids that a tokenizer does not have are None.

    ``tokens`` is the text of each id. ``line_end_id`` is the policy for line ends: the id that each
    ``\\n`` of a text becomes, so that the ids of pieces of a text that end in one can be joined;
    None: a line end is no token of its own (a text is read as a whole). ``lower_case``: decoding
    gives lower-cased text, so that scores compare lower-cased text.
    """

    kind: str
    unit: str
    tokens: list[str]
    lower_case: bool = False
    line_end_id: int | None = None
    unk_id: int | None = None
    pad_id: int | None = None
    sos_id: int | None = None
    eos_id: int | None = None
    mask_id: int | None = None
    cls_id: int | None = None
    sep_id: int | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @abstractmethod
    def encode(self, text: str, where: str = "the text") -> list[int]:
        """The ids of a text, without padding and ends; text never means a special token other than
        the mask (in a checkpoint's: but those that its chat template writes).

        Raises:
            UserError: a character has no id and there is no ``<unk>``; ``where`` names the text.
        """

    def encode_each(self, texts: Iterable[str], where: str = "the text") -> Iterator[Ids]:
        """The ids [n] of one text after the other; few are in memory at once."""
        return (np.array(self.encode(text, where), dtype=np.int64) for text in texts)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; padding and ends are left out, ``<unk>`` and the mask are written."""

    @abstractmethod
    def labels(self, ids: Iterable[int]) -> list[str]:
        """What a picture writes under each token."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that :func:`scratchlab.data.tokenizers.files.from_json` needs to make it again."""

    def word_starts(self) -> NDArray[np.bool_] | None:
        """[V] whether each token begins a word; None: tokens are no parts of words."""
        return None

    @property
    def frame(self) -> tuple[int, int, int]:
        """The ids of padding, start and end, for texts that a decoder writes.

        Raises:
            UserError: the tokenizer lacks one.
        """
        pad, start, end = self.pad_id, self.sos_id, self.eos_id
        if pad is None or start is None or end is None:
            raise UserError(
                f"dataset.tokenizer={self.kind}: it has no padding, start or end of a text",
                "Give the checkpoint of an encoder-decoder model (T5, BART and the like).",
            )
        return pad, start, end
