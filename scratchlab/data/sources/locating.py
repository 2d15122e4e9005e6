"""Finding the raw text of sentence pairs: files of a known layout, a user's own files, the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.sources.hub import HubText, fingerprint, load_hub_pairs
from scratchlab.data.sources.pair_files import (
    Located,
    Splits,
    align,
    find_file,
    read_columns,
    read_text,
    sha256_of,
    without_empty,
)
from scratchlab.errors import UserError
from scratchlab.regular_files import expanded, irregular, open_regular

BY_HAND = "Get the files by hand: `scratchlab data describe NAME` says which ones and where to."


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


def files_or_hub(
    config: Any, context: DataContext, wanted: dict[str, tuple[str, ...]], origin: str
) -> Located:
    """Files below the data folder if they are all there (and wanted), else the hub.

    ``wanted`` maps a split to its two line-aligned files, or to one file of two columns.

    Raises:
        UserError: with ``source=files``, a file is missing; with ``auto``, some files are there and
            some are not, or none is there and the hub is of no help.
    """
    names = [name for of_split in wanted.values() for name in of_split]
    root = context.root
    found = {n: root and find_file(root / n) for n in names}
    missing = [n for n, path in found.items() if path is None]
    layout = layout_hint(names, root, origin)
    if config.source != "hub" and not missing:
        paths = {s: tuple(found[n] or Path(n) for n in of) for s, of in wanted.items()}
        return locate_files(paths, root, (1, 2), "error")
    if config.source == "files" and root is None:
        raise UserError("source=files, but no folder of data files is known", layout)
    if config.source == "files" or (config.source == "auto" and len(missing) < len(names)):
        assert root is not None
        raise UserError(f"no file {root / missing[0]}", layout)
    return locate_hub(config, layout)


def layout_hint(names: list[str], root: Path | None, origin: str) -> str:
    """How to get files by hand and where to put them."""
    folder = str(root) if root else "a folder that the variable SCRATCHLAB_DATA names"
    return f"Get them from {origin} and put them into {folder} as: {', '.join(names)}."


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


def hub_text(config: Any) -> HubText:
    """What the options of a data set say about the hub."""
    return HubText(config.hub_id, config.hub_config, config.source_column, config.target_column)


def locate_hub(config: Any, by_hand: str) -> Located:
    """A data set of the hub, loaded at once since only its content can be hashed."""
    where = hub_text(config)
    splits, notes = {}, []
    for split, pairs in load_hub_pairs(where, by_hand).items():
        splits[split], dropped = without_empty(pairs, f"{where.id} ({split})", "drop")
        if dropped:
            notes.append(f"{dropped:,} rows of {split} left out as empty")
    hashes = {split: fingerprint(pairs) for split, pairs in splits.items()}
    return Located(Provenance("hub", where.description, hashes), lambda: dict(splits), notes)
