"""The vocabulary of a translation model in a checkpoint's folder.

``vocabulary.json`` says how the rest is to be read; the tokenizers lie beside it, one file if both
sides share it: ``tokenizer.json``, or else ``source_tokenizer.json`` and ``target_tokenizer.json``.
The file names are fixed, so no stored path is ever followed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from scratchlab.config.reading import read_json, require
from scratchlab.data.tokenizers.pair_words import FORMAT, Tokenizer, read_tokenizer
from scratchlab.errors import UserError
from scratchlab.run.atomic import write_text

INDEX = "vocabulary.json"
INDEX_SCHEMA = {"format": "int", "shared": "bool", "max_length": "int"}
MOST_TOKENS = 2**24
SHARED = ("tokenizer.json",)
SEPARATE = ("source_tokenizer.json", "target_tokenizer.json")


@dataclass(frozen=True)
class StoredVocabulary:
    """Both tokenizers (the same object if shared), the longest input, and a hash of it all."""

    source: Tokenizer
    target: Tokenizer
    max_length: int
    sha256: str


def write_vocabulary(folder: Path, source: Tokenizer, target: Tokenizer, max_length: int) -> None:
    """Write the files of a vocabulary."""
    shared = source is target
    names, tokenizers = (SHARED, (source,)) if shared else (SEPARATE, (source, target))
    for name, tokenizer in zip(names, tokenizers, strict=True):
        write_text(folder / name, json.dumps(tokenizer.to_json(), ensure_ascii=False, indent=0))
    index = {"format": FORMAT, "shared": shared, "max_length": max_length}
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
    if index["format"] != FORMAT or not 2 <= max_length <= MOST_TOKENS:
        raise UserError(f"{path} is not a vocabulary index of format {FORMAT}")
    names = SHARED if shared else SEPARATE
    tokenizers = [read_tokenizer(folder / name) for name in names]
    digest = hashlib.sha256()
    for name in (INDEX, *names):
        digest.update((folder / name).read_bytes())
    return StoredVocabulary(tokenizers[0], tokenizers[-1], max_length, digest.hexdigest())
