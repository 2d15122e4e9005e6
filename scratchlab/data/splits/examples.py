"""Splitting examples so that no content, and no near copy of one, is on both sides of a border."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from scratchlab.data.sources.locating import Pair, Splits
from scratchlab.errors import UserError
from scratchlab.random_streams import SPLIT_STREAM, generator

RUN = 13  # words in a row that two texts hardly share by chance (Brown et al., 2020, appendix C)
NEAR = 0.25  # share of the shorter text's runs by which two texts are near copies
COMMON = 100  # a run in more texts than this is a set phrase and joins none of them
_NO_LETTER = re.compile(r"[\W_]+")
_WORD = re.compile(r"\w+")


def text_key(text: str) -> str:
    """What must not be shared by two splits: the text without case, spaces and punctuation."""
    return _NO_LETTER.sub(" ", text.casefold()).strip() or text


def runs(text: str, length: int = RUN) -> set[int]:
    """Every run of 13 (``length``) words of a text; of a shorter text, the whole."""
    words = _WORD.findall(text.casefold())
    return {hash(tuple(words[i : i + length])) for i in range(max(1, len(words) - length + 1))}


def near_copies(texts: Sequence[str], length: int = RUN, near: float = NEAR) -> list[int]:
    """A number for each text, the same for those that are joined by near copies: texts that share
    ``near`` of the shorter one's runs of ``length`` words (containment of shingles, Broder 1997).
    """
    found = [runs(text, length) for text in texts]
    holders: dict[int, list[int]] = defaultdict(list)
    for number, of_text in enumerate(found):
        for run in of_text:
            holders[run].append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for numbers in holders.values():
        if len(numbers) <= COMMON:
            shared.update((a, b) for i, b in enumerate(numbers) for a in numbers[:i])
    group = list(range(len(texts)))

    def first(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    for (a, b), count in shared.items():
        if count >= near * min(len(found[a]), len(found[b])):
            one, other = sorted((first(a), first(b)))
            group[other] = one
    return [first(number) for number in range(len(texts))]


def together(
    keys: Sequence[Hashable], drawn: Sequence[str], classes: Sequence[Hashable] | None = None
) -> list[str]:
    """The split of each example after all with one key followed the first of them.

    ``drawn`` are the splits as chance drew them, example by example: without copies they stay. A
    class that would have no example in "train" goes there whole.
    """
    home: dict[Hashable, str] = {}
    splits = [home.setdefault(key, split) for key, split in zip(keys, drawn, strict=True)]
    if classes is None:
        return splits
    learnt = {c for c, split in zip(classes, splits, strict=True) if split == "train"}
    back = {k for k, c in zip(keys, classes, strict=True) if c not in learnt}
    return ["train" if k in back else s for k, s in zip(keys, splits, strict=True)]


def split_off(
    keys: Sequence[Hashable],
    shares: Mapping[str, float],
    classes: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> dict[str, list[int]]:
    """Numbers of the examples of each split, in random order: ``shares`` of all, the rest "train".

    The draw depends on ``seed`` alone; examples with one key are in one split (:func:`together`).
    """
    order = generator(SPLIT_STREAM, 1, seed).permutation(len(keys)).tolist()
    drawn = ["train"] * len(keys)
    first = 0
    for split, share in shares.items():
        last = first + max(1, int(len(keys) * share))
        for number in order[first:last]:
            drawn[number] = split
        first = last
    homes = together(keys, drawn, classes)
    chosen = {split: [i for i in order if homes[i] == split] for split in (*shares, "train")}
    empty = next((split for split, numbers in chosen.items() if not numbers), None)
    if empty is not None:
        raise UserError(
            f"{len(set(keys))} different examples are too few to split off {', '.join(shares)}",
            "Give more of them, or files of their own for these splits.",
        )
    return chosen


def split_by_source(pairs: list[Pair], sizes: Mapping[str, int], seed: int) -> tuple[Splits, str]:
    """Split off ``sizes`` source sentences for each named split; "train" gets all other pairs.

    Sentences are drawn in the order of a hash of (seed, sentence), so a sentence's place does not
    depend on the order of the file. A split that was split off keeps the first pair of each of its
    sentences, and takes at most a tenth of all sentences. Pairs keep their order.

    Returns the splits and a note that says what was done.
    """
    keys = [text_key(source) for source, _ in pairs]
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
