"""The form in which prepared sentence pairs lie in the cache: plain arrays with names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchlab.data.batching.cache import Arrays, pack_text, unpack_text
from scratchlab.data.batching.plans import Ragged


@dataclass
class Split:
    """One split: texts as read, and ids without any special token but ``<unk>``."""

    sources: list[str]
    references: list[str]
    source: Ragged
    target: Ragged

    def joined(self, other: Split) -> Split:
        """The pairs of both, those of ``other`` behind."""
        return Split(
            self.sources + other.sources,
            self.references + other.references,
            self.source.joined(other.source),
            self.target.joined(other.target),
        )


def pack_split(
    name: str,
    sources: list[str],
    references: list[str],
    encoded: list[tuple[list[int], list[int]]],
) -> Arrays:
    """Arrays of one split; ``encoded`` are the ids of its sources and targets."""
    source, target = Ragged.of([e[0] for e in encoded]), Ragged.of([e[1] for e in encoded])
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
    texts, ids = [], []
    for side in ("source", "target"):
        key = f"{name}.{side}"
        texts.append(unpack_text(arrays[f"{key}.text"], arrays[f"{key}.text_offsets"]))
        ids.append(Ragged(arrays[f"{key}.ids"], arrays[f"{key}.offsets"]))
    return Split(texts[0], texts[1], ids[0], ids[1])


def json_array(value: Any) -> Any:
    """A JSON value as an array of its UTF-8 bytes."""
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), dtype=np.uint8)


def read_json(arrays: Arrays, key: str) -> Any:
    """The value that :func:`json_array` stored under ``key``."""
    return json.loads(arrays[key].tobytes())
