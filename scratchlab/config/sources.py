"""Hydra's readers of YAML groups, each file checked before Hydra sees it.

Hydra and OmegaConf answer a wrong indent, a stray byte or a list where a mapping should be with a
traceback, and write aliases out without end; here every such file is one line with its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins import file_config_source, importlib_resources_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins

from scratchlab.config.reading import read_yaml, yaml_faults
from scratchlab.errors import UserError, nearest, shortened


def check_group_file(path: Path) -> None:
    """UserError with the place if a YAML file of a config group is not what it should be."""
    content = read_yaml(path)
    if content is None:
        return
    if not isinstance(content, dict):
        hint = "A file of a group holds OPTION: VALUE lines."
        raise UserError(f"{path} holds no mapping of options to values", hint)
    if (wrong := _misspelt_defaults(content)) is not None:
        raise UserError(f"{path}: unknown key {shortened(wrong)}", "Did you mean 'defaults'?")
    defaults = content.get("defaults", [])
    if not isinstance(defaults, list) or not all(map(_is_default, defaults)):
        hint = "For example: defaults: [{dataset: NAME}, {override optimizer: NAME}, _self_]"
        raise UserError(f"{path}: defaults is no list of groups and choices", hint)


def _misspelt_defaults(content: dict[Any, Any]) -> str | None:
    """A key that is nearly ``defaults`` and holds choices of groups: without them other keys, which
    are right, would be blamed."""
    for key, value in {} if "defaults" in content else content.items():
        choices = isinstance(value, list) and all(map(_is_default, value))
        if choices and any(isinstance(v, dict) for v in value) and nearest(str(key), ["defaults"]):
            return str(key)
    return None


def _is_default(entry: Any) -> bool:
    if isinstance(entry, str):
        return bool(entry)
    if not isinstance(entry, dict) or len(entry) != 1:
        return False
    ((group, choice),) = entry.items()
    names = choice if isinstance(choice, list) else [choice]
    return isinstance(group, str) and all(n is None or isinstance(n, str) for n in names)


class FileConfigSource(file_config_source.FileConfigSource):
    """Of a folder of the user's, or of a checkout."""

    def load_config(self, config_path: str) -> Any:
        path = Path(self.path) / self._normalize_file_name(config_path)
        check_group_file(path)
        with yaml_faults(path):
            found = super().load_config(config_path)
        for key in found.config:
            if not isinstance(key, str):  # OmegaConf knows more numbers than YAML
                raise UserError(f"{path}: the key {shortened(key)} is no name of an option")
        return found

    def is_config(self, config_path: str) -> bool:
        path = Path(self.path) / self._normalize_file_name(config_path)
        return path.exists() and not path.is_dir()


class ImportlibResourcesConfigSource(
    importlib_resources_config_source.ImportlibResourcesConfigSource
):
    """Of the installed package."""

    def _read_config(self, res: Any) -> Any:
        if isinstance(res, Path):
            check_group_file(res)
        return super()._read_config(res)


def guard_sources() -> None:
    """Let Hydra read through the classes above. They have the names of Hydra's own, by which Hydra
    tells whether it has registered them already."""
    Plugins.instance()
    types = SourcesRegistry.instance().types
    types |= {"file": FileConfigSource, "pkg": ImportlibResourcesConfigSource}
