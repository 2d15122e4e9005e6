"""Checkpoints of other programs that a from-scratch model starts from: a folder in the Hugging Face
format, weights that a package ships, a name of the hub."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.data.sources.pretrained_files import PACKAGES, PretrainedFiles, find_pretrained
from scratchlab.errors import UserError
from scratchlab.regular_files import expanded
from scratchlab.run.decisions import cache_folder
from scratchlab.run.folder import find_run

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = {"gpt": "gpt2", "text_encoder": "bert"}  # models → modules of scratchlab.models.formats
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def foreign_files(config: Mapping[str, Any]) -> PretrainedFiles | None:
    """What ``init_from`` names, if another program wrote it for this kind of model.

    None: it is a run, or there is nothing of this name here. What lies here comes before the hub,
    and a run before a checkpoint of the hub.

    Raises:
        UserError: there is neither such a run nor, as far as can be told, such a model of the hub.
    """
    name = config["init_from"]
    if name is None or config["model"]["name"] not in FORMATS:
        return None
    folder, cache = expanded(name), cache_folder(config)
    if (folder / "config.json").is_file() and not (folder / "state.json").is_file():
        return PretrainedFiles(folder, "folder", str(folder.resolve()))
    if name in PACKAGES:
        return find_pretrained(name, cache)
    try:
        find_run(name, config["output_dir"])
    except UserError as error:
        if folder.exists() or not HUB_NAME.fullmatch(name):
            return None  # who looks for the run says what is wrong
        try:
            return find_pretrained(name, cache)
        except UserError as second:
            raise UserError(f"{error.message}, and {second.message}", error.hint) from error
    return None


def _format(model: str) -> Any:
    return importlib.import_module(f"scratchlab.models.formats.{FORMATS[model]}")


def foreign_weights(model: str, folder: Path) -> dict[str, Tensor]:
    """The weights in a folder by the names of ``model``."""
    found: dict[str, Tensor] = _format(model).weights(folder)
    return found


def foreign_architecture(model: str, folder: Path) -> dict[str, Any]:
    """The options of ``model`` that a folder decides."""
    found: dict[str, Any] = _format(model).architecture(folder)
    return found
