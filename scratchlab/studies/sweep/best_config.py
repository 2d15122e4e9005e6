"""The best point of a sweep as an experiment: a YAML file that holds differences only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab.config.compose import compose, parse_overrides
from scratchlab.config.groups import config_groups
from scratchlab.run.atomic import write_text
from scratchlab.run.folder import dump_yaml


def experiment_yaml(words: Sequence[str], heading: str, config_dir: str | None) -> str:
    """Overrides as the text of a file of the group ``experiment``.

    Composing it gives what the overrides give on a command line: groups are overridden in its
    defaults, values set below them; an ``experiment=…`` among the words is what it builds on.
    """
    groups = config_groups(config_dir)
    parsed, faults = parse_overrides(words)
    assert not faults, faults
    whole = compose(words, config_dir=config_dir).config
    defaults: list[Any] = []
    values: dict[str, Any] = {}
    for word in parsed:
        key, value = word.key, word.value()
        if key == "experiment":
            defaults.insert(0, value)
        elif key in groups and not isinstance(value, dict):
            defaults.append({f"override /{key}": value})
        else:
            node, told = values, whole
            *parents, leaf = key.split(".")
            for parent in parents:
                node, told = node.setdefault(parent, {}), told[parent]
            node[leaf] = told[leaf]  # as its option is declared
    text = "# @package _global_\n" + "".join(f"# {line}\n" for line in heading.splitlines())
    if defaults:
        text += dump_yaml({"defaults": [*defaults, "_self_"]})
    return text + ("\n" + dump_yaml(values) if values else "")


def write_best(
    folder: Path, words: Sequence[str], heading: str, config_dir: str | None
) -> tuple[Path, Path]:
    """Write ``folder/configs/experiment/best.yaml``; returns the folder for --config-dir and it."""
    path = folder / "configs" / "experiment" / "best.yaml"
    write_text(path, experiment_yaml(words, heading, config_dir))
    return folder / "configs", path
