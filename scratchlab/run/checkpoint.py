"""Checkpoints that are complete or do not exist, and that say so when they were damaged.

A checkpoint is a folder: ``model.safetensors``, ``optimizer.safetensors`` (everything else that is
made of numbers: optimizer moments, raw weights where averages are kept, random states),
``config.yaml``, the vocabulary's files, and ``state.json``, which is written last and holds the
SHA-256 of every file and of itself. The folder is filled under a hidden name, flushed to disk and
renamed. Saving ``last`` renames the one before to ``previous`` first, so at any moment at least one
complete checkpoint is there to go on from. ``last`` takes its place after all others of the same
update: a run that goes on from it finds the ``best`` that it remembers. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from scratchlab.config.reading import read_json, require
from scratchlab.errors import UserError, shortened
from scratchlab.registry import is_estimator
from scratchlab.regular_files import irregular, open_regular
from scratchlab.run import own_part
from scratchlab.run.atomic import flush_folder, write_error
from scratchlab.run.folder import dump_yaml, read_config

STATE = "state.json"
REQUIRED = ("model.safetensors", "optimizer.safetensors", "config.yaml")
STATE_SCHEMA = {  # of a checkpoint of any trainer; what older ones lack has a default
    "step?": "int",
    "epoch?": "float",
    "position?": "int",
    "targets?": "int",
    "best?": "float | None",
    "best_step?": "int",
    "stale?": "int",
    "finished?": "bool",
    "seconds?": "float",
    "command_seconds?": "float",
    "reached?": "dict[str, Any] | None",
    "window?": "list[list[float]]",
    "metrics_bytes?": "int",
    "total_steps?": "int",
    "precision?": "str",
    "groups?": "list[int]",
    "scaler?": "dict[str, float]",
    "gradient_norm?": "float | None",
    "spec?": "dict[str, Any]",
    "base?": "dict[str, str] | None",
    "own_part?": own_part.SCHEMA,
}
CONFIG_SCHEMA = {"model?": {"name": "str"}, "method?": "dict[str, dict[str, Any]]"}
MOST = 2**53
"""No count in a state is larger: beyond, a number is no longer the same in every program."""
FORMAT = 1


class DamagedCheckpoint(UserError):
    """A checkpoint whose files do not have the content they were saved with."""


def _damaged(folder: Path, problem: str) -> DamagedCheckpoint:
    others = [p.parent.name for p in sorted(folder.parent.glob(f"[!.]*/{STATE}"))]
    others = [name for name in others if name != folder.name]
    hint = ""
    if folder.parent.name == "checkpoints" and others:
        hint = f"Others of this run: {', '.join(others)} (evaluate_checkpoint={others[0]})."
    return DamagedCheckpoint(f"the checkpoint {folder} is damaged: {problem}", hint)


@dataclass
class Checkpoint:
    """The content of a checkpoint. ``state`` must be JSON.

    Tensors are torch's, or NumPy arrays if the model is an estimator: those do without torch.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any]
    state: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)


def save(
    folder: Path,
    checkpoint: Checkpoint,
    roles: tuple[str, ...] = ("last",),
    save_vocabulary: Callable[[Path], None] | None = None,
) -> None:
    """Write ``checkpoint`` once and give it every role (``last``, ``best``, ``step-N``).

    Roles after the first share its files on disk (hard links where the file system has them).
    A full or unwritable disk is one :class:`UserError`; checkpoints written earlier stay whole.
    """
    incoming = folder / f".incoming-{os.getpid()}"
    try:
        folder.mkdir(exist_ok=True)  # not its parents: a run that was removed stays removed
        _discard(*folder.glob(".incoming-*"), *folder.glob(".outgoing-*"))
        incoming.mkdir()
        _fill(incoming, checkpoint, save_vocabulary)
        extra = [(role, _clone(incoming, folder / f".incoming-{role}")) for role in roles[1:]]
        for role, copy in extra:
            _promote(copy, folder / role)
        _promote(incoming, folder / roles[0])
    except (OSError, SafetensorError) as error:
        _discard(*folder.glob(".incoming-*"))
        raise write_error(folder / roles[0], _as_os_error(error)) from error


def _as_os_error(error: Exception) -> OSError:
    """safetensors hides the system's error number in its text."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), str(error)) if number else OSError(str(error))


def _fill(
    folder: Path, checkpoint: Checkpoint, save_vocabulary: Callable[[Path], None] | None
) -> None:
    _save_tensors(checkpoint.model, folder / "model.safetensors")
    _save_tensors(checkpoint.optimizer, folder / "optimizer.safetensors")
    (folder / "config.yaml").write_text(dump_yaml(checkpoint.config), encoding="utf-8")
    if save_vocabulary is not None:
        save_vocabulary(folder)
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    files = {}
    for name in names:
        with (folder / name).open("rb") as file:
            files[name] = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    state = {**checkpoint.state, **own_part.recorded()}
    content = {"format": FORMAT, "files": files, "state": state}
    with (folder / STATE).open("w", encoding="utf-8") as file:
        json.dump({**content, "sha256": _digest(content)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    flush_folder(folder)


def _save_tensors(tensors: dict[str, Any], path: Path) -> None:
    if all(isinstance(array, np.ndarray) for array in tensors.values()):
        from safetensors.numpy import save_file as save_arrays

        save_arrays({n: np.asarray(a, order="C") for n, a in tensors.items()}, path)
        return
    from safetensors.torch import save_file

    save_file(_contiguous(tensors), path)


def _load_tensors(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    if is_estimator(config):
        from safetensors.numpy import load_file as load_arrays

        return load_arrays(path)
    from safetensors.torch import load_file

    return load_file(path)


def _contiguous(tensors: dict[str, Any]) -> dict[str, Any]:
    """Own, contiguous copies where tensors share memory or are views (safetensors wants that)."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.data_ptr())
        result[name] = tensor
    return result


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _clone(source: Path, target: Path) -> Path:
    _discard(target)

    def link(a: str, b: str) -> str:
        try:
            os.link(a, b)
        except OSError:
            shutil.copy2(a, b)
        return b

    shutil.copytree(source, target, copy_function=link)
    flush_folder(target)
    return target


