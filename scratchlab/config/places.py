"""Where the files are that a configuration names: whole paths, so that a run can be measured from
any folder.

An option says with ``path`` what it holds: "data" is a file or folder of the user's, looked for in
the current folder, then in the folder of data files; "folder" is one that may still have to be
made; "name" is a path if there is one, else a name (of the hub, of a run). Defaults stay as they
are: they are names below the folder of data files, the same on every machine. What the user wrote
is kept beside the configuration, in overrides.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scratchlab.config.check import MULTIPLE, SECTIONS
from scratchlab.config.root import root_options
from scratchlab.registry import Option, section_parts
from scratchlab.regular_files import expanded

SHIPPED = ("smollm2", "minilm")  # checkpoints of packages, which come before folders of that name


def whole_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """A checked configuration with the relative paths in it made absolute."""
    found = _resolved(config, root_options(), None)
    given = found.get("data_dir") or os.environ.get("SCRATCHLAB_DATA")
    root = expanded(given) if given else None
    for section in SECTIONS:
        entry = found.get(section)
        if not isinstance(entry, dict):
            continue
        if section in MULTIPLE:
            found[section] = {key: _part(section, value, root) for key, value in entry.items()}
        else:
            found[section] = _part(section, entry, root)
    return found


def _part(section: str, entry: Any, root: Path | None) -> Any:
    part = section_parts(section).get(str(entry.get("name"))) if isinstance(entry, dict) else None
    return _resolved(entry, part.options, root) if part else entry


def _resolved(
    values: Mapping[str, Any], options: Iterable[Option], root: Path | None
) -> dict[str, Any]:
    found = dict(values)
    for option in options:
        kind, value = option.limits.get("path"), values.get(option.name)
        if kind is None or value == option.default:
            continue
        if isinstance(value, list):
            found[option.name] = [_whole(v, kind, root) for v in value]
        elif isinstance(value, dict):
            found[option.name] = {k: _whole(v, kind, root) for k, v in value.items()}
        elif isinstance(value, str):
            found[option.name] = _whole(value, kind, root)
    return found


def _whole(value: str, kind: str, root: Path | None) -> str:
    """The path that a value names now; the value itself where there is none."""
    if not value or (kind == "name" and value in SHIPPED):
        return value
    try:
        path = expanded(value)
        here = path.absolute()
        if path.is_absolute() or kind == "folder" or _is_there(here, kind):
            return str(here)
        if kind == "data" and root is not None and _is_there(root / path, kind):
            return str((root / path).absolute())
    except (OSError, RuntimeError, ValueError):  # too long, no home, a NUL: its reader says so
        return value
    return value


def _is_there(path: Path, kind: str) -> bool:
    """Files of data may be packed or not, whichever was named."""
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    return path.exists() or (kind == "data" and other.exists())
