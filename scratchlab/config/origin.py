"""Which line of which YAML file a fault came from."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scratchlab.config.reading import line_of_key, read_text
from scratchlab.errors import Fault
from scratchlab.regular_files import expanded

GLOBAL = re.compile(r"^# *@package +_global_", re.MULTILINE)


def config_folders(config_dir: str | None) -> list[Path]:
    """The folders that YAML files are read from, first found first used."""
    own = [Path(__file__).resolve().parents[2] / "configs", Path(__file__).parents[1] / "configs"]
    extra = [expanded(config_dir).resolve()] if config_dir else []
    return [*extra, *(folder for folder in own if folder.is_dir())]


@functools.cache
def _files_by_part(section: str) -> dict[str, tuple[str, ...]]:
    """The choices of a group by the registered part that each of them names."""
    found: dict[str, set[str]] = {}
    for folder in config_folders(None):
        for path in (folder / section).glob("*.yaml"):
            lines = (line.strip() for line in read_text(path).splitlines())
            named = next((t.partition(":")[2].strip() for t in lines if t.startswith("name:")), "")
            found.setdefault(named, set()).add(path.stem)
    return {part: tuple(sorted(names)) for part, names in found.items()}


def choices_of(section: str, parts: Iterable[str]) -> list[str]:
    """What GROUP=CHOICE may say for these parts; their own names where no file names them."""
    files = _files_by_part(section)
    return sorted({choice for part in parts for choice in files.get(part, (part,))})


def locate(fault: Fault, choices: Mapping[str, Any], config_dir: str | None) -> Fault:
    """Add file and line to a fault whose key one of the chosen YAML files sets.

    ``choices`` maps each config group to what was chosen from it; experiments override models, and
    models override the other groups, so they are searched in that order.
    """
    section, *rest = fault.where.split(".")
    for path in _chosen_files(("experiment", "model", section), choices, config_dir):
        own = path.parent.name == section and not GLOBAL.search(read_text(path))
        number = line_of_key(path, rest if own else [section, *rest])
        if number is not None:
            place = f"set in {path}, line {number}"
            return Fault(fault.where, f"{fault.problem} ({place})", fault.hint)
    return fault


def _chosen_files(
    groups: tuple[str, ...], choices: Mapping[str, Any], config_dir: str | None
) -> Iterator[Path]:
    for group in dict.fromkeys(groups):
        chosen = choices.get(group)
        for choice in chosen if isinstance(chosen, list) else [chosen]:
            for folder in config_folders(config_dir):
                path = folder / group / f"{choice}.yaml"
                if choice and path.is_file():
                    yield path
