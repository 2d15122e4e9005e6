"""Text files: found, read and checked, with errors that name the file and the line.

Lines end in ``\\n`` (or ``\\r\\n``) only; Unicode line separators are text, since splitting at them
would break the alignment of parallel files. White space around a line is dropped. Files that start
with gzip's magic number are unpacked while reading, whatever they are called.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from scratchlab.data.contract import Provenance
from scratchlab.errors import UserError
from scratchlab.run.atomic import write_bytes

Pair = tuple[str, str]
Splits = dict[str, list[Pair]]

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class TextFile:
    """The lines of a file and the sha256 of its bytes on disk."""

    path: Path
    lines: list[str]
    sha256: str


@dataclass
class Located:
    """Raw data that was found: where, with which hashes, and how the pairs of its splits are read.

    ``read`` may still add to ``notes``, which tell a person what was left out or split off.
    """

    provenance: Provenance
    read: Callable[[], Splits]
    notes: list[str] = field(default_factory=list)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def find_file(path: Path) -> Path | None:
    """The file itself, or the same file packed (``.gz`` added) or unpacked (``.gz`` taken away)."""
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    return next((p for p in (path, other) if p.is_file()), None)


def read_text(path: Path) -> TextFile:
    """All lines of a UTF-8 file.

    Raises:
        UserError: the file cannot be read or unpacked, or holds bytes that are not UTF-8.
    """
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    content = stored
    if stored.startswith(GZIP_MAGIC):
        try:
            content = gzip.decompress(stored)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(
                f"{path}: damaged gzip file ({error})", "Copy or download the file again."
            ) from error
    digest = hashlib.sha256(stored).hexdigest()
    return TextFile(path, _decode(path, content), digest)


def _decode(path: Path, content: bytes) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise UserError(
            f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8",
            "Convert the file, for example: iconv -f latin1 -t utf-8 OLD > NEW",
        ) from error
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


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


def read_columns(path: Path, columns: Sequence[int]) -> tuple[list[Pair], str]:
    """Two columns (counted from 1) of a tab-separated file, and the file's sha256."""
    file = read_text(path)
    source, target = (c - 1 for c in columns)
    pairs = []
    for number, line in enumerate(file.lines, 1):
        cells = line.split("\t")
        if len(cells) <= max(source, target):
            raise UserError(
                f"{path}, line {number}: {len(cells)} column(s), but columns "
                f"{columns[0]} and {columns[1]} are wanted",
                "The columns are separated by one tab character and counted from 1.",
            )
        pairs.append((cells[source].strip(), cells[target].strip()))
    return pairs, file.sha256


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
                f"{where}, line {number}: the {side} side is empty where the other says {other!r}",
                "Mend the files. parallel_text can leave such lines out: dataset.empty_lines=drop.",
            )
    if not kept:
        raise UserError(f"{where}: there is no sentence pair in it", "The split would be empty.")
    return kept, len(pairs) - len(kept)
