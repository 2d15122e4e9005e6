"""Finding raw records: files of a known layout or else the hub's copy, and a user's own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.sources.reading import find_file, sha256_of
from scratchlab.errors import UserError
from scratchlab.registry import option
from scratchlab.regular_files import expanded, irregular, open_regular

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


def own_file(name: str, root: Path | None) -> Path:
    """A user's file: from the current folder, or in the folder of data files.

    Raises:
        UserError: there is no such file (the message has the full paths), or no regular one.
    """
    tried = [expanded(name).absolute()]
    if root is not None and not Path(name).is_absolute():
        tried.append(root / name)
    found = [place for place in map(find_file, tried) if place is not None]
    for place in found:
        if irregular(place) is None:
            return place
    for place in found:
        open_regular(place)  # says what is there instead of a file
    raise UserError(f"no file {' nor '.join(map(str, tried))}", "Check the path.")


@dataclass(frozen=True)
class SourceOptions:
    """Of data sets that have a copy on the hub."""

    source: str = option(
        "auto",
        "auto: files if they are there, else the hub; files; hub",
        choices=("auto", "files", "hub"),
    )


@dataclass(frozen=True)
class Files:
    """The files of a data set's layout by name, and the folder of data files that they are in."""

    root: Path
    paths: dict[str, Path]

    @property
    def provenance(self) -> Provenance:
        """Hashes go by the names of the layout, so that they are the same on every machine."""
        hashes = {name: sha256_of(path) for name, path in self.paths.items()}
        return Provenance("files", str(self.root), hashes)


def locate(
    facts: Mapping[str, Any], config: Any, context: DataContext, names: Sequence[str] = ()
) -> Files | None:
    """The files of a registered data set if they are all there and wanted; None: take the hub's.

    ``facts`` are those of its registration; ``names``: its files, where options name others.

    Raises:
        UserError: with ``source=files``, or without a copy on the hub, a file is missing; with
            ``auto``, some files are there and some are not.
    """
    names, root = names or facts["files"], context.root
    source = config.source if "hub" in facts["sources"] else "files"
    found = {name: find_file(root / name) if root else None for name in names}
    missing = [name for name, path in found.items() if path is None]
    if source != "hub" and root and not missing:
        return Files(root, {name: path for name, path in found.items() if path})
    if source == "hub" or (source == "auto" and len(missing) == len(found)):
        return None
    where = f"no file {root / missing[0]}" if root else "no folder of data files is known"
    raise UserError(where, by_hand(facts, root, names))


def required_files(
    facts: Mapping[str, Any], context: DataContext, names: Sequence[str] = ()
) -> Files:
    """The files of a data set that has no copy on the hub."""
    found = locate({**facts, "sources": ("files",)}, None, context, names)
    assert found is not None
    return found


def by_hand(facts: Mapping[str, Any], root: Path | None, names: Sequence[str] = ()) -> str:
    """How the files of a registered data set are got without the hub, and where to put them."""
    return layout_hint(list(names or facts["files"]), root, facts["origin"])


def layout_hint(names: list[str], root: Path | None, origin: str) -> str:
    """How to get files by hand and where to put them."""
    folder = str(root) if root else "a folder that the variable SCRATCHLAB_DATA names"
    return f"Get them from {origin} and put them into {folder} as: {', '.join(names)}."
