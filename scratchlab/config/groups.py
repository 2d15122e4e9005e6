"""The config groups: which YAML files there are, what a word chooses of them, Hydra's loader."""

from __future__ import annotations

import copy
import functools
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from scratchlab.config.origin import config_folders
from scratchlab.config.overrides import NO_WORD, SEVERAL, Override
from scratchlab.config.sources import guard_sources
from scratchlab.errors import ConfigError, Fault, UserError, suggest
from scratchlab.regular_files import expanded

CONFIG_MODULE = "scratchlab.configs"
STUDIES = ("suite", "sweep")  # groups of their own verbs
NO_MODEL = "no model is chosen: write model=NAME"
SEVERAL_HINT = "Several values make several runs: use `scratchlab sweep`, or write a list [a,b]."


@contextmanager
def hydra_session() -> Iterator[Any]:
    """Hydra's config loader over the packaged YAML files (a checkout's own where not installed)."""
    GlobalHydra.instance().clear()
    guard_sources()
    if importlib.util.find_spec(CONFIG_MODULE) is not None:
        manager: Any = initialize_config_module(CONFIG_MODULE, version_base="1.3")
    else:
        folder = Path(__file__).resolve().parents[2] / "configs"
        manager = initialize_config_dir(str(folder), version_base="1.3")
    with manager:
        yield GlobalHydra.instance().config_loader()


def put_together(
    config_name: str, chosen: Sequence[str], config_dir: str | None, faults: list[Fault]
) -> DictConfig:
    """What Hydra makes of the YAML files, its own section ``hydra`` included; :class:`ConfigError`,
    after the other ``faults``, if they do not fit together."""
    words = (*_searchpath(config_dir), *chosen)
    try:
        return copy.deepcopy(_put_together(config_name, words, _written(config_dir)))
    except UserError as error:  # of a single file
        raise ConfigError([*faults, Fault("", error.message, error.hint)]) from error
    except Exception as error:  # Hydra's own, OmegaConf's, and plain ones of wrong types
        problem = Fault("configuration", first_line(error))
        if problem.problem.startswith("You must specify 'model'"):  # an experiment without one
            hint = (
                "Or choose one in the file of the experiment: defaults: [{override /model: NAME}]."
            )
            problem = Fault("model", NO_MODEL, hint)
        raise ConfigError([*faults, problem]) from error


@functools.lru_cache(maxsize=32)  # runs that are forked from one process ask for the same
def _put_together(config_name: str, words: Sequence[str], files: tuple[Any, ...]) -> DictConfig:
    """Of the YAML ``files`` as they are now."""
    with hydra_session():
        return hydra_compose(config_name, overrides=list(words), return_hydra_config=True)


def _written(config_dir: str | None) -> tuple[Any, ...]:
    """Name, time and size of every YAML file that may be read."""
    paths = [path for folder in config_folders(config_dir) for path in folder.rglob("*.yaml")]
    stats = [(path, path.stat()) for path in sorted(paths) if path.is_file()]
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)


def _searchpath(config_dir: str | None) -> list[str]:
    if config_dir is None:
        return []
    folder = expanded(config_dir).resolve()
    if not folder.is_dir():
        raise UserError(f"--config-dir: {folder} is no folder")
    return [f"hydra.searchpath=[file://{folder}]"]


def config_groups(config_dir: str | None) -> dict[str, list[str]]:
    """The choices of every group that a run's configuration is composed of.

    Read from the folders: Hydra's own listing sets up its sources anew for each group.
    """
    found: dict[str, set[str]] = {}
    for folder in config_folders(config_dir):
        for path in folder.glob("*/*.yaml"):
            if path.parent.name not in STUDIES:
                found.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(found[group]) for group in sorted(found)}


def is_group(word: Override, groups: dict[str, list[str]]) -> bool:
    """Whether a word chooses a file; ``GROUP=null`` sets the section to nothing instead."""
    if word.key not in groups or word.deletes:
        return False
    value = word.value()
    return value is not None and not isinstance(value, dict)


def group_fault(word: Override, options: list[str]) -> Fault | None:
    """What is wrong with the choice from a group, or None."""
    if word.several:
        return Fault(word.line, SEVERAL, SEVERAL_HINT)
    value = word.value()
    chosen = value if isinstance(value, list) else [value]
    for choice in chosen:
        if choice not in options:
            hint = suggest(str(choice), options)
            return Fault(f"{word.key}={choice}", f"there is no {word.key} of this name", hint)
    twice = next((c for i, c in enumerate(chosen) if c in chosen[:i]), None)
    return Fault(word.line, f"names {twice} twice", "Name each once.") if twice else None


def meant_group(fault: Fault, groups: dict[str, list[str]]) -> Fault:
    """A hint for a lone word that is a choice of some group: ``transformer_mt``."""
    word = fault.where
    if fault.problem != NO_WORD:
        return fault
    found = [f"{group}={word}" for group, options in groups.items() if word in options]
    hint = f"Did you mean {' or '.join(found)}?" if found else fault.hint
    return Fault(word, fault.problem, hint)


def first_line(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
