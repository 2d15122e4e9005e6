"""Which data sets there are and whether their data is here, told without importing any of them.

The facts come from the decorators: ``sources`` ("embedded", "files", "hub"), the ``files`` below
the data folder, the ``hub``'s id, the ``origin`` of the files for getting them by hand.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scratchlab.data.contract import DataContext
from scratchlab.errors import ConfigError, Fault, UserError, suggest
from scratchlab.registry import Part, parts
from scratchlab.regular_files import expanded
from scratchlab.table import Table

ROOT_VARIABLE = "SCRATCHLAB_DATA"
CACHE_VARIABLE = "SCRATCHLAB_CACHE"


def data_context() -> DataContext:
    """Folders of data files and of prepared data as the environment names them."""
    root = os.environ.get(ROOT_VARIABLE)
    cache = os.environ.get(CACHE_VARIABLE) or "~/.cache/scratchlab"
    return DataContext(expanded(root) if root else None, expanded(cache))


def find_dataset(name: str) -> Part:
    """A data set by name; UserError with the nearest name."""
    known = parts("dataset")
    if name not in known:
        raise UserError(f"there is no data set {name!r}", suggest(name, known, "Data sets"))
    return known[name]


def files_of(part: Part) -> tuple[str, ...]:
    """The files of a data set, relative to the data folder."""
    return tuple(part.facts.get("files", ()))


def presence(part: Part, root: Path | None) -> str:
    """Whether a data set can be used now, in a few words."""
    if "embedded" in part.facts.get("sources", ()):
        return "yes, built in"
    files = files_of(part)
    if not files:
        return "your own files"
    present = sum(found is not None for _, found in located(files, root))
    if present == len(files):
        return "yes, files"
    if present:
        return f"{present} of {len(files)} files"
    return "no, hub only" if "hub" in part.facts else "no"


def located(files: tuple[str, ...], root: Path | None) -> list[tuple[str, Path | None]]:
    """Each wanted file with where it is, packed or not, or None."""
    from scratchlab.data.sources.reading import find_file

    return [(name, find_file(root / name) if root else None) for name in files]


def require_data(configs: Iterable[Mapping[str, Any]]) -> None:
    """See, before anything is made, that the files which configurations need are there.

    Raises:
        UserError: files are missing, and no hub is of help. Everything that is missing is told.
    """
    faults: dict[str, Fault] = {}
    for config in configs:
        name = config["dataset"]["name"]
        part = find_dataset(name)
        fault = None if name in faults else _missing(part, config)
        if fault is not None:
            faults[name] = fault
        for own in _missing_own(part, config):
            faults.setdefault(str(own), own)
    if faults:
        raise ConfigError(list(faults.values()))


def _missing(part: Part, config: Mapping[str, Any]) -> Fault | None:
    """What is wrong with the files of a data set of known layout; None where nothing is."""
    options, files = config["dataset"], files_of(part)
    if not files or "embedded" in part.facts.get("sources", ()) or options.get("source") == "hub":
        return None
    folder = _root_of(config)
    missing = [name for name, path in located(files, folder) if path is None]
    if not missing:
        return None
    by_hub = "hub" in part.facts and options.get("source") == "auto"
    hub_id = str(options.get("hub_id") or part.facts.get("hub"))
    if by_hub and len(missing) == len(files) and _hub_may_help(hub_id):
        return None
    from scratchlab.data.sources.locating import layout_hint

    where = f"no file {folder / missing[0]}" if folder else f"{ROOT_VARIABLE} is not set"
    more = f" (and {len(missing) - 1} more)" if folder and len(missing) > 1 else ""
    hub = ", and the Hugging Face hub cannot be reached" if by_hub else ""
    origin = str(part.facts.get("origin", "their source"))
    hint = layout_hint(list(files), folder, origin)
    return Fault(f"dataset={part.name}", f"{where}{more}{hub}", hint)


def _missing_own(part: Part, config: Mapping[str, Any]) -> Iterator[Fault]:
    """The user's files that options of the data set name, and that are not there."""
    from scratchlab.data.sources.reading import find_file

    root = _root_of(config)
    for option in part.options:
        given = config["dataset"].get(option.name)
        if option.limits.get("path") != "data" or not given:
            continue
        for name in map(str, given if isinstance(given, list) else [given]):
            tried = [expanded(name).absolute()]
            if root is not None and not Path(name).is_absolute():
                tried.append(root / name)
            if not any(map(find_file, tried)):
                places = " nor ".join(map(str, tried))
                yield Fault(f"dataset.{option.name}", f"no file {places}", "Check the path.")


def _root_of(config: Mapping[str, Any]) -> Path | None:
    """The folder of data files that a configuration, or else the environment, names."""
    root = config.get("data_dir") or os.environ.get(ROOT_VARIABLE)
    return expanded(root) if root else None


def _hub_may_help(hub_id: str) -> bool:
    """Whether the hub answers, or an earlier download may still be there."""
    if importlib.util.find_spec("datasets") is None:
        return False
    if Path(hub_id).is_dir():
        return True
    home = expanded(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    cache = expanded(os.environ.get("HF_DATASETS_CACHE", home / "datasets"))
    if any(cache.glob(hub_id.replace("/", "___") + "*")):
        return True
    from scratchlab.data.sources.hub import is_reachable

    return is_reachable()


def layout_table(part: Part, root: Path | None) -> Table:
    """The files that are expected below the data folder, and which of them are there."""
    where = f"in {root}" if root else f"below ${ROOT_VARIABLE}, which is not set"
    rows: list[list[Any]] = []
    for name, path in located(files_of(part), root):
        size = f"{path.stat().st_size:,} bytes" if path else "missing"
        rows.append([name, size])
    return Table(f"files expected {where}", ["file", "here"], rows)
