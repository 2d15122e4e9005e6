"""Where a corpus of running text is found: files, the Hugging Face hub, or in the package."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.sources.corpus import (
    Pieces,
    Read,
    cut,
    joined,
    read_pieces,
    sentence_lines,
    split_points,
    without_empty_lines,
)
from scratchlab.data.sources.hub import HubSet, load_hub_text
from scratchlab.data.sources.locating import by_hand, locate
from scratchlab.data.sources.reading import sha256_of
from scratchlab.errors import UserError
from scratchlab.run.atomic import replacing


@dataclass
class LocatedText:
    """A corpus that was found: the text of each split, read as often as needed.

    A corpus whose only split is "all" is cut into train, val and test by the options
    ``val_fraction`` and ``test_fraction``. A missing test split is the validation split.
    ``key`` stands for the content in the cache's names: the hashes of each split's parts in the
    order in which they are read.
    """

    provenance: Provenance
    reads: dict[str, Read]
    key: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)


def split_reads(
    located: LocatedText, config: Any, names: Sequence[str], where: str
) -> tuple[dict[str, Read], list[str]]:
    """The text of each split as it is to be tokenised, and notes on how it was split.

    ``config`` has the options ``lines``, ``empty_lines`` and ``tokenizer``; for a corpus that is
    one text also ``val_fraction`` and ``test_fraction``.

    Raises:
        UserError: there is no text to train or to validate on.
    """
    reads = {name: _prepared_lines(read, config) for name, read in located.reads.items()}
    if set(reads) != {"all"}:
        missing = {"train", "val"} - set(reads)
        if missing:
            raise UserError(
                f"{where} has no split {sorted(missing)[0]!r}",
                "It needs text to train and to validate on.",
            )
        return {name: reads[name] for name in names if name in reads}, []
    read, val, test = reads["all"], config.val_fraction, config.test_fraction
    length, (first, second) = split_points(
        read, (1 - val - test, 1 - test), at_lines=config.tokenizer != "char"
    )
    bounds = {"train": (0, first), "val": (first, second), "test": (second, length)}
    if test == 0:
        bounds = {"train": (0, first), "val": (first, length)}
    if length == 0:
        raise UserError(f"{where}: the text is empty{_of_files(located)}")
    if any(a >= b for a, b in bounds.values()):
        raise UserError(
            f"{where}: {length} characters of text are too few to be split into "
            f"{', '.join(bounds)}{_of_files(located)}",
            "Give more text, or other fractions.",
        )
    note = "characters of " + ", ".join(f"{s} {b - a:,}" for s, (a, b) in bounds.items())
    return {s: functools.partial(_part, read, a, b) for s, (a, b) in bounds.items()}, [note]


def _of_files(located: LocatedText) -> str:
    """The first files of a corpus, for messages."""
    names = list(located.provenance.sha256)
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""


def _part(read: Read, first: int, last: int) -> Pieces:
    return cut(read(), first, last)


def _prepared_lines(read: Read, config: Any) -> Read:
    def pieces() -> Pieces:
        found = sentence_lines(read()) if config.lines == "sentences" else read()
        return without_empty_lines(found) if config.empty_lines == "drop" else found

    return pieces


def locate_files(
    paths: Mapping[str, Sequence[Path]], description: str, root: Path | None
) -> LocatedText:
    """Files by split, one after the other; hashed under their names below ``root`` if given."""
    hashes: dict[str, str] = {}
    key: dict[str, list[str]] = {}
    for split, of_split in paths.items():
        key[split] = []
        for path in of_split:
            name = str(path.relative_to(root)) if root and path.is_relative_to(root) else str(path)
            hashes[name] = hashes.get(name) or sha256_of(path)
            key[split].append(hashes[name])
    reads = {split: _joined(of_split) for split, of_split in paths.items()}
    return LocatedText(Provenance("files", description, hashes), reads, key)


def _joined(paths: Sequence[Path]) -> Read:
    return lambda: joined(read_pieces(path) for path in paths)


def files_or_hub(
    facts: Mapping[str, Any], config: Any, context: DataContext, wanted: Mapping[str, str]
) -> LocatedText:
    """The text of a registered data set (:func:`scratchlab.data.sources.locating.locate`).

    ``wanted`` maps a split (or "all") to its file.
    """
    files = locate(facts, config, context, list(wanted.values()))
    if files is None:
        return locate_hub(config, by_hand(facts, context.root), as_one="all" in wanted)
    paths = {split: [files.paths[name]] for split, name in wanted.items()}
    return locate_files(paths, str(files.root), files.root)


def locate_hub(config: Any, advice: str, *, as_one: bool = False) -> LocatedText:
    """Text of the hub; ``as_one`` makes one text of its splits, to be split anew."""
    where = HubSet.of(config, config.text_column)
    reads, hashes = load_hub_text(where, advice)
    key = {split: [digest] for split, digest in hashes.items()}
    if as_one:
        order = [split for split in ("train", "val", "test") if split in reads]
        parts, key = [reads[split] for split in order], {"all": [hashes[split] for split in order]}
        reads = {"all": lambda: joined(part() for part in parts)}
    return LocatedText(Provenance("hub", where.description, hashes), reads, key)


def fetch_hub(config: Any, root: Path, wanted: Mapping[str, str]) -> list[Path]:
    """Write the hub's text into the files below ``root`` that ``wanted`` names by split."""
    found = locate_hub(config, "Get the files by hand.", as_one="all" in wanted)
    written = []
    for split, name in wanted.items():
        if split not in found.reads:
            raise UserError(f"{config.hub_id} has no split {split!r}")
        packed = name.endswith(".gz")
        with replacing(root / name) as file:
            # No date and no name inside, so that the same text gives the same file.
            target = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if packed else file
            for piece in found.reads[split]():
                target.write(piece.encode())
            if packed:
                target.close()
        written.append(root / name)
    return written