def _promote(incoming: Path, target: Path) -> None:
    """Put a complete folder in its place; the former ``last`` stays as ``previous``."""
    outgoing = target.with_name(f".outgoing-{target.name}")
    if target.name == "last" and target.exists():
        previous = target.with_name("previous")
        if previous.exists():
            previous.rename(outgoing)
        target.rename(previous)
    elif target.exists():
        target.rename(outgoing)
    incoming.rename(target)
    flush_folder(target.parent)
    _discard(outgoing)


def _discard(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def read_state(folder: Path) -> dict[str, Any]:
    """The state of a checkpoint after its own hash was checked, without reading the tensors."""
    return _read_content(folder)["state"]


def _read_content(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    try:
        content = require(read_json(path), {"sha256": "str"}, path)
        recorded = content.pop("sha256")
        if recorded != _digest(content):
            raise _damaged(folder, f"{STATE} was changed")
        files = dict.fromkeys(REQUIRED, "str")
        require(content, {"files": files, "state": STATE_SCHEMA}, STATE)
        require(content, {"files": "dict[str, str]"}, STATE)
    except DamagedCheckpoint:
        raise
    except UserError as error:
        raise _damaged(folder, error.message) from error
    for key, value in content["state"].items():
        if isinstance(value, int) and not 0 <= value <= MOST and key != "best":
            problem = f"{STATE}: state.{key}: {shortened(value)} cannot be"
            raise _damaged(folder, problem)
    return content


def verify(folder: Path) -> dict[str, Any]:
    """Check every file of a checkpoint against its hash; returns its content record.

    A file name that leads out of the folder is refused.
    """
    content = _read_content(folder)
    root = folder.resolve()
    for name, recorded in content["files"].items():
        path = (root / name).resolve()
        if not path.is_relative_to(root) or Path(name).is_absolute():
            raise UserError(
                f"the checkpoint {folder} names a file outside itself: {name!r}; refused"
            )
        try:
            with open_regular(path) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, UserError) as error:
            what = irregular(path)
            problem = f"{name} is {what}" if what else f"{name} is missing"
            raise _damaged(folder, problem) from error
        if found != recorded:
            size = path.stat().st_size
            problem = "does not have the SHA-256 it was saved with"
            raise _damaged(folder, f"{name} ({size:,} bytes) {problem}")
    return content


def load(folder: Path, *, with_optimizer: bool = True) -> Checkpoint:
    """Read a checkpoint after checking it whole; :class:`DamagedCheckpoint` names what is wrong.

    UserError if it was made with a part of a person's own that is not in place now.
    """
    content = verify(folder)
    own_part.check(content["state"], folder)
    optimizer = folder / "optimizer.safetensors"
    try:
        path = folder / "config.yaml"
        config = require(read_config(path), CONFIG_SCHEMA, path)
        return Checkpoint(
            model=_load_tensors(folder / "model.safetensors", config),
            optimizer=_load_tensors(optimizer, config) if with_optimizer else {},
            state=content["state"],
            config=config,
        )
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpoint(f"the checkpoint {folder} cannot be read: {error}") from error


def load_newest(folder: Path, report: Callable[[str], None]) -> tuple[Path, Checkpoint] | None:
    """The newest undamaged checkpoint of a run, or None if it has none at all.

    Each damaged one is named through ``report`` and the one before it is tried. If there are only
    damaged ones that is a :class:`UserError`. What a killed process was about to delete is as good
    as any other, if it is still whole.
    """
    if not folder.is_dir():
        return None
    candidates: list[tuple[int, bool, Path]] = []
    problems: list[str] = []
    visible = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    leaving = [p for p in folder.glob(".outgoing-*") if p.is_dir()]
    for path in sorted([*visible, *leaving]):
        try:
            state = read_state(path)
        except DamagedCheckpoint as problem:
            if path in visible:
                problems.append(problem.message)
                report(f"{problem.message}; trying the one before it")
            continue
        candidates.append((state.get("step", 0), path.name == "last", path))
    for _, _, path in sorted(candidates, reverse=True):
        try:
            return path, load(path)
        except DamagedCheckpoint as problem:
            if path in visible:
                problems.append(problem.message)
                report(f"{problem.message}; trying the one before it")
    if problems:
        raise UserError(
            f"every checkpoint in {folder} is damaged; {problems[0]}",
            "Start the run anew (another run_id), or restore the folder from a copy.",
        )
    return None
