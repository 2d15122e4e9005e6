"""Changes to a saved configuration: ``scratchlab eval RUN dataset=… evaluator=[…] key=value``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from scratchlab.config.check import SECTIONS, check, resolvers
from scratchlab.config.compose import (
    apply_overrides,
    config_groups,
    distinct,
    fill,
    group_fault,
    hydra_session,
    is_group,
    meant_group,
    parse_overrides,
    put_together,
    searchpath,
)
from scratchlab.config.places import whole_paths
from scratchlab.errors import ConfigError, Fault


def change(
    saved: Mapping[str, Any], arguments: Sequence[str], config_dir: str | None = None
) -> dict[str, Any]:
    """``saved`` with whole sections exchanged (GROUP=CHOICE) and values set (KEY=VALUE), checked.

    Sections that nobody names stay exactly as they were saved, whatever the YAML files say by now.
    Texts in the saved configuration are taken literally: no interpolation in it is resolved.
    """
    parsed, faults = parse_overrides(arguments)
    config = OmegaConf.create({})
    with open_dict(config):
        for key, value in saved.items():
            config[key] = _literal(value)
    with hydra_session():
        extra = searchpath(config_dir)
        groups = config_groups(config_dir)
        faults = [meant_group(fault, groups) for fault in faults]
        chosen, values = [], []
        for word in parsed:
            if not is_group(word, groups):
                values.append(word)
                continue
            name = word.key
            problem = group_fault(word, groups[name])
            if problem is None and name in ("model", "task", "experiment"):
                problem = Fault(
                    word.line,
                    f"the {name} of a trained run cannot be exchanged",
                    "Train another run instead.",
                )
            if problem is not None:
                faults.append(problem)
            else:
                chosen.append(word)
        words = [*extra, *(word.line for word in chosen)]
        added = put_together("eval", words, faults, whole=False)
    added = fill(added, root=False)
    for name in {word.key for word in chosen}:
        section = added.get(name)
        if name == "method":  # those that a run was trained with stay as they were
            for key in section or ():
                if key in (saved.get("method") or {}):
                    section[key] = _literal(saved["method"][key])
        config[name] = section if section is not None else ({} if name in SECTIONS else None)
    faults += apply_overrides(config, values, groups)
    if asking := resolvers(config):
        raise ConfigError(distinct([*faults, *asking]))
    plain, found = check(_plain(config))
    faults += found
    if faults:
        raise ConfigError(distinct(faults))
    return whole_paths(plain)


def _literal(value: Any) -> Any:
    """Escape what OmegaConf would take for an interpolation."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, Mapping):
        return {k: _literal(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_literal(v) for v in value]
    return value


def _plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items()}
