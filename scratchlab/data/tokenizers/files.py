"""Tokenizers in a checkpoint's folder: JSON, data only; opening a stranger's runs nothing.

A language model or a classifier of texts has one in ``text_tokenizer.json``. A translation model
has ``vocabulary.json``, which says how the rest is to be read, and beside it ``tokenizer.json`` if
both sides share it, or else ``source_tokenizer.json`` and ``target_tokenizer.json``. The names are
fixed, so no stored path is ever followed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.reading import read_json, require
from scratchlab.data.tokenizers.contract import FORMAT, Tokenizer
from scratchlab.data.tokenizers.learned import (
    MARKS,
    MASKED_CHARACTERS,
    RUNNING,
    UNKNOWN,
    Characters,
    Pieces,
    Words,
)
from scratchlab.data.tokenizers.pretrained import PretrainedTokenizer
from scratchlab.data.tokenizers.words import OLD_PATTERN, PATTERN
from scratchlab.errors import UserError, shortened
from scratchlab.run.atomic import write_text

FILE = "text_tokenizer.json"
INDEX = "vocabulary.json"
INDEX_FORMAT = 1
INDEX_SCHEMA = {"format": "int", "shared": "bool", "max_length": "int"}
MOST_TOKENS = 2**24
SHARED = ("tokenizer.json",)
SEPARATE = ("source_tokenizer.json", "target_tokenizer.json")
LEARNED: dict[str, Callable[..., Tokenizer]] = {
    "char": Characters,
    "word": Words,
    "whitespace": Words,
    "bpe": Pieces,
}


def from_json(stored: Any, where: str) -> Tokenizer:
    """The tokenizer that ``to_json`` described.

    Raises:
        UserError: ``stored`` (found at ``where``) is no description of a tokenizer.
    """
    try:
        if stored["format"] not in (1, FORMAT):
            known = f"only 1 and {FORMAT} are"
            raise UserError(f"format {shortened(stored['format'])} is not known, {known}")
        found = _of_format_1(stored) if stored["format"] == 1 else stored
        if found["kind"] == "pretrained":
            return PretrainedTokenizer.from_json(found)
        return _learned(found)
    except UserError as error:
        raise UserError(f"{where}: {error.message.removeprefix(f'{where}: ')}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where}: not a tokenizer ({shortened(error)})") from error


def _learned(found: Mapping[str, Any]) -> Tokenizer:
    kind, tokens, special = found["kind"], found["tokens"], tuple(found["special"])
    if kind not in LEARNED or not all(isinstance(t, str) for t in (*tokens, *special)):
        raise ValueError(f"unknown kind {kind!r} or tokens that are no text")
    if kind != "char" and UNKNOWN not in special:
        raise ValueError(f"no {UNKNOWN} among the special tokens")
    options: dict[str, Any] = {
        "special": special, "lines": bool(found["lines"]), "mask": bool(found["mask"]),
    }  # fmt: skip
    if kind != "char":
        pattern = found.get("pattern", OLD_PATTERN)  # none: of before they had numbers
        if isinstance(pattern, bool) or pattern not in (OLD_PATTERN, PATTERN):
            raise ValueError(f"unknown pattern {pattern!r}")
        options["pattern"] = int(pattern)
    if kind == "bpe":
        options["merges"] = [(a, b) for a, b in found["merges"]]
    elif kind != "char":
        options["kind"] = kind
    return LEARNED[kind](tokens, **options)


def _of_format_1(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What format 1, which had forms of its own for pairs and for running text, says in this one:
    the ids of older checkpoints stay what they are."""
    kind = stored["kind"]
    if kind == "pretrained":
        inner = stored.get("inner")
        return dict(stored) if inner is None else {**inner, "start": stored["start"]}
    if kind not in LEARNED:
        raise ValueError(f"unknown kind {kind!r}")
    found = {"kind": kind, "special": MARKS, "lines": False, "mask": False}
    if "tokens" in stored:  # of pairs
        return {**stored, **found}
    found |= {"lines": True, "special": RUNNING[kind]}
    if kind == "char":
        special = MASKED_CHARACTERS if stored["with_mask"] else ()
        return {**found, "special": special, "tokens": stored["characters"]}
    if kind == "bpe":
        inner = stored["tokenizer"]
        if inner["kind"] != "bpe":
            raise ValueError(f"pieces of kind {inner['kind']!r}")
        return {**inner, **found, "mask": stored.get("with_mask", False)}
    return {**stored, **found, "tokens": stored["words"]}


def write_tokenizer(path: Path, tokenizer: Tokenizer) -> None:
    """Write one tokenizer."""
    write_text(path, json.dumps(tokenizer.to_json(), ensure_ascii=False, indent=0))


def write_text_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Put the tokenizer of a language model or a classifier into a checkpoint's folder."""
    write_tokenizer(folder / FILE, tokenizer)


def read_text_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint's folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        raise UserError(
            f"{path} is missing: the checkpoint belongs to no language model, or to one of another "
            "tokenizer"
        )
    return from_json(read_json(path), str(path))


@dataclass(frozen=True)
class StoredVocabulary:
    """Both tokenizers (the same object if shared), the longest input, and a hash of it all."""

    source: Tokenizer
    target: Tokenizer
    max_length: int
    sha256: str


def write_vocabulary(folder: Path, source: Tokenizer, target: Tokenizer, max_length: int) -> None:
    """Write the files of a vocabulary of pairs."""
    shared = source is target
    names, tokenizers = (SHARED, (source,)) if shared else (SEPARATE, (source, target))
    for name, tokenizer in zip(names, tokenizers, strict=True):
        write_tokenizer(folder / name, tokenizer)
    index = {"format": INDEX_FORMAT, "shared": shared, "max_length": max_length}
    write_text(folder / INDEX, json.dumps(index, indent=2) + "\n")


def read_vocabulary(folder: Path) -> StoredVocabulary:
    """Read what :func:`write_vocabulary` wrote.

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    path = folder / INDEX
    if not path.exists():
        raise UserError(f"{path} is missing, so the model's vocabulary is not known")
    index = require(read_json(path), INDEX_SCHEMA, path)
    shared, max_length = index["shared"], index["max_length"]
    if index["format"] != INDEX_FORMAT or not 2 <= max_length <= MOST_TOKENS:
        raise UserError(f"{path} is not a vocabulary index of format {INDEX_FORMAT}")
    names = SHARED if shared else SEPARATE
    tokenizers = [from_json(read_json(folder / name), str(folder / name)) for name in names]
    for tokenizer in tokenizers:
        _ = tokenizer.frame  # a UserError: it belongs to no translation model
    digest = hashlib.sha256()
    for name in (INDEX, *names):
        digest.update((folder / name).read_bytes())
    return StoredVocabulary(tokenizers[0], tokenizers[-1], max_length, digest.hexdigest())
