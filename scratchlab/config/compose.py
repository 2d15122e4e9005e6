"""From a command line to a checked configuration.

Hydra's own loader reads the YAML groups and its own parser reads the overrides; what is added here
is that *every* fault of a command is found before anything runs and is reported together with the
nearest valid name, and that every option a part declares may be set without a ``+``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from scratchlab.config.check import MULTIPLE, SECTIONS, SINGLE, check
from scratchlab.config.origin import config_folders, locate
from scratchlab.config.places import whole_paths
from scratchlab.config.reading import read_yaml
from scratchlab.config.root import root_options
from scratchlab.config.sources import guard_sources
from scratchlab.config.words import NO_WORD, SEVERAL, TEXT, TEXTS, Word, read_word
from scratchlab.errors import ConfigError, Fault, UserError, nearest, shortened, suggest
from scratchlab.registry import Option, section_parts
from scratchlab.regular_files import expanded

CONFIG_MODULE = "scratchlab.configs"
STUDIES = ("suite", "sweep")  # groups of their own verbs
SEVERAL_HINT = "Several values make several runs: use `scratchlab sweep`, or write a list [a,b]."


@dataclass
class Composed:
    """A complete, checked configuration, the overrides that made it, and the groups' choices."""

    config: dict[str, Any]
    overrides: list[str] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)


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


def choices(group: str) -> list[str]:
    """The YAML files of a config group, by name."""
    with hydra_session() as loader:
        return list(loader.get_group_options(group))


def compose(
    arguments: Sequence[str], config_name: str = "train", config_dir: str | None = None
) -> Composed:
    """Compose and check; :class:`ConfigError` with all faults if there are any."""
    parsed, faults = parse_overrides(arguments)
    with hydra_session():
        extra = searchpath(config_dir)
        groups = config_groups(config_dir)
        faults = [meant_group(fault, groups) for fault in faults]
        chosen: list[str] = []
        values, guessed = [], set()
        for word in parsed:
            group = word.key
            if not is_group(word, groups):
                values.append(word)
                continue
            problem = group_fault(word, groups[group])
            if problem is None:
                chosen.append(word.line)
                continue
            # What was meant stands in, so that the faults of the other words are found as well.
            faults.append(problem)
            meant = nearest(str(word.value()), groups[group])
            if meant is None:
                guessed.add(group)
            if meant is not None:
                chosen.append(f"{group}={meant}")
        named = {line.partition("=")[0] for line in chosen}
        if not named & {"model", "experiment"}:
            faults += _no_model(parsed, faults, groups)
            guessed.add("model")
            chosen.append(f"model={groups['model'][0]}")
        base = put_together(config_name, [*extra, *chosen], faults)
    picked = {str(k): v for k, v in base.hydra.runtime.choices.items()}
    with open_dict(base):
        del base["hydra"]
    config = fill(base)
    drop_strange_options(config, named, picked, config_dir)
    faults += apply_overrides(config, values, groups)
    complete, found = check(config)
    origins = {word.key for word in values}
    if "model" in guessed:  # it brings other parts; only what was named without it can be judged
        sure = {o.name for o in root_options()} | named
        found = [f for f in found if f.where.partition(".")[0] in sure and not f.misfit]
    for fault in found:
        if fault.where.partition(".")[0] in guessed:
            continue
        if fault.misfit or _from_user(fault, origins):
            faults.append(fault)
        elif not faults:  # of the files only if the user's own words are right
            faults.append(locate(fault, picked, config_dir))
    if faults:
        raise ConfigError(distinct(faults))
    return Composed(whole_paths(complete), list(arguments), _chosen(picked))


def put_together(
    config_name: str, overrides: list[str], faults: list[Fault], whole: bool = True
) -> DictConfig:
    """What Hydra makes of the YAML files; :class:`ConfigError`, after the other ``faults``, if they
    do not fit together."""
    try:
        return hydra_compose(config_name, overrides=overrides, return_hydra_config=whole)
    except UserError as error:  # of a single file
        raise ConfigError([*faults, Fault("", error.message, error.hint)]) from error
    except Exception as error:  # Hydra's own, OmegaConf's, and plain ones of wrong types
        problem = Fault("configuration", first_line(error))
        raise ConfigError([*faults, problem]) from error


def _chosen(picked: dict[str, Any]) -> dict[str, Any]:
    """What was taken from each config group, as plain names and lists of names."""
    return {
        group: list(choice) if isinstance(choice, list | ListConfig) else choice
        for group, choice in picked.items()
        if not group.startswith("hydra")
    }


def fill(config: DictConfig, root: bool = True) -> DictConfig:
    """Add every option that a chosen part declares and the YAML files leave at its default."""
    OmegaConf.set_struct(config, False)
    for declared in root_options() if root else ():
        if declared.name not in config:
            config[declared.name] = declared.default
    for section in SECTIONS:
        node = config.get(section)
        if node is None or not isinstance(node, DictConfig):
            continue
        for entry in node.values() if section in MULTIPLE else [node]:
            part = (
                section_parts(section).get(str(entry.get("name")))
                if isinstance(entry, DictConfig)
                else None
            )
            for declared in part.options if part else ():
                if declared.name not in entry:
                    entry[declared.name] = declared.default
    return config


