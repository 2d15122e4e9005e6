"""Splitting sentence pairs so that no source sentence is on both sides of a border."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from scratchlab.data.sources import Pair, Splits
from scratchlab.errors import UserError

_NO_LETTER = re.compile(r"[\W_]+")


def source_key(sentence: str) -> str:
    """What must not be shared by two splits: the sentence without case, spaces and punctuation."""
    return _NO_LETTER.sub(" ", sentence.casefold()).strip() or sentence


def split_by_source(pairs: list[Pair], sizes: Mapping[str, int], seed: int) -> tuple[Splits, str]:
    """Split off ``sizes`` source sentences for each named split; "train" gets all other pairs.

    Sentences are drawn in the order of a hash of (seed, sentence), so a sentence's place does not
    depend on the order of the file. A split that was split off keeps the first pair of each of its
    sentences, and takes at most a tenth of all sentences. Pairs keep their order.

    Returns the splits and a note that says what was done.
    """
    keys = [source_key(source) for source, _ in pairs]
    distinct = sorted(set(keys), key=lambda k: hashlib.sha256(f"{seed} {k}".encode()).digest())
    home: dict[str, str] = {}
    first = 0
    for split, size in sizes.items():
        last = first + min(size, len(distinct) // 10)
        if last == first:
            raise UserError(
                f"{len(distinct)} different sentences are too few to split off {split!r}",
                f"Give files for it (dataset.{split}_source, …_target), or more data.",
            )
        home |= dict.fromkeys(distinct[first:last], split)
        first = last
    splits: Splits = {split: [] for split in ("train", *sizes)}
    taken: set[str] = set()
    for key, pair in zip(keys, pairs, strict=True):
        split = home.get(key, "train")
        if split == "train":
            splits[split].append(pair)
        elif key not in taken:
            taken.add(key)
            splits[split].append(pair)
    left_out = len(pairs) - sum(map(len, splits.values()))
    parts = ", ".join(f"{len(p)} {split}" for split, p in splits.items())
    note = f"split by source sentence (seed {seed}): {parts} pairs"
    if left_out:
        note += f"; {left_out} further translations of held-out sentences left out"
    return splits, note
