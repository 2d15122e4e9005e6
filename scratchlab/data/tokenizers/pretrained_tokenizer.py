"""The tokenizer of a pretrained checkpoint, as data: its ``tokenizer.json`` and a few ids."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from scratchlab.config.reading import read_json, read_text, require
from scratchlab.data.sources.pretrained_files import find_pretrained
from scratchlab.data.tokenizers.chat_templates import render
from scratchlab.data.tokenizers.text_tokenizers import Ids, TextTokenizer
from scratchlab.errors import MissingPackageError, UserError, shortened

FORMAT = 1
TEMPLATE_BYTES = 2**20
STORED_SCHEMA = {
    "special": "dict[str, str]",
    "template": "str | None",
    "origin": "str",
    "tokenizer": "dict[str, Any]",
}
SPECIAL_SCHEMA: dict[str, str] = {}  # of a library's file: what is used of it is checked below
TEXTS_AT_ONCE = 8  # of a million characters each: 200 MB
SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token")


class PretrainedTokenizer(TextTokenizer):
    """A tokenizer of the ``tokenizers`` library with its special ids and its chat template.

    ``special`` maps the names of special tokens (``eos_token`` …) to their text. Special tokens
    that stand in a text are read as such only by :meth:`encode_chat`.
    """

    kind = "pretrained"
    unit: ClassVar[str] = "token"

    def __init__(
        self, stored: str, special: dict[str, str], template: str | None, origin: str
    ) -> None:
        from tokenizers import Tokenizer

        self.inner: Any = Tokenizer.from_str(stored)
        self.inner.no_truncation()
        self.inner.no_padding()
        self.stored, self.special, self.template = stored, special, template
        self.origin = origin
        size = self.inner.get_vocab_size(with_added_tokens=True)
        self.tokens = [self.inner.id_to_token(i) or "" for i in range(size)]
        self.eos_id = self._id("eos_token") if "eos_token" in special else self._id("sep_token")
        self.sos_id = self._id("bos_token")
        self.cls_id, self.sep_id = self._id("cls_token"), self._id("sep_token")
        self.unk_id = self._id("unk_token")
        if self.unk_id in (self.eos_id, self.sos_id):
            self.unk_id = None
        pad = self._id("pad_token")
        self.pad_id = self.eos_id if pad is None else pad

    def _id(self, name: str) -> int | None:
        token = self.special.get(name)
        return None if token is None else self.inner.token_to_id(token)

    @property
    def line_end_id(self) -> int | None:
        return None

    def encode(self, text: str, where: str = "the text") -> Ids:
        found = self.inner.encode(text, add_special_tokens=False).ids
        return np.array(found, dtype=np.int64)

    def encode_each(self, texts: Iterable[str], where: str = "the text") -> Iterator[Ids]:
        """As many texts at once as the library has threads (a long text takes one of them)."""
        threads = int(os.environ.get("RAYON_NUM_THREADS") or os.cpu_count() or 1)
        texts = iter(texts)
        while some := list(islice(texts, min(threads, TEXTS_AT_ONCE))):
            for encoding in self.inner.encode_batch_fast(some, add_special_tokens=False):
                yield np.array(encoding.ids, dtype=np.int64)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts at once, without special tokens."""
        return [e.ids for e in self.inner.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.inner.decode(list(ids), skip_special_tokens=True))

    def labels(self, ids: Iterable[int]) -> list[str]:
        shown = []
        for i in ids:
            token = self.tokens[i]
            text = str(self.inner.decode([i], skip_special_tokens=False))
            shown.append((text if text and "�" not in text else token).replace("\n", "⏎"))
        return [s if s.strip() else s.replace(" ", "␣") for s in shown]

    def chat(self, messages: Sequence[dict[str, str]], *, prompt: bool) -> str:
        """A conversation as the checkpoint's template writes it; ``prompt`` opens an answer.

        Rendered in a sandbox within limits. Without a template: ``role: content`` lines.
        """
        if self.template is None:
            lines = [f"{m['role']}: {m['content']}\n" for m in messages]
            return "".join(lines) + ("assistant:" if prompt else "")
        special = {k: v for k, v in self.special.items() if v}
        values = {"messages": list(messages), "add_generation_prompt": prompt}
        return render(self.template, **values, **special)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "special": self.special,
            "template": self.template,
            "origin": self.origin,
            "tokenizer": json.loads(self.stored),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> PretrainedTokenizer:
        """What ``to_json`` described."""
        found = require(stored, STORED_SCHEMA, "the tokenizer")
        inner = json.dumps(found["tokenizer"], ensure_ascii=False)
        try:
            return cls(inner, found["special"], found["template"], found["origin"])
        except Exception as error:  # the library raises plain exceptions
            raise UserError(f"the tokenizer cannot be read: {shortened(str(error))}") from error


def load_pretrained_tokenizer(name: str, cache: Path) -> PretrainedTokenizer:
    """The tokenizer of a checkpoint (see :mod:`scratchlab.data.sources.pretrained_files`).

    Files of other forms than ``tokenizer.json`` are converted by transformers.
    """
    folder = find_pretrained(name, cache).folder
    described: dict[str, Any] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / file).is_file():
            described |= require(read_json(folder / file), SPECIAL_SCHEMA, folder / file)
    template = described.get("chat_template")
    if (folder / "chat_template.jinja").is_file():
        template = read_text(folder / "chat_template.jinja", TEMPLATE_BYTES)
    special = {n: _text(described[n], n, name) for n in SPECIAL if described.get(n)}
    path = folder / "tokenizer.json"
    if path.is_file():
        stored = read_text(path)
    else:
        stored, found = _converted(folder)
        special = found | special
    try:
        return PretrainedTokenizer(
            stored, special, template if isinstance(template, str) else None, name
        )
    except Exception as error:  # the library raises plain exceptions
        raise UserError(f"the tokenizer of {name} cannot be read: {error}") from error


def _converted(folder: Path) -> tuple[str, dict[str, str]]:
    if importlib.util.find_spec("transformers") is None:
        raise MissingPackageError("transformers", f"the tokenizer of {folder}", "pretrained")
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        special = {n: str(t) for n in SPECIAL if (t := getattr(tokenizer, n, None))}
        return tokenizer.backend_tokenizer.to_str(), special
    except Exception as error:  # the library raises whatever is missing
        raise UserError(f"{folder} holds no tokenizer that can be read: {error}") from error


def _text(token: Any, name: str, checkpoint: str) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise UserError(f"the tokenizer of {checkpoint}: {name}: {shortened(token)} is no token")
    return text
