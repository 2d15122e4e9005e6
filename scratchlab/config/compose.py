"""From a command line to a checked configuration.

Hydra's own loader reads the YAML groups and its own parser reads the overrides; what is added here
is that *every* fault of a command is found before anything runs and is reported together with the
nearest valid name, and that every option a part declares may be set without a ``+``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from scratchlab.config.check import MULTIPLE, SECTIONS, SINGLE, check
from scratchlab.config.groups import (
    NO_MODEL,
    SEVERAL_HINT,
    config_groups,
    first_line,
    group_fault,
    is_group,
    meant_group,
    put_together,
)
from scratchlab.config.origin import config_folders, locate
from scratchlab.config.overrides import (
    NO_WORD,
    SEVERAL,
    TEXT,
    TEXTS,
    Override,
    read_override,
)
from scratchlab.config.places import whole_paths
from scratchlab.config.reading import read_yaml
from scratchlab.config.root import root_options
from scratchlab.errors import ConfigError, Fault, nearest, shortened, suggest
from scratchlab.registry import Option, section_parts

FIXED = ("model", "task", "representation", "experiment")  # what a trained run keeps


@dataclass
class Composed:
    """A complete, checked configuration, the overrides that made it, and the groups' choices.

    ``notes``: of what the overrides say, what does nothing.
    """

    config: dict[str, Any]
    overrides: list[str] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class Command:
    """The words of a command, parted: choices of groups, values of options, and their faults.

    Where a choice is none, what was meant stands in for it, so that the faults of the other words
    are found as well; ``guessed`` are the groups where nothing is near.
    """

    chosen: list[Override]
    values: list[Override]
    faults: list[Fault]
    groups: dict[str, list[str]]
    guessed: set[str] = field(default_factory=set)

    @classmethod
    def read(
        cls, arguments: Sequence[str], config_dir: str | None, fixed: Sequence[str] = ()
    ) -> Command:
        """``fixed`` are the groups that may not be chosen from."""
        parsed, faults = parse_overrides(arguments)
        groups = config_groups(config_dir)
        command = cls([], [], [meant_group(fault, groups) for fault in faults], groups)
        for word in parsed:
            if is_group(word, groups):
                command._choose(word, fixed)
            else:
                command.values.append(word)
        return command

    def _choose(self, word: Override, fixed: Sequence[str]) -> None:
        problem = group_fault(word, self.groups[word.key])
        if problem is None and word.key in fixed:
            problem = Fault(
                word.line,
                f"the {word.key} of a trained run cannot be exchanged",
                "Train another run instead.",
            )
        if problem is None:
            self.chosen.append(word)
            return
        self.faults.append(problem)
        meant = nearest(str(word.value()), self.groups[word.key])
        if meant is None:
            self.guessed.add(word.key)
        elif word.key not in fixed:
            self.chosen.append(Override(f"{word.key}={meant}", "", word.key, meant))


def compose(
    arguments: Sequence[str], config_name: str = "train", config_dir: str | None = None
) -> Composed:
    """The YAML files with a command's changes, checked; :class:`ConfigError` with all faults."""
    command = Command.read(arguments, config_dir)
    chosen, named = [word.line for word in command.chosen], {word.key for word in command.chosen}
    if not named & {"model", "experiment"}:
        command.faults += _no_model(command)
        command.guessed.add("model")
        chosen.append(f"model={command.groups['model'][0]}")
    config = put_together(config_name, chosen, config_dir, command.faults)
    picked = {str(k): v for k, v in config.hydra.runtime.choices.items()}
    with open_dict(config):
        del config["hydra"]
    fill(config)
    drop_strange_options(config, named, picked, config_dir)
    complete, found = _changed(config, command)
    if "model" in command.guessed:  # it brings other parts; only what was named can be judged
        sure = {o.name for o in root_options()} | named
        found = [f for f in found if f.where.partition(".")[0] in sure and not f.misfit]
    origins = {word.key for word in command.values}
    for fault in found:
        if fault.where.partition(".")[0] in command.guessed:
            continue
        if fault.misfit or _from_user(fault, origins):
            command.faults.append(fault)
        elif not command.faults:  # of the files only if the user's own words are right
            command.faults.append(locate(fault, picked, config_dir))
    _refuse(command.faults)
    notes = [note for word in command.values if (note := _idle(config, word))]
    return Composed(whole_paths(complete), list(arguments), _chosen(picked), notes)


