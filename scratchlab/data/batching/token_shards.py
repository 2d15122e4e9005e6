"""Ids of a corpus on disk: ``.npy`` files of 16 or 32 bit that are mapped into memory, not read.

A prepared corpus is a folder in the cache, named after the hash of everything that it was made
from. It is written under a temporary name and renamed when it is complete. Its ``index.json`` tells
the splits, their files and the number of ids in each; a folder whose files do not fit its index is
made again. Neither writing nor reading ever holds more than one file's worth of ids.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.config.reading import read_json, require
from scratchlab.errors import UserError
from scratchlab.run.atomic import flush_folder
from scratchlab.run.temporary import sweep, temporary_name, use_own_folder

log = logging.getLogger(__name__)

INDEX = "index.json"
SHARD_TOKENS = 1 << 25


def id_type(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest type that holds all ids."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def write_shards(
    folder: Path,
    split: str,
    ids: Iterable[NDArray[Any]],
    vocab_size: int,
    shard_tokens: int = SHARD_TOKENS,
) -> list[dict[str, Any]]:
    """Write arrays of ids, one after the other, as files of ``shard_tokens`` ids.

    Returns the name and the number of ids of each file; only one file's ids are in memory.
    """
    dtype = id_type(vocab_size)
    files: list[dict[str, Any]] = []
    held: list[NDArray[Any]] = []
    count = 0

    def flush(last: bool) -> None:
        nonlocal held, count
        joined = np.concatenate(held) if held else np.zeros(0, dtype)
        first = 0
        while len(joined) - first >= shard_tokens or (last and first < len(joined)):
            part = joined[first : first + shard_tokens]
            name = f"{split}-{len(files):05d}.npy"
            with (folder / name).open("xb") as file:
                np.save(file, part, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            files.append({"name": name, "tokens": len(part)})
            first += len(part)
        held = [joined[first:].copy()]
        count = len(held[0])

    for array in ids:
        held.append(array.astype(dtype))
        count += len(array)
        if count >= shard_tokens:
            flush(last=False)
    flush(last=True)
    return files


class Shards:
    """The ids of one split as if they were one array [n]; files are mapped, not read."""

    def __init__(self, arrays: list[NDArray[Any]]) -> None:
        self.arrays = arrays
        self.ends = list(accumulate(len(a) for a in arrays))

    @classmethod
    def open(cls, folder: Path, files: list[dict[str, Any]]) -> Shards:
        """Map the files that ``write_shards`` made; ValueError if one is not what it was."""
        arrays = []
        for number, given in enumerate(files):
            entry = require(given, {"name": "str", "tokens": "int"}, INDEX, (str(number),))
            array = np.load(folder / entry["name"], mmap_mode="r", allow_pickle=False)
            if array.shape != (entry["tokens"],) or array.dtype not in (np.uint16, np.uint32):
                raise ValueError(f"{entry['name']} holds {array.shape} {array.dtype}")
            arrays.append(array)
        return cls(arrays)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def slice(self, first: int, last: int) -> NDArray[np.int64]:
        """Ids ``first`` to ``last`` (exclusive; both within the split) as a new int64 array."""
        parts = []
        shard = bisect_right(self.ends, first)
        while first < last:
            start = self.ends[shard] - len(self.arrays[shard])
            part = self.arrays[shard][first - start : last - start]
            parts.append(part)
            first += len(part)
            shard += 1
        if not parts:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate(parts).astype(np.int64)

    def take(self, starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """[len(starts), length]: the ids from each start on."""
        if len(self.arrays) == 1:
            return self.arrays[0][starts[:, None] + np.arange(length)].astype(np.int64)
        return np.stack([self.slice(s, s + length) for s in starts.tolist()])

    def all(self) -> NDArray[np.int64]:
        """Every id, in memory (for models that count, and for evaluations)."""
        return self.slice(0, len(self))


@dataclass
class PreparedCorpus:
    """A prepared corpus: its ids by split, and what its builder wrote down beside them."""

    folder: Path
    splits: dict[str, Shards]
    facts: dict[str, Any] = field(default_factory=dict)


def prepared(
    cache: Path, name: str, key: str, build: Callable[[Path], dict[str, Any]]
) -> PreparedCorpus:
    """The prepared corpus ``name-key`` of the cache, made by ``build`` if missing or damaged.

    ``build(folder)`` writes the shards and returns ``{"splits": {split: files}, **facts}`` (JSON).
    Where the cache cannot be written, the corpus lives in a temporary folder while it is used.
    """
    folder = cache / f"{name}-{key}"
    sweep(cache)
    if folder.is_dir():
        try:
            return _open(folder)
        except (OSError, EOFError, ValueError, UserError) as error:
            log.warning("%s is damaged (%s); it is made again", folder, error)
            shutil.rmtree(folder, ignore_errors=True)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        temporary = cache / temporary_name(f".{name}-{key}")
        temporary.mkdir()
    except OSError as error:
        log.warning("prepared data is not kept: %s cannot be written (%s)", cache, error.strerror)
        temporary = Path(tempfile.mkdtemp(dir=use_own_folder()))
        _write(temporary, build)
        corpus = _open(temporary)
        weakref.finalize(corpus, shutil.rmtree, temporary, ignore_errors=True)
        return corpus
    try:
        _write(temporary, build)
        try:
            temporary.rename(folder)
        except OSError:  # another process was faster, and what it wrote is the same
            if not folder.is_dir():
                raise
        flush_folder(cache)
    except OSError as error:
        raise UserError(
            f"{cache}: prepared data cannot be written ({error.strerror})",
            "Make room, or name another folder with cache_dir=….",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _open(folder)


def _write(folder: Path, build: Callable[[Path], dict[str, Any]]) -> None:
    text = json.dumps(build(folder), ensure_ascii=False)
    with (folder / INDEX).open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _open(folder: Path) -> PreparedCorpus:
    facts = require(read_json(folder / INDEX), {"splits": {}}, folder / INDEX)
    opened: dict[str, Shards] = {}  # two splits of the same files are the same
    splits = {}
    for name, files in facts.pop("splits").items():
        if not isinstance(files, list):
            raise UserError(f"{folder / INDEX}: splits.{name} is no list of files")
        splits[name] = opened.setdefault(str(files), Shards.open(folder, files))
    return PreparedCorpus(folder, splits, facts)
