"""Sentence pairs of text files and of the hub: aligned and checked, with errors that name the file
and the line.

White space around a line is dropped.
"""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.sources.hub import HubSet, fingerprint, load_hub_pairs
from scratchlab.data.sources.locating import Located, Pair, Splits, by_hand, locate
from scratchlab.data.sources.reading import TextFile, read_text, sha256_of
from scratchlab.errors import UserError, shortened
from scratchlab.run.atomic import write_bytes


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


def files_or_hub(
    facts: Mapping[str, Any],
    config: Any,
    context: DataContext,
    wanted: Mapping[str, tuple[str, ...]],
) -> Located:
    """The pairs of a registered data set (:func:`scratchlab.data.sources.locating.locate`).

    ``wanted`` maps a split to its two line-aligned files, or to one file of two columns.
    """
    names = [name for of_split in wanted.values() for name in of_split]
    files = locate(facts, config, context, names)
    if files is None:
        return locate_hub(config, by_hand(facts, context.root, names))
    paths = {split: tuple(files.paths[n] for n in names) for split, names in wanted.items()}
    return locate_files(paths, files.root, (1, 2), "error")


def locate_files(
    paths: dict[str, tuple[Path, ...]], root: Path | None, columns: Sequence[int], policy: str
) -> Located:
    """Line-aligned files (two a split) or one file of columns, hashed and ready to be read.

    ``policy`` says what becomes of lines that are empty on one side. Hashes go by the path below
    ``root`` if there is one, so that they are the same on every machine.
    """
    files = [path for of_split in paths.values() for path in of_split]
    hashes = {str(p.relative_to(root) if root else p): sha256_of(p) for p in files}
    provenance = Provenance("files", str(root) if root else ", ".join(hashes), hashes)

    def read() -> Splits:
        splits: Splits = {}
        for split, of_split in paths.items():
            if len(of_split) == 2:
                pairs = align(read_text(of_split[0]), read_text(of_split[1]))
            else:
                pairs, unread = read_columns(of_split[0], columns)
                found.notes += unread
            where = " and ".join(map(str, of_split))
            splits[split], dropped = without_empty(pairs, where, policy)
            if dropped:
                found.notes.append(f"{dropped:,} lines of {where} left out as empty")
        return splits

    found = Located(provenance, read)
    return found


def locate_hub(config: Any, advice: str) -> Located:
    """A data set of the hub, loaded at once since only its content can be hashed."""
    where = HubSet.of(config, config.source_column, config.target_column)
    splits, notes = {}, []
    for split, pairs in load_hub_pairs(where, advice).items():
        splits[split], dropped = without_empty(pairs, f"{where.id} ({split})", "drop")
        if dropped:
            notes.append(f"{dropped:,} rows of {split} left out as empty")
    hashes = {split: fingerprint(pairs) for split, pairs in splits.items()}
    return Located(Provenance("hub", where.description, hashes), lambda: dict(splits), notes)
