"""Folders in the Hugging Face format: ``config.json`` and safetensors; pickled files stay closed.

A module for each architecture says what its ``config.json`` means and how its tensors are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from scratchlab.config.reading import read_json, require
from scratchlab.config.schema import check_options
from scratchlab.errors import UserError, shortened
from scratchlab.registry import find

INDEX = "model.safetensors.index.json"


def read_content(folder: Path, model: str, assumed: Mapping[str, Any]) -> dict[str, Any]:
    """What the config.json of a folder says, for the registered ``model``; ``assumed``: what that
    computes, a checkpoint made for something else would give wrong numbers."""
    path = folder / "config.json"
    if not path.exists():
        raise UserError(f"{folder} holds no config.json", "Give the folder of a checkpoint.")
    content = require(read_json(path), {"vocab_size": "int"}, path)
    for key, value in assumed.items():
        found = content.get(key, value if key != "model_type" else None)
        if found != value:
            raise UserError(
                f"{path}: {key} is {shortened(found)}; scratchlab's {model} computes "
                f"{key}={value!r} only"
            )
    return content


def checked_options(
    path: Path,
    model: str,
    called: str,
    values: dict[str, Any],
    names: Mapping[str, str],
    needed: tuple[str, ...],
) -> dict[str, Any]:
    """All options of ``model`` with those of a config.json; ``names``: theirs by ours. ``called``:
    what a person calls such a checkpoint."""
    part = find("model", model)
    complete, faults = check_options("", values, part.options, part.rules)
    problems = [f"{names[ours]} is missing" for ours in needed if ours not in values]
    problems += [f"{names.get(f.where, f.where)}: {f.problem}" for f in faults]
    if problems:
        raise UserError(f"{path} is no {called} configuration: {problems[0]}")
    return complete


def read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """All tensors of the folder's safetensors files."""
    names = ["model.safetensors"]
    try:
        if (folder / INDEX).is_file():
            index = read_json(folder / INDEX)
            index = require(index, {"weight_map": "dict[str, str]"}, folder / INDEX)
            names = sorted(set(index["weight_map"].values()))
        for name in names:
            if Path(name).name != name:
                raise UserError(f"{folder / INDEX} names a file outside its folder: {name!r}")
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder} holds no {name}",
                    "Only safetensors are read; transformers converts older files with "
                    "save_pretrained.",
                )
            with safe_open(folder / name, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 (no mapping)
                    yield key, file.get_tensor(key)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the weights in {folder} cannot be read: {error!r}") from error


def dtype_name(tensor: Tensor) -> str:
    """``float32``, as a config.json says it."""
    return str(tensor.dtype).removeprefix("torch.")
