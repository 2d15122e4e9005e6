"""Word vectors that a training begins with: a file of them, or a run that has learned some."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.config.check import check
from scratchlab.data.sources.locating import own_file
from scratchlab.data.sources.reading import find_file, sha256_of
from scratchlab.errors import UserError
from scratchlab.estimators.scoring import new_estimator
from scratchlab.methods.fitted import Fitted
from scratchlab.registry import find, is_estimator, section_parts
from scratchlab.regular_files import expanded
from scratchlab.run.checkpoint import Checkpoint

if TYPE_CHECKING:
    from scratchlab.estimators.embeddings.vectors import WordVectors

FACT = "vectors"  # of models that begin with them


def takes_vectors(config: Mapping[str, Any]) -> bool:
    """Whether the model of a configuration, or its representation, can begin with word vectors."""
    model = find("model", config["model"]["name"])
    return FACT in model.facts.get("begins_with", ()) or represents_vectors(config)


def represents_vectors(config: Mapping[str, Any]) -> bool:
    """Whether word vectors are for the representation of a configuration, not for its model."""
    entry = config.get("representation")
    facts = find("representation", entry["name"]).facts if entry else {}
    return FACT in facts.get("begins_with", ())


def vectors_file(config: Mapping[str, Any]) -> Path | None:
    """The file that ``init_from`` names, if it is one and the model can begin with word vectors."""
    name = config["init_from"]
    place = find_file(expanded(name)) if takes_vectors(config) else None
    return None if place is None or place.is_dir() else own_file(name, None)


def is_of_vectors(config: Mapping[str, Any]) -> bool:
    """Whether a run with this configuration learned word vectors."""
    entry = config.get("model")
    part = section_parts("model").get(str(entry.get("name"))) if isinstance(entry, dict) else None
    return part is not None and "word_vectors" in part.facts.get("tasks", ())


def require_fit(config: Mapping[str, Any], path: Path, vectors: bool) -> None:
    """UserError if the model cannot begin with what ``init_from`` names: ``path``, which holds
    ``vectors`` or something else."""
    name, can = config["model"]["name"], takes_vectors(config)
    if vectors and not can:
        raise UserError(
            f"init_from: {path} holds word vectors, with which model={name} cannot begin", _able()
        )
    if not vectors and can and is_estimator(config):
        raise UserError(
            f"init_from: {path} holds no word vectors",
            "Give a run of word vectors, or a file of them.",
        )


def refuse_file(config: Mapping[str, Any]) -> None:
    """UserError if ``init_from`` names a file: only models that begin with word vectors take one
    (those have read it already)."""
    path = expanded(config["init_from"])
    if path.is_file():
        raise UserError(
            f"init_from: {path} is a file, with which model={config['model']['name']} cannot begin",
            f"A file holds word vectors. {_able()}",
        )


def _able() -> str:
    """Who can begin with word vectors."""
    able = {
        section: sorted(
            n for n, p in section_parts(section).items() if FACT in p.facts.get("begins_with", ())
        )
        for section in ("model", "representation")
    }
    representations = ", ".join(f"representation={name}" for name in able["representation"])
    return f"Models that can begin with them: {', '.join(able['model'])}; also {representations}."


def changed_file(began_with: Mapping[str, str] | None) -> list[str]:
    """What is to be said of a file that a run began with, if it has another
    content now. The run does not need it any more."""
    if not began_with or began_with.get("kind") != "file":
        return []
    path = Path(began_with["checkpoint"])
    if not path.is_file() or sha256_of(path) == began_with["sha256"]:
        return []
    return [f"{path}, whose word vectors it began with, has changed"]


def open_vectors(path: Path, content: Checkpoint, wanted: Collection[str] | None) -> WordVectors:
    """The vectors in a file, or (``content`` is one's) in a checkpoint of word vectors; of a file
    those of the ``wanted`` words only (None: all)."""
    if not content.config:
        from scratchlab.estimators.embeddings.files import read_vectors

        return read_vectors(path, wanted)
    config, faults = check(content.config)
    if faults:
        raise UserError(f"{path}/config.yaml: {faults[0].where}: {faults[0].problem}")
    fitted = Fitted(new_estimator(config["model"], 0, 1))
    fitted.load(content.model, path)
    vectors: WordVectors = fitted.model.vectors()
    return vectors