def change(
    saved: Mapping[str, Any], arguments: Sequence[str], config_dir: str | None = None
) -> dict[str, Any]:
    """``saved`` with whole sections exchanged (GROUP=CHOICE) and values set (KEY=VALUE), checked.

    Sections that nobody names stay exactly as they were saved, whatever the YAML files say by now.
    Texts in the saved configuration are taken literally: no interpolation in it is resolved.
    """
    command = Command.read(arguments, config_dir, FIXED)
    config = OmegaConf.create({})
    with open_dict(config):
        for key, value in saved.items():
            config[key] = _literal(value)
    lines = [word.line for word in command.chosen]
    added = fill(put_together("eval", lines, config_dir, command.faults), root=False)
    for name in {word.key for word in command.chosen}:
        section = added.get(name)
        if name == "method":  # those that a run was trained with stay as they were
            for key in section or ():
                if key in (saved.get("method") or {}):
                    section[key] = _literal(saved["method"][key])
        config[name] = section if section is not None else ({} if name in SECTIONS else None)
    complete, found = _changed(config, command)
    _refuse([*command.faults, *found])
    return whole_paths(complete)


def _changed(config: DictConfig, command: Command) -> tuple[dict[str, Any], list[Fault]]:
    """The whole configuration with a command's values, and what is wrong with it."""
    command.faults += apply_overrides(config, command.values, command.groups)
    return check(config)


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise ConfigError(list({(f.where, f.problem): f for f in faults}.values()))


def _literal(value: Any) -> Any:
    """Escape what OmegaConf would take for an interpolation."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, Mapping):
        return {k: _literal(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_literal(v) for v in value]
    return value


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
    config: DictConfig, overrides: Sequence[Override], groups: dict[str, list[str]]
) -> list[Fault]:
    """Set the values that a user wrote; a key that leads nowhere is left for ``check`` to name."""
    faults = []
    for word in overrides:
        key = word.key
        head = word.head
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


def _idle(config: DictConfig, word: Override) -> str:
    """That a word sets an option which the part does not use as it is; "" if it does."""
    option, head = declared_option(config, word.key), word.key.rpartition(".")[0]
    needed = (option.limits.get("when") if option else None) or {}
    values = OmegaConf.select(config, head) if head else config
    for name, wanted in needed.items():
        choices = wanted if isinstance(wanted, tuple) else (wanted,)
        if values[name] not in choices:
            shown = " or ".join(c if isinstance(c, str) else json.dumps(c) for c in choices)
            return f"{word.line} does nothing here: it is for {head}.{name}={shown}"
    return ""


def _delete(config: DictConfig, key: str) -> None:
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig) or leaf not in node:
        raise KeyError(f"there is no {shortened(key)} to take away")
    with open_dict(node):
        del node[leaf]


def parse_overrides(arguments: Sequence[str]) -> tuple[list[Override], list[Fault]]:
    """The words of a command, and a fault for each that is none."""
    words, faults = [], []
    for argument in arguments:
        word = read_override(argument)
        if word is None:
            where = argument if len(argument) < 200 else shortened(argument)
            faults.append(Fault(where, NO_WORD, "Write KEY=VALUE (or GROUP=CHOICE)."))
        else:
            words.append(word)
    return words, faults


def _no_model(command: Command) -> list[Fault]:
    """That no model is chosen, unless that follows from a fault that is reported already."""
    told = any(f.where.startswith(("model=", "~model", "experiment=")) for f in command.faults)
    told |= any("model=" in f.hint for f in command.faults if f.problem == NO_WORD)
    keys = [*command.groups, *(o.name for o in root_options())]
    told |= any(nearest(w.key, keys) == "model" for w in command.values if w.key not in keys)
    hint = suggest("", command.groups["model"])
    return [] if told else [Fault("model", NO_MODEL, hint)]


def _from_user(fault: Fault, keys: set[str]) -> bool:
    where = fault.where
    return any(f"{where}.".startswith(f"{k}.") or k.startswith(f"{where}.") for k in keys)
