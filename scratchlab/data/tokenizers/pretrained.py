"""The tokenizer of a pretrained checkpoint, as data: its ``tokenizer.json`` and a few ids."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.reading import read_json, read_text, require
from scratchlab.data.sources.pretrained_files import find_pretrained
from scratchlab.data.tokenizers.chat_templates import render
from scratchlab.data.tokenizers.contract import FORMAT, Ids, Tokenizer
from scratchlab.errors import MissingPackageError, UserError, shortened

TEMPLATE_BYTES = 2**20
STORED_SCHEMA = {
    "special": "dict[str, str]",
    "template": "str | None",
    "origin": "str",
    "tokenizer": "dict[str, Any]",
    "start?": "int | None",
}
SPECIAL_SCHEMA: dict[str, str] = {}  # of a library's file: what is used of it is checked below
SPACES = ("\u2581", "\u0120")  # the space before a word, in SentencePiece's tokens and in GPT-2's
CHARACTERS_AT_ONCE = 8 << 20  # 200 MB
SPECIAL = (
    *("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token"),
)


class PretrainedTokenizer(Tokenizer):
    """A tokenizer of the ``tokenizers`` library with its special ids and its chat template.

    ``special`` maps the names of special tokens (``eos_token`` …) to their text. ``start`` is the
    id that the decoder of an encoder-decoder begins with: its texts are framed as it was trained,
    with what the checkpoint puts before one (``<s>`` in BART's) among the ids of a text, the end
    put on by the data set, and no special token read in a text. Without ``start`` special tokens in
    a text are read as such, since a chat template writes them.
    """

    kind = "pretrained"
    unit = "token"

    def __init__(
        self,
        stored: str,
        special: dict[str, str],
        template: str | None,
        origin: str,
        start: int | None = None,
    ) -> None:
        from tokenizers import Tokenizer as Library

        self.inner: Any = Library.from_str(stored)
        self.inner.no_truncation()
        self.inner.no_padding()
        self.stored, self.special, self.template = stored, special, template
        self.origin, self.start = origin, start
        size = self.inner.get_vocab_size(with_added_tokens=True)
        self.tokens = [self.inner.id_to_token(i) or "" for i in range(size)]
        self.eos_id = self._id("eos_token") if "eos_token" in special else self._id("sep_token")
        self.sos_id = self._id("bos_token")
        self.cls_id, self.sep_id = self._id("cls_token"), self._id("sep_token")
        self.unk_id, self.mask_id = self._id("unk_token"), self._id("mask_token")
        if self.unk_id in (self.eos_id, self.sos_id):
            self.unk_id = None
        pad = self._id("pad_token")
        self.pad_id = self.eos_id if pad is None else pad
        self.prefix: list[int] = []
        if start is not None:
            if not 0 <= start < size:
                raise UserError(f"the tokenizer: start: {start} is no token of it")
            self.sos_id = start
            self.inner.encode_special_tokens = True  # a text that reads </s> is no end of a text
            framed = self.inner.encode("", add_special_tokens=True).ids
            self.prefix = [i for i in framed if i != self.frame[2]]

    def _id(self, name: str) -> int | None:
        token = self.special.get(name)
        return None if token is None else self.inner.token_to_id(token)

    def encode(self, text: str, where: str = "the text") -> list[int]:
        return [*self.prefix, *self.inner.encode(text, add_special_tokens=False).ids]

    def encode_each(self, texts: Iterable[str], where: str = "the text") -> Iterator[Ids]:
        """Many texts at once, in the library's threads (a long text takes one of them)."""
        threads = int(os.environ.get("RAYON_NUM_THREADS") or os.cpu_count() or 1)
        most = min(CHARACTERS_AT_ONCE, threads << 20)
        for some in _at_once(texts, most):
            for encoding in self.inner.encode_batch_fast(some, add_special_tokens=False):
                yield np.array([*self.prefix, *encoding.ids], dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        known = [i for i in ids if i < len(self)]  # a model may have more rows than there are
        text = str(self.inner.decode(known, skip_special_tokens=True))
        return text if self.start is None else text.strip()

    def word_starts(self) -> NDArray[np.bool_] | None:
        """WordPiece marks the pieces that go on with a word, others those that begin one."""
        if any(token.startswith("##") for token in self.tokens):
            return np.array([not token.startswith("##") for token in self.tokens])
        if any(token.startswith(SPACES) for token in self.tokens):
            return np.array([token.startswith(SPACES) for token in self.tokens])
        return None

    def labels(self, ids: Iterable[int]) -> list[str]:
        shown = []
        for i in ids:
            token = self.tokens[i] if i < len(self) else f"<{i}>"
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
            "start": self.start,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> PretrainedTokenizer:
        """What ``to_json`` described."""
        found = require(stored, STORED_SCHEMA, "the tokenizer")
        inner = json.dumps(found["tokenizer"], ensure_ascii=False)
        try:
            described = (found["special"], found["template"], found["origin"], found.get("start"))
            return cls(inner, *described)
        except UserError:
            raise
        except Exception as error:  # the library raises plain exceptions
            raise UserError(f"the tokenizer cannot be read: {shortened(str(error))}") from error


def _at_once(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size >= characters:
            yield some
            some, size = [], 0
    if some:
        yield some


def load_pretrained_tokenizer(
    name: str, cache: Path, *, decoder: bool = False
) -> PretrainedTokenizer:
    """The tokenizer of a checkpoint (see :mod:`scratchlab.data.sources.pretrained_files`).

    Files of other forms than ``tokenizer.json`` are converted by transformers. ``decoder``: for
    both sides of a pair, as the checkpoint of an encoder-decoder reads and writes them.

    Raises:
        UserError: there is no such checkpoint, or it does not say what its decoder starts with.
    """
    folder = find_pretrained(name, cache).folder
    described = _described(folder, ("special_tokens_map.json", "tokenizer_config.json"))
    start = None
    if decoder:
        settings = _described(folder, ("config.json", "generation_config.json"))
        start = settings.get("decoder_start_token_id")
        if not isinstance(start, int):
            raise UserError(
                f"{name} does not say what its decoder starts with (decoder_start_token_id)",
                "Give the checkpoint of an encoder-decoder model (T5, BART and the like).",
            )
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
            stored, special, template if isinstance(template, str) else None, name, start
        )
    except UserError:
        raise
    except Exception as error:  # the library raises plain exceptions
        raise UserError(f"the tokenizer of {name} cannot be read: {error}") from error


def _described(folder: Path, files: tuple[str, ...]) -> dict[str, Any]:
    """What JSON files of a checkpoint say together, those that are there."""
    found: dict[str, Any] = {}
    for file in files:
        if (folder / file).is_file():
            content = require(read_json(folder / file), SPECIAL_SCHEMA, folder / file)
            found |= {k: v for k, v in content.items() if v is not None}
    return found


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
