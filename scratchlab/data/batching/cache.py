"""Prepared data kept on disk under the hash of everything that it was made from.

An entry is one ``.npz`` file of plain arrays (never a pickle). It is written to a temporary name,
flushed and renamed, so that readers see a whole entry or none and two writers of the same entry do
not meet. Every array is read at once, which checks the CRC of each: a damaged entry is noticed and
made again. A cache that cannot be written only costs time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.run.atomic import replacing
from scratchlab.run.temporary import sweep

Arrays = dict[str, NDArray[Any]]

log = logging.getLogger(__name__)

# Raise it whenever the code prepares something else from the same input, for any data set.
PREPARATION = 5
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def content_key(**parts: Any) -> str:
    """A short name for what is prepared from ``parts`` (JSON values); the same for the same.

    ``parts`` must tell which split each hash belongs to, in the order in which files are read, and
    all options but those that are known to change nothing. What this code and its libraries make of
    them belongs to the name too.
    """
    whole = {"preparation": PREPARATION, "made_with": _made_with(), "parts": parts}
    text = json.dumps(whole, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@functools.cache
def _made_with() -> dict[str, str]:
    """Versions of what decides on words, characters and merges."""
    versions = {"unicode": unicodedata.unidata_version}
    for package in ("tokenizers", "regex"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def cached(folder: Path, name: str, key: str, build: Callable[[], Arrays]) -> Arrays:
    """The arrays of an entry, from disk if they are there and whole, else built and kept."""
    path = folder / f"{name}-{key}.npz"
    sweep(folder)
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {k: stored[k] for k in stored.files}
        except DAMAGED as error:
            log.warning("%s is damaged (%s); it is built again", path, error)
    arrays = build()
    try:
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    except (OSError, UserError) as error:
        reason = error.message if isinstance(error, UserError) else error
        log.warning("prepared data is not kept: %s", reason)
    return arrays


def pack_text(texts: Iterable[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Strings as one array of UTF-8 bytes and the offsets [n + 1] of each."""
    encoded = [t.encode() for t in texts]
    return (
        np.frombuffer(b"".join(encoded), dtype=np.uint8),
        offsets_of([len(e) for e in encoded]),
    )


def unpack_text(content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> list[str]:
    """The strings that :func:`pack_text` packed."""
    stored, bounds = content.tobytes(), offsets.tolist()
    return [stored[a:b].decode() for a, b in pairwise(bounds)]


def offsets_of(lengths: Any) -> NDArray[np.int64]:
    """Offsets [n + 1] of consecutive pieces of the given lengths [n]."""
    result = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=result[1:])
    return result
