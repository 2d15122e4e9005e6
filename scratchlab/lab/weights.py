"""From a checked configuration to a model with its weights and its methods.

A checkpoint of a whole model is loaded alone. One of an adapter holds the adapter and says where
the weights below it came from: a pretrained checkpoint or another run. These are found again by
that name and compared by hash; no path to code is ever read from a checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.data.contract import DataContext, Dataset
from scratchlab.data.sources.pretrained_files import find_pretrained
from scratchlab.data.sources.reading import sha256_of
from scratchlab.errors import UserError, suggest
from scratchlab.estimators.scoring import new_estimator
from scratchlab.lab.foreign import FORMATS, foreign_files, foreign_weights
from scratchlab.lab.vectors import (
    is_of_vectors,
    open_vectors,
    refuse_file,
    require_fit,
    vectors_file,
)
from scratchlab.methods.adapted import Adapted
from scratchlab.methods.fitted import Fitted
from scratchlab.registry import build, find, is_estimator
from scratchlab.regular_files import machine_memory
from scratchlab.run import checkpoint as checkpoints
from scratchlab.run import own_part
from scratchlab.run.folder import RESULTS, RunFolder, find_run, is_checkpoint, read_config

if TYPE_CHECKING:
    import torch

    from scratchlab.methods.contract import Method, MethodContext
    from scratchlab.models.contract import Model


@dataclass(frozen=True)
class Weights:
    """Where weights come from: a checkpoint (or another program's folder), and what it holds.

    ``origin``: how weights of another program, or vectors of a file, are found again.
    """

    path: Path
    content: checkpoints.Checkpoint
    origin: dict[str, str] | None = None
    vectors: bool = False  # word vectors, for the rows of an embedding

    @property
    def is_foreign(self) -> bool:
        """Whether it holds no vocabulary that the model's ids could come from."""
        foreign = not self.content.config and not (self.path / "text_tokenizer.json").is_file()
        return self.vectors or foreign

    @property
    def methods(self) -> dict[str, Any]:
        """Those whose changes are in the weights."""
        return changing(self.content.config.get("method") or {})

    @property
    def base(self) -> dict[str, Any] | None:
        return self.content.state.get("base")

    @property
    def named(self) -> dict[str, str]:
        """Where they lie and the hash of their file, for a manifest."""
        if self.origin:
            return self.origin
        digest = sha256_of(self.path / "model.safetensors")
        return {"kind": "run", "checkpoint": str(self.path), "sha256": digest}

    @classmethod
    def of(cls, path: Path) -> Weights:
        """The checkpoint in a folder."""
        return cls(path, checkpoints.load(path, with_optimizer=False))

    @classmethod
    def of_run(cls, run: Path, which: str) -> Weights:
        """One of a run's checkpoints: best, last or step-N."""
        return cls.of(checkpoint_folder(run, which))

    @classmethod
    def to_go_on_from(cls, folder: RunFolder, warn: Callable[[str], None]) -> Weights | None:
        """The newest checkpoint that is whole, its optimizer with it; None before the first."""
        newest = checkpoints.load_newest(folder.checkpoints, warn)
        if newest is None and (folder.path / RESULTS).exists():
            raise UserError(
                f"{folder.path} was trained, but its checkpoints are gone",
                "Restore its folder checkpoints, or train a new run.",
            )
        if newest is None:
            return None
        own_part.check(newest[1].state, folder.path, goes_on=True)
        return cls(*newest)

    @classmethod
    def to_begin_with(cls, config: Mapping[str, Any]) -> Weights | None:
        """What ``init_from`` names: of a run the best checkpoint (of word vectors the last), or a
        checkpoint of another program (:mod:`scratchlab.lab.foreign`), or a file of word vectors."""
        if config["init_from"] is None:
            return None
        file = vectors_file(config)
        if file is not None:
            of_file = {"kind": "file", "checkpoint": str(file), "sha256": sha256_of(file)}
            return cls(file, checkpoints.Checkpoint({}, {}, {}), of_file, vectors=True)
        if files := foreign_files(config):
            weights = foreign_weights(config["model"]["name"], files.folder)
            return cls(files.folder, checkpoints.Checkpoint(weights, {}, {}), files.origin())
        try:
            run = find_run(config["init_from"], config["output_dir"])
        except UserError:
            refuse_file(config)
            raise
        vectors = is_of_vectors(read_config(run / "config.yaml"))
        require_fit(config, run, vectors)
        return replace(cls.of_run(run, "last" if vectors else "best"), vectors=vectors)


def checkpoint_folder(run: Path, which: str) -> Path:
    """The folder of a run's checkpoint; UserError that lists what there is."""
    if is_checkpoint(run):
        return run
    path = run / "checkpoints" / which
    if is_checkpoint(path):
        return path
    known = [p.name for p in sorted((run / "checkpoints").glob("[!.]*")) if is_checkpoint(p)]
    if not known:
        raise UserError(f"{run} has no checkpoint yet")
    raise UserError(f"{run} has no checkpoint {which!r}", suggest(which, known, "Checkpoints"))


def assemble(
    config: Mapping[str, Any],
    dataset: Dataset,
    context: DataContext,
    device: torch.device | str,
    source: Weights | None = None,
    start: Weights | None = None,
) -> Adapted:
    """Build the model, give it weights, apply the methods.

    ``source``: the checkpoint of this very run (to go on, to measure). ``start``: a checkpoint of
    another run whose weights this one begins with. On device ``meta`` nothing has any content.
    """
    if is_estimator(config):
        return _estimator(config, context, source, start)
    from scratchlab.methods.contract import MethodContext

    methods = build_methods(config["method"])
    saved = source.content.config.get("method", {}) if source else config["method"]
    trained, added = _split(methods, saved, config["method"])
    model, base = _base_model(config, dataset, context, device, source, start)
    of_methods = MethodContext(
        spec=dataset.spec,
        seed=config["seed"],
        encode=getattr(dataset, "encode", None),
        origin=str((base or {}).get("checkpoint", "")),
        cache=context.cache,
    )
    model = _apply(model, trained, of_methods)
    adapted = Adapted(model, trained, base)
    if source:
        adapted.load(source.content.model, source.path)
    elif start and start.methods:
        _check_same_methods(config["method"], start)
        adapted.load(start.content.model, start.path)
    if added:
        adapted = Adapted(_apply(model, added, of_methods), [*trained, *added], base)
    return adapted


def _estimator(
    config: Mapping[str, Any], context: DataContext, source: Weights | None, start: Weights | None
) -> Fitted:
    if config["method"]:
        names = ",".join(config["method"])
        raise UserError(f"method=[{names}]: methods change torch models", "Leave method=[].")
    if start and not start.vectors:
        raise UserError("init_from: an estimator learns from the start", "Leave init_from=null.")
    # Threads that learn without locks give other bits each time.
    threads = 1 if config["deterministic"] else config["threads"]
    fitted = Fitted(new_estimator(config["model"], config["seed"], threads))
    if find("model", config["model"]["name"]).facts.get("represents"):
        fitted.model.search_under(context.representation)
    if start and source is None:
        fitted.model.begin_with(open_vectors(start.path, start.content, None))
    if source:
        fitted.load(source.content.model, source.path)
    return fitted


def build_methods(section: Mapping[str, Any]) -> dict[str, Method]:
    """The methods of a configuration in their order."""
    return {key: build("method", entry) for key, entry in section.items()}


def _apply(model: Model, methods: list[Method], context: MethodContext) -> Model:
    import torch

    for number, method in enumerate(methods):
        torch.manual_seed(context.seed + 1 + number)  # what is new depends on the seed alone
        model = method.apply(model, context)
    return model


def _split(
    methods: Mapping[str, Method], saved: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[list[Method], list[Method]]:
    """The methods that a checkpoint was trained with, and those that come on top of them."""
    saved, keys = changing(saved), list(now)
    apart = {key for key in keys if key not in changing(now)}  # it is all the same where they stand
    ordered = [key for key in keys if key not in apart]
    first = ordered[: len(saved)]
    if first != list(saved) or any(now[k] != saved[k] for k in first):
        names = ",".join(saved)
        raise UserError(
            f"the run was trained with method=[{names}]; that cannot be changed afterwards",
            f"Others may follow: method=[{names},int8].",
        )
    trained = [k for k in keys if k in first or k in apart]
    return [methods[k] for k in trained], [methods[k] for k in keys if k not in trained]


def changing(section: Mapping[str, Any]) -> dict[str, Any]:
    """Of the methods of a configuration those that change a model: others only how it learns."""
    facts = {key: find("method", entry["name"]).facts for key, entry in section.items()}
    return {key: section[key] for key in section if not facts[key].get("leaves_model")}


def _check_same_methods(now: Mapping[str, Any], start: Weights) -> None:
    before = start.methods
    if before != changing(now):
        raise UserError(
            f"init_from: {start.path} was trained with method=[{','.join(before)}]",
            "Give the same methods with the same options, or start from a run without methods.",
        )


def _base_model(
    config: Mapping[str, Any],
    dataset: Dataset,
    context: DataContext,
    device: torch.device | str,
    source: Weights | None,
    start: Weights | None,
) -> tuple[Model, dict[str, Any] | None]:
    """The model before any method, and where its weights can be had again (None: nowhere)."""
    import torch

    vectors = start if start and start.vectors else None
    start = None if vectors else start
    trained = start is not None and bool(start.methods)
    below = source or (start if trained else None)  # may hold what methods added alone
    origin = below.base if below else None
    empty = source is not None and origin is None
    torch.manual_seed(config["seed"])  # weights depend on the seed alone, not on the data's reading
    model: Model
    if find("model", config["model"]["name"]).facts.get("pretrained"):
        skeleton = empty or torch.device(device).type == "meta"
        folder = source.path if source else (start.path if start else None)
        model = build("model", config["model"], dataset.spec, context, folder, skeleton)
        base = model.origin
    else:
        model, base = _from_scratch(config, dataset, device, source, start), None
    if vectors:
        from scratchlab.models.layers.word_vectors import begin_with_vectors

        wanted = set(dataset.tokenizer.tokens)
        given = open_vectors(vectors.path, vectors.content, wanted)
        model.notes = [begin_with_vectors(model, given, dataset.tokenizer, str(vectors.path))]
    if start and not trained:
        Adapted(model).load(dict(model.begin_with(start.content.model)), start.path)
        base = start.origin or _run_origin(start)
    if origin is not None:
        base = _restore_origin(model, origin, base, config, context.cache)
    return (model if torch.device(device).type == "meta" else model.to(device)), base


def _from_scratch(
    config: Mapping[str, Any],
    dataset: Dataset,
    device: torch.device | str,
    source: Weights | None,
    start: Weights | None,
) -> Model:
    """A new model; whether it fits the machine, and the checkpoint's weights the model, is told
    from its shapes before any memory is asked for."""
    import torch

    from scratchlab.models.contract import Model
    from scratchlab.training.room import PLENTY, built_within, countable, require_room, shapes_of

    def new() -> Model:
        model = build("model", config["model"], dataset.spec)
        if not isinstance(model, Model):
            raise UserError(
                f"model={config['model']['name']}: {type(model).__name__} inherits from no Model",
                "Model, LanguageModel and Seq2SeqModel of scratchlab.models.contract declare what "
                "may be asked of a model; the class has to be one of them.",
            )
        return model

    if torch.device(device).type == "meta":
        with countable():
            return new()
    torch.manual_seed(config["seed"])
    small = built_within(new, machine_memory() // PLENTY)
    shapes = small or shapes_of(new)
    if shapes is not None:
        weights = source or start
        if weights and not weights.methods and not weights.base:
            found = weights.content.model
            Adapted(shapes).check(found if source else shapes.begin_with(found), weights.path)
    if small is not None:
        return small
    if shapes is not None:
        trained = source is None and not config["method"] and config.get("optimizer")
        require_room(shapes, build("optimizer", config["optimizer"]) if trained else None, config)
    torch.manual_seed(config["seed"])
    return new()


def _run_origin(start: Weights) -> dict[str, Any]:
    return {
        "kind": "run",
        "checkpoint": str(start.path.resolve()),
        "sha256": weights_hash(start.content.model),
    }


def _restore_origin(
    model: Model,
    origin: dict[str, Any],
    found: dict[str, Any] | None,
    config: Mapping[str, Any],
    cache: Path,
) -> dict[str, Any]:
    """Give the model the weights that an adapter was trained on, or see that it has them."""
    if origin["kind"] == "run":
        path = Path(origin["checkpoint"])
        if not is_checkpoint(path):
            raise UserError(
                f"the adapter was trained on the weights of {path}, which is not there",
                "Put that checkpoint back; an adapter does not hold the weights below it.",
            )
        content = checkpoints.load(path, with_optimizer=False)
        Adapted(model).load(dict(model.begin_with(content.model)), path)
        found = {**origin, "sha256": weights_hash(content.model)}
    elif found is None and config["model"]["name"] in FORMATS:
        files = find_pretrained(origin["checkpoint"], cache)
        weights = foreign_weights(config["model"]["name"], files.folder)
        Adapted(model).load(dict(model.begin_with(weights)), files.folder)
        found = files.origin()
    if found is None or found["sha256"] != origin["sha256"]:
        raise UserError(
            f"the adapter was trained on other weights of {origin['checkpoint']} than those "
            "that are there now",
            "Give the version that it was trained on.",
        )
    return found


def weights_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names and contents of tensors."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