def drop_strange_options(
    config: DictConfig, named: set[str], picked: dict[str, Any], config_dir: str | None
) -> None:
    """Take out what a model's file says of the part that it brings itself.

    ``model=gpt optimizer=sgd``: the betas in the model's file are meant for AdamW. An option stays
    (and is checked) if the part has it or its own file sets it.
    """
    for section in named.intersection(SINGLE) - {"model"}:
        node = config.get(section)
        part = section_parts(section).get(str(node.get("name"))) if node else None
        if part is None:
            continue
        own = {"name", *(o.name for o in part.options)}
        for folder in config_folders(config_dir):
            path = folder / section / f"{picked.get(section)}.yaml"
            if path.is_file():
                own |= {str(key) for key in read_yaml(path) or ()}
        for key in [k for k in node if str(k) not in own]:
            del node[key]


def apply_overrides(
    config: DictConfig, overrides: Sequence[Word], groups: dict[str, list[str]]
) -> list[Fault]:
    """Set the values that a user wrote; a key that leads nowhere is left for ``check`` to name."""
    faults = []
    for word in overrides:
        key = word.key
        head = key.split(".")[0]
        if head == "hydra":
            faults.append(
                Fault(key, "scratchlab makes its own run folders: see output_dir, run_id")
            )
            continue
        if head not in config and head not in groups:
            hint = suggest(head, [*groups, *(o.name for o in root_options())], "Keys and groups")
            faults.append(Fault(word.line, f"unknown key {shortened(head)}", hint))
            continue
        option = declared_option(config, key)
        declared = option.type if option else None
        is_text = declared in (*TEXT, *TEXTS) and not (option and option.limits.get("choices"))
        if word.several and not is_text:
            faults.append(Fault(word.line, SEVERAL, SEVERAL_HINT))
            continue
        try:
            if word.deletes:
                _delete(config, key)
            else:
                value = word.value(declared)
                with open_dict(config):
                    OmegaConf.update(config, key, value, merge=isinstance(value, dict))
        except (OmegaConfBaseException, AttributeError, TypeError, KeyError, ValueError) as error:
            faults.append(Fault(key, f"cannot be set: {first_line(error)}"))
    return faults


def declared_option(config: DictConfig, key: str) -> Option | None:
    """The declaration of the option that a full key leads to, in the parts that are chosen."""
    head, _, leaf = key.rpartition(".")
    options: Sequence[Option] = () if head else root_options()
    try:
        node = OmegaConf.select(config, head) if head else None
    except OmegaConfBaseException:
        return None
    if isinstance(node, DictConfig):
        part = section_parts(head.partition(".")[0]).get(str(node.get("name")))
        options = part.options if part else ()
    return next((o for o in options if o.name == leaf), None)


def _delete(config: DictConfig, key: str) -> None:
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig) or leaf not in node:
        raise KeyError(f"there is no {shortened(key)} to take away")
    with open_dict(node):
        del node[leaf]


def parse_overrides(arguments: Sequence[str]) -> tuple[list[Word], list[Fault]]:
    """The words of a command, and a fault for each that is none."""
    words, faults = [], []
    for argument in arguments:
        word = read_word(argument)
        if word is None:
            where = argument if len(argument) < 200 else shortened(argument)
            faults.append(Fault(where, NO_WORD, "Write KEY=VALUE (or GROUP=CHOICE)."))
        else:
            words.append(word)
    return words, faults


def searchpath(config_dir: str | None) -> list[str]:
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


def is_group(word: Word, groups: dict[str, list[str]]) -> bool:
    """Whether a word chooses a file; ``GROUP=null`` sets the section to nothing instead."""
    if word.key not in groups or word.deletes:
        return False
    value = word.value()
    return value is not None and not isinstance(value, dict)


def group_fault(word: Word, options: list[str]) -> Fault | None:
    """What is wrong with the choice from a group, or None."""
    if word.several:
        return Fault(word.line, SEVERAL, SEVERAL_HINT)
    value = word.value()
    for choice in value if isinstance(value, list) else [value]:
        if choice not in options:
            hint = suggest(str(choice), options)
            return Fault(f"{word.key}={choice}", f"there is no {word.key} of this name", hint)
    return None


def meant_group(fault: Fault, groups: dict[str, list[str]]) -> Fault:
    """A hint for a lone word that is a choice of some group: ``transformer_mt``."""
    word = fault.where
    if fault.problem != NO_WORD:
        return fault
    found = [f"{group}={word}" for group, options in groups.items() if word in options]
    hint = f"Did you mean {' or '.join(found)}?" if found else fault.hint
    return Fault(word, fault.problem, hint)


def _no_model(
    parsed: Sequence[Word], faults: Sequence[Fault], groups: dict[str, list[str]]
) -> list[Fault]:
    """That no model is chosen, unless that follows from a fault that is reported already."""
    told = any(f.where.startswith(("model=", "~model", "experiment=")) for f in faults)
    told |= any("model=" in f.hint for f in faults if f.problem == NO_WORD)
    keys = [*groups, *(o.name for o in root_options())]
    told |= any(nearest(w.key, keys) == "model" for w in parsed if w.key not in keys)
    hint = suggest("", groups["model"])
    return [] if told else [Fault("model", "no model is chosen: write model=NAME", hint)]


def first_line(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _from_user(fault: Fault, keys: set[str]) -> bool:
    where = fault.where
    return any(f"{where}.".startswith(f"{k}.") or k.startswith(f"{where}.") for k in keys)


def distinct(faults: list[Fault]) -> list[Fault]:
    return list({(f.where, f.problem): f for f in faults}.values())


def to_container(config: DictConfig | ListConfig) -> Any:
    """The plain values of a configuration, interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True)
