"""The composition root: from a checked configuration to parts, and what whole parts are asked for.

The data set, task, model with its methods and decoder of a configuration are built here and nowhere
else; built, they are measured (:func:`evaluate`) or taken apart (:func:`inspect`).
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from scratchlab.data.contract import DataContext, Dataset
from scratchlab.errors import Stopped, TrainingError, UserError, suggest
from scratchlab.evaluation.comparable import compares
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement, Sink
from scratchlab.lab.weights import Source, assemble, read_source
from scratchlab.methods.adapted import Adapted
from scratchlab.registry import build, find, is_estimator
from scratchlab.regular_files import expanded
from scratchlab.reporting.sink import FolderSink
from scratchlab.run import checkpoint as checkpoints
from scratchlab.run.decisions import cache_folder
from scratchlab.run.folder import find_run, is_checkpoint
from scratchlab.run.seeds import seed_everything
from scratchlab.training.allocator import keep_freed_memory, return_freed_memory
from scratchlab.training.memory import is_out_of_memory, out_of_memory

if TYPE_CHECKING:
    import torch

    from scratchlab.tasks.contract import Task
    from scratchlab.training.anatomy import Anatomy


LOGGER = logging.getLogger("scratchlab")


@dataclass
class Parts:
    """What a configuration describes, built."""

    config: dict[str, Any]
    dataset: Dataset
    task: Any  # a Task; None of an estimator, which has a loss of its own
    adapted: Adapted
    decoder: Any
    device: Any

    @property
    def model(self) -> Any:
        return self.adapted.model

    @property
    def notes(self) -> list[str]:
        """What a person should know of the data and of what the methods did to the model."""
        return [*self.dataset.notes, *self.adapted.notes]


def data_context(config: Mapping[str, Any], vocabulary: Path | None = None) -> DataContext:
    """Where data comes from and where prepared data is kept, for this configuration."""
    root = config.get("data_dir") or os.environ.get("SCRATCHLAB_DATA")
    return DataContext(
        root=expanded(root) if root else None,
        cache=cache_folder(config),
        vocabulary=vocabulary,
        seed=config["seed"],
        runs=expanded(config["output_dir"]),
    )


def set_up_machine(config: Mapping[str, Any]) -> torch.device | str:
    """Threads, seeds and device; estimators compute in NumPy and do without torch."""
    (keep_freed_memory if config["keep_memory"] else return_freed_memory)()
    if config["threads"] is not None:  # of the tokenizers library
        os.environ["RAYON_NUM_THREADS"] = str(config["threads"])
    if is_estimator(config):
        if config["threads"] is not None:
            threadpool_limits(config["threads"])
        return "cpu"
    import torch

    from scratchlab.training.precision import choose_device

    if config["threads"] is not None:
        torch.set_num_threads(config["threads"])
    seed_everything(config["seed"], config["deterministic"])
    torch.set_flush_denormal(True)
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32, in convolutions as in products
    return choose_device(config["device"])


def build_parts(
    config: dict[str, Any], source: Source | None = None, start: Source | None = None
) -> Parts:
    """Data, task, model and decoder of a checked configuration.

    ``source`` is a checkpoint of this run, ``start`` one of the run that it begins with; weights
    and vocabulary are taken from there.
    """
    device = set_up_machine(config)
    origin = source or start
    foreign = origin is not None and origin.is_foreign
    context = data_context(config, origin.path if origin and not foreign else None)
    dataset: Dataset = build("dataset", config["dataset"], context)
    task = None if is_estimator(config) else build("task", config["task"], dataset.spec)
    check_target(config, dataset)
    adapted = assemble(config, dataset, context, device, source, start)
    decoder = build("decoding", config["decoding"]) if config.get("decoding") else None
    return Parts(config, dataset, task, adapted, decoder, device)


def check_target(config: Mapping[str, Any], dataset: Dataset) -> None:
    """A data set of which only its content shows whether it has classes or numbers to predict."""
    wanted, found = config["task"]["name"], dataset.spec.task
    if {wanted, found} == {"classification", "regression"}:
        what = "classes" if found == "classification" else "numbers"
        raise UserError(
            f"model: {config['model']['name']} is for {wanted}, but the target of "
            f"{config['dataset']['name']} holds {what}",
            f"Choose a model for {found}, or set dataset.target_type.",
        )


def check_splits(config: Mapping[str, Any], dataset: Dataset, keys: Sequence[str]) -> None:
    """The splits that a configuration names must be there."""
    for key in keys:
        if config[key] not in dataset.splits or not dataset.size(config[key]):
            hint = suggest(config[key], dataset.splits, "Splits")
            raise UserError(f"{key}: the data set has no split {config[key]!r}", hint)


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


def starting_point(config: Mapping[str, Any]) -> Source:
    """The checkpoint that ``init_from`` names (of a run the best one) and its content.

    A folder in the Hugging Face format is one of model=gpt too.
    """
    folder = expanded(config["init_from"])
    if config["model"]["name"] == "gpt":
        from scratchlab.models.gpt_weights import is_hugging_face, load_gpt2

        if is_hugging_face(folder):
            return Source(folder, checkpoints.Checkpoint(load_gpt2(folder).state_dict(), {}, {}))
    run = find_run(config["init_from"], config["output_dir"])
    return read_source(checkpoint_folder(run, "best"))


def build_evaluators(config: Mapping[str, Any]) -> dict[str, Evaluator]:
    """The chosen evaluators by name."""
    return {key: build("evaluator", entry) for key, entry in config["evaluator"].items()}


def evaluate(
    parts: Parts,
    evaluators: Mapping[str, Evaluator],
    split: str,
    sink: Sink,
    *,
    quick: bool = False,
    limit: int | None = None,
    should_stop: Callable[[], None] = lambda: None,
    failed: dict[str, Exception] | None = None,
) -> list[Measurement]:
    """Run evaluators on one split with the model as it is.

    A test split that is the validation split is called so in all that is written. With ``failed``,
    an evaluator that fails is put there by its name and the others go on.
    """
    split = parts.dataset.true_split(split)
    decoder = quick_decoder(parts.config) if quick else parts.decoder
    context = EvaluationContext(
        model=parts.model,
        dataset=parts.dataset,
        task=parts.task,
        split=split,
        device=parts.device,
        sink=sink,
        decoder=decoder,
        seed=parts.config["seed"],
        quick=quick,
        limit=limit,
        folder=sink.folder if isinstance(sink, FolderSink) else None,
        adapted=parts.adapted,
    )
    measurements: list[Measurement] = []
    with parts.adapted.measuring():
        for name, evaluator in evaluators.items():
            should_stop()
            try:
                measurements += evaluator.evaluate(context)
            except Exception as error:
                if failed is None or isinstance(error, Stopped):
                    raise
                LOGGER.error("evaluator %s failed:\n%s", name, traceback.format_exc())
                lacking = is_out_of_memory(error)
                failed[name] = out_of_memory(error, parts.config, None) if lacking else error
    alike = compares(parts.config)
    for measurement in measurements:
        measurement.split = measurement.split or split
        measurement.settings = {**measurement.settings, **parts.adapted.settings()}
        if not measurement.timing:
            measurement.compares = measurement.compares or alike.get(measurement.name, "")
    return measurements


def raise_failed(failed: Mapping[str, Exception]) -> None:
    """TrainingError if evaluators failed; what the others measured is written by then."""
    if failed:
        said = [f"evaluator {name} failed: {_first_line(e)}" for name, e in failed.items()]
        hints = dict.fromkeys(
            e.hint for e in failed.values() if isinstance(e, UserError) and e.hint
        )
        raise TrainingError("; ".join(said), " ".join([*hints, "The other results are written."]))


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"


def quick_decoder(config: Mapping[str, Any]) -> Any:
    """Greedy search with the limits of the chosen decoding, for measurements between epochs."""
    chosen = config.get("decoding")
    if not chosen or chosen["name"] != "beam":
        return build("decoding", chosen) if chosen else None
    greedy = find("decoding", "greedy").defaults()
    return build("decoding", {"name": "greedy", **{k: chosen.get(k, v) for k, v in greedy.items()}})


def inspect(config: dict[str, Any], batch_size: int, length: int) -> Anatomy:
    """What the model of a configuration consists of and what a training step costs."""
    if is_estimator(config):
        raise UserError(
            "inspect counts the layers of torch models; estimators have none",
            f"`scratchlab list model {config['model']['name']}` shows its options.",
        )
    import torch

    from scratchlab.training.anatomy import dissect
    from scratchlab.training.room import countable

    context = data_context(config)
    dataset: Dataset = build("dataset", config["dataset"], context)
    limit = dataset.spec.max_length
    length = min(length, limit) if limit else length
    plain = {k: False if k == "fused_loss" else v for k, v in config["task"].items()}
    task: Task = build("task", plain, dataset.spec)
    with torch.device("meta"):
        adapted = assemble(config, dataset, context, "meta")
    title = f"{config['model']['name']} on {config['dataset']['name']}"
    optimizer = build("optimizer", config["optimizer"])
    with countable():
        found = dissect(title, adapted.model, task, optimizer, batch_size, length)
    if config["method"]:
        with torch.device("meta"):
            whole = assemble({**config, "method": {}}, dataset, context, "meta").model
        found.whole = dissect(title, whole, task, optimizer, batch_size, length)
    found.arithmetic = [t for m in adapted.methods for t in m.arithmetic()]
    return found
