"""The form in which prepared sentence pairs lie in the cache: plain arrays with names."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchlab.data.batching.cache import Arrays, pack_text, unpack_text
from scratchlab.data.batching.plans import Ragged


@dataclass
class Split:
    """One split: ids without any special token but ``<unk>``, and what reads the texts."""

    source: Ragged
    target: Ragged
    read: Callable[[], tuple[list[str], list[str]]]

    @functools.cached_property
    def _texts(self) -> tuple[list[str], list[str]]:
        return self.read()

    @property
    def sources(self) -> list[str]:
        """The source texts, as read; no strings are made of them before they are asked for."""
        return self._texts[0]

    @property
    def references(self) -> list[str]:
        """The target texts."""
        return self._texts[1]

    def joined(self, other: Split) -> Split:
        """The pairs of both, those of ``other`` behind."""

        def read() -> tuple[list[str], list[str]]:
            return self.sources + other.sources, self.references + other.references

        return Split(self.source.joined(other.source), self.target.joined(other.target), read)


def pack_split(
    name: str, sources: list[str], references: list[str], source: Ragged, target: Ragged
) -> Arrays:
    """Arrays of one split: its texts and their ids."""
    arrays: Arrays = {
        f"{name}.source.ids": source.values,
        f"{name}.source.offsets": source.offsets,
        f"{name}.target.ids": target.values,
        f"{name}.target.offsets": target.offsets,
    }
    for side, texts in (("source", sources), ("target", references)):
        content, offsets = pack_text(texts)
        arrays |= {f"{name}.{side}.text": content, f"{name}.{side}.text_offsets": offsets}
    return arrays


def unpack_split(arrays: Arrays, name: str) -> Split:
    """The split that :func:`pack_split` packed."""

    def texts(side: str) -> list[str]:
        key = f"{name}.{side}.text"
        return unpack_text(arrays[key], arrays[f"{key}_offsets"])

    source, target = (
        Ragged(arrays[f"{name}.{side}.ids"], arrays[f"{name}.{side}.offsets"])
        for side in ("source", "target")
    )
    return Split(source, target, lambda: (texts("source"), texts("target")))


def json_array(value: Any) -> Any:
    """A JSON value as an array of its UTF-8 bytes."""
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), dtype=np.uint8)


def read_json(arrays: Arrays, key: str) -> Any:
    """The value that :func:`json_array` stored under ``key``."""
    return json.loads(arrays[key].tobytes())
