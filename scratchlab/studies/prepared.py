"""Experiments and suites: how long they take, which data they need.


Told from the YAML files alone, so that it can be listed in no time: nothing is composed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.origin import config_folders
from scratchlab.config.reading import read_text, read_yaml
from scratchlab.data.catalog import located, presence
from scratchlab.errors import UserError
from scratchlab.registry import parts

TAKES = re.compile(r"^# takes: *(.+?) *$", re.MULTILINE)
PATHS = re.compile(r"^ *- dataset\.(?:paths|test_paths|val_paths)=\[([^\]]+)\]", re.MULTILINE)
OWN = "your own files"  # what presence says of data sets that name none


@dataclass(frozen=True)
class Prepared:
    """An experiment or a suite; ``datasets`` are the registered names of those it needs, ``files``
    those that it names itself (``dataset.paths``)."""

    name: str
    takes: str
    datasets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def data(self, root: Path | None) -> str:
        """Whether its data is here, and if not, what is not."""
        known = parts("dataset")
        found = {d: presence(known[d], root) for d in self.datasets if d in known}
        own = [name for name, here in found.items() if here == OWN]
        found |= {name: f"its {OWN}" for name in own if not self.files}
        missing = [f"{n}: {here}" for n, here in found.items() if not here.startswith(("yes", OWN))]
        missing += [f"{name}: no" for name, path in located(self.files, root) if path is None]
        if missing:
            return "; ".join(missing)
        return "data here" if found else ""


def prepared(group: str, names: Sequence[str], config_dir: str | None = None) -> list[Prepared]:
    """The experiments or suites (``group``) of these names."""
    files = _Files(config_dir)
    return [files.described(group, name) for name in names]


class _Files:
    def __init__(self, config_dir: str | None) -> None:
        self.folders = config_folders(config_dir)

    def described(self, group: str, name: str) -> Prepared:
        """Nothing but its name where its file cannot be read: starting it tells why."""
        try:
            path, content = self._read(group, name)
            if group == "suite":
                choices, takes = list(self._of_suite(content)), str(content.get("takes") or "")
                files = PATHS.findall(read_text(path))
            else:
                found = TAKES.search(read_text(path))
                choices, takes = [self._of_group(group, name)], found[1] if found else ""
                files = []
        except UserError:
            return Prepared(name, "")
        named = [word.strip() for words in files for word in words.split(",")]
        datasets = tuple(dict.fromkeys(filter(None, choices)))
        return Prepared(name, takes, datasets, tuple(dict.fromkeys(named)))

    def _read(self, group: str, name: str) -> tuple[Path, Mapping[str, Any]]:
        for folder in self.folders:
            path = folder / group / f"{name}.yaml"
            if path.is_file():
                content = read_yaml(path)
                return path, content if isinstance(content, Mapping) else {}
        raise UserError(f"there is no {group} {name}")

    def _of_suite(self, content: Mapping[str, Any]) -> Iterator[str | None]:
        common, runs = _words(content), content.get("runs")
        for run in runs.values() if isinstance(runs, Mapping) else ():
            run = run if isinstance(run, Mapping) else {}
            words = _words(run) if "eval" in run else [*common, *_words(run)]
            yield self._of_words(words)

    def _of_words(self, words: Sequence[str]) -> str | None:
        chosen = dict(word.split("=", 1) for word in words if "=" in word)
        for group in ("dataset", "experiment", "model"):
            if group in chosen:
                return self._of_group(group, chosen[group])
        return None

    def _of_group(self, group: str, name: str) -> str | None:
        """The data set that a choice from a group brings, by its registered name."""
        try:
            _, content = self._read(group, name)
        except UserError:
            return None
        if group == "dataset":
            return str(content.get("name", name))
        chosen: dict[str, str] = {}
        for entry in content.get("defaults") or ():
            if isinstance(entry, Mapping):
                keys = ((str(k).removeprefix("override ").lstrip("/"), v) for k, v in entry.items())
                chosen |= {key: str(value) for key, value in keys}
            elif entry != "_self_":
                chosen.setdefault(group, str(entry))  # it goes on from another one
        own = [f"{key}={value}" for key, value in chosen.items() if key != group]
        found = self._of_words(own)
        return found or (self._of_group(group, chosen[group]) if group in chosen else None)


def _words(content: Mapping[str, Any]) -> list[str]:
    words = content.get("overrides")
    return [str(word) for word in words] if isinstance(words, list) else []
