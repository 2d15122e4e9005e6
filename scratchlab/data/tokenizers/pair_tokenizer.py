"""The tokenizer of a pretrained encoder-decoder, for data sets of pairs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from scratchlab.config.reading import read_json, require
from scratchlab.data.sources.pretrained_files import find_pretrained
from scratchlab.data.tokenizers.pair_words import FORMAT, Tokenizer
from scratchlab.data.tokenizers.pretrained_tokenizer import (
    PretrainedTokenizer,
    load_pretrained_tokenizer,
)
from scratchlab.errors import UserError


class PretrainedPairTokenizer(Tokenizer):
    """Both sides of a pair as a checkpoint reads and writes them.

    ``start`` is the id that the checkpoint's decoder begins with. What its tokenizer puts before a
    text (``<s>`` in BART's) belongs to the ids of a text here; the end mark is put on by the data
    set, as for all tokenizers of pairs.
    """

    kind: ClassVar[str] = "pretrained"
    unit: ClassVar[str] = "token"

    def __init__(self, inner: PretrainedTokenizer, start: int) -> None:
        if inner.eos_id is None or inner.pad_id is None:
            raise UserError(
                f"the tokenizer of {inner.origin} has no end of a text",
                "Give the checkpoint of an encoder-decoder model (T5, BART and the like).",
            )
        self.inner = inner
        inner.inner.encode_special_tokens = True  # a text that reads </s> is no end of a text
        framed = inner.inner.encode("", add_special_tokens=True).ids
        self.prefix = [i for i in framed if i != inner.eos_id]
        self.pad_id, self.eos_id, self.sos_id = inner.pad_id, inner.eos_id, start
        self.unk_id = inner.unk_id

    def __len__(self) -> int:
        return len(self.inner)

    def encode(self, text: str) -> list[int]:
        return [*self.prefix, *self.inner.encode(text).tolist()]

    def decode(self, ids: Iterable[int]) -> str:
        return self.inner.decode(i for i in ids if i < len(self.inner)).strip()

    def labels(self, ids: Iterable[int]) -> list[str]:
        return self.inner.labels(i if i < len(self.inner) else self.pad_id for i in ids)

    def to_json(self) -> dict[str, Any]:
        inner = self.inner.to_json()
        return {"format": FORMAT, "kind": self.kind, "start": self.sos_id, "inner": inner}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> PretrainedPairTokenizer:
        """What ``to_json`` described."""
        described = require(stored, {"inner": "dict[str, Any]", "start": "int"}, "the tokenizer")
        tokenizer = PretrainedTokenizer.from_json(described["inner"])
        if not 0 <= described["start"] < len(tokenizer):
            raise UserError(f"the tokenizer: start: {described['start']} is no token of it")
        return cls(tokenizer, described["start"])


def load_pair_tokenizer(name: str, cache: Path) -> PretrainedPairTokenizer:
    """The tokenizer of a checkpoint of an encoder-decoder model.

    Raises:
        UserError: there is no such checkpoint, or it does not say what its decoder starts with.
    """
    folder = find_pretrained(name, cache).folder
    tokenizer = load_pretrained_tokenizer(name, cache)
    described: dict[str, Any] = {}
    for file in ("config.json", "generation_config.json"):
        if (folder / file).is_file():
            content = require(read_json(folder / file), {}, folder / file)
            described |= {k: v for k, v in content.items() if v is not None}
    start = described.get("decoder_start_token_id")
    if not isinstance(start, int):
        raise UserError(
            f"{name} does not say what its decoder starts with (decoder_start_token_id)",
            "Give the checkpoint of an encoder-decoder model (T5, BART and the like).",
        )
    return PretrainedPairTokenizer(tokenizer, start)
