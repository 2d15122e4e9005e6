"""The pictures of runs, carried in the page itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchlab.errors import UserError
from scratchlab.regular_files import read_regular
from scratchlab.reporting.compare.runs import Row

BYTES = 2_400_000  # of all pictures: a third more in base64
PNG = b"\x89PNG\r\n\x1a\n"
# Curves are drawn by the page, over all runs; these show them of one.
DRAWN = ("loss", "learning_rate")


@dataclass(frozen=True)
class Picture:
    """``uri`` holds the whole file."""

    row: str
    name: str
    uri: str


def pictures_of(
    rows: Sequence[Row], studies: Sequence[Path], most: int = BYTES
) -> tuple[list[Picture], list[str]]:
    """Pictures of the studies and of the first run of each row, attention first, as far as there
    is room; and what was left out."""
    found, left, met, room = [], [], set(), most
    for label, path in _in_turn(rows, studies):
        if path.is_symlink():
            left.append(f"{path} (a link)")
            continue
        try:
            content = read_regular(path, max(most, 1))
        except UserError:
            left.append(str(path))
            continue
        digest = hashlib.sha256(content).digest()
        if digest in met:
            continue
        if not content.startswith(PNG) or len(content) > room:
            left.append(str(path))
            continue
        met.add(digest)
        room -= len(content)
        uri = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
        found.append(Picture(label, path.stem.replace("_", " "), uri))
    return sorted(found, key=lambda one: (not _attention(one.name), one.name)), left


def _in_turn(rows: Sequence[Row], studies: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """One picture of each row, then the next of each: none is left out for another's many."""
    queues = [(folder.name, _plots(folder)) for folder in studies]
    for row in rows:
        run = row.runs[0]
        paths = [p for folder in dict.fromkeys((run.path, *run.measured)) for p in _plots(folder)]
        paths = [p for p in paths if p.stem not in DRAWN and not p.stem.startswith("val_")]
        queues.append((row.label, sorted(paths, key=lambda p: not _attention(p.stem))))
    for place in range(max((len(paths) for _, paths in queues), default=0)):
        for label, paths in queues:
            if place < len(paths):
                yield label, paths[place]


def _plots(folder: Path) -> list[Path]:
    plots = folder / "plots"
    return [] if plots.is_symlink() else sorted(plots.glob("*.png"))


def _attention(name: str) -> bool:
    return "attention" in name
