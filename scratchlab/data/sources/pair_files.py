"""Sentence pairs of text files: aligned and checked, with errors that name the file and the line.

White space around a line is dropped.
"""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from scratchlab.data.contract import Provenance
from scratchlab.data.sources.reading import TextFile, read_text
from scratchlab.data.sources.reading import find_file as find_file
from scratchlab.data.sources.reading import sha256_of as sha256_of
from scratchlab.errors import UserError, shortened
from scratchlab.run.atomic import write_bytes

Pair = tuple[str, str]
Splits = dict[str, list[Pair]]


@dataclass
class Located:
    """Raw data that was found: where, with which hashes, and how the pairs of its splits are read.

    ``read`` may still add to ``notes``, which tell a person what was left out or split off.
    """

    provenance: Provenance
    read: Callable[[], Splits]
    notes: list[str] = field(default_factory=list)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines as packed UTF-8; the same lines give the same bytes."""
    text = "".join(f"{line}\n" for line in lines)
    write_bytes(path, gzip.compress(text.encode(), mtime=0))


def align(source: TextFile, target: TextFile) -> list[Pair]:
    """Pair the lines of two files.

    Raises:
        UserError: the files differ in their number of lines; the message says where the lengths of
            the sentences suggest that they part.
    """
    n_source, n_target = len(source.lines), len(target.lines)
    if n_source != n_target:
        place = first_shift(source.lines, target.lines)
        longer = source.path if n_source > n_target else target.path
        raise UserError(
            f"the files are not aligned: {source.path} has {n_source} lines, "
            f"{target.path} has {n_target}",
            f"Judging by the lengths of the sentences they part at line {place}: look there for a "
            f"line that is too many in {longer.name} or missing in the other file.",
        )
    return [(s.strip(), t.strip()) for s, t in zip(source.lines, target.lines, strict=True)]


def first_shift(source: Sequence[str], target: Sequence[str]) -> int:
    """The line (from 1) from which on two files are shifted, judging by sentence lengths.

    Before the returned line the files are taken as aligned, after it as shifted by the difference
    of their line counts; the line with the least sum of ``|log(length ratio)|`` is returned.
    """
    if len(source) > len(target):
        return first_shift(target, source)
    shift = len(target) - len(source)
    aligned = [_length_distance(s, t) for s, t in zip(source, target, strict=False)]
    shifted = [_length_distance(s, t) for s, t in zip(source, target[shift:], strict=True)]
    before = [0.0, *accumulate(aligned)]
    after = [0.0, *accumulate(shifted)]
    costs = [b + after[-1] - a for b, a in zip(before, after, strict=True)]
    return costs.index(min(costs)) + 1


def _length_distance(source: str, target: str) -> float:
    return abs(math.log((len(source) + 3) / (len(target) + 3)))


def read_columns(path: Path, columns: Sequence[int]) -> tuple[list[Pair], list[str]]:
    """Two columns (counted from 1) of a tab-separated file, and notes on what was not read.

    A line that holds nothing is a pair of empty texts, for :func:`without_empty`.

    Raises:
        UserError: a line has more or fewer columns than most: a stray tab shifts its texts.
    """
    rows = [(n, line.split("\t")) for n, line in enumerate(read_text(path).lines, 1)]
    widths = Counter(len(cells) for _, cells in rows if any(map(str.strip, cells)))
    width = max(widths, key=lambda w: widths[w], default=0)
    source, target = (c - 1 for c in columns)
    pairs = []
    for number, cells in rows:
        if not any(map(str.strip, cells)):
            pairs.append(("", ""))
            continue
        if len(cells) <= max(source, target):
            raise UserError(
                f"{path}, line {number}: {len(cells)} column(s), but columns "
                f"{columns[0]} and {columns[1]} are wanted",
                "The columns are separated by one tab character and counted from 1.",
            )
        if len(cells) != width:
            raise UserError(
                f"{path}, line {number}: {len(cells)} columns, but most lines have {width}: "
                f"{shortened(cells[-1])}",
                "A tab inside a sentence must be a space.",
            )
        pairs.append((cells[source].strip(), cells[target].strip()))
    others = [str(c) for c in range(1, width + 1) if c - 1 not in (source, target)]
    notes = [f"{path}: columns not read: {', '.join(others)} of {width}"] if others else []
    return pairs, notes


def without_empty(pairs: list[Pair], where: str, policy: str) -> tuple[list[Pair], int]:
    """Pairs with text on both sides, and how many were left out.

    A line that is empty on both sides is no sentence and is always left out. One that is empty on
    one side only is most often a fault of alignment: an error, unless ``policy`` is "drop".

    Raises:
        UserError: a one-sided empty line under the policy "error", or no pair at all.
    """
    kept = []
    for number, (source, target) in enumerate(pairs, 1):
        if source and target:
            kept.append((source, target))
        elif (source or target) and policy == "error":
            side, other = ("target", source) if source else ("source", target)
            raise UserError(
                f"{where}, line {number}: the {side} side is empty where the other says "
                f"{shortened(other)}",
                "Mend the files. parallel_text can leave such lines out: dataset.empty_lines=drop.",
            )
    if not kept:
        raise UserError(f"{where}: there is no sentence pair in it", "The split would be empty.")
    return kept, len(pairs) - len(kept)
