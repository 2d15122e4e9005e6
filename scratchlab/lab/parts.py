"""The composition root: from a checked configuration to data set, task, model and decoder.

They are built here and nowhere else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from scratchlab.config.reading import require
from scratchlab.data.contract import DataContext, Dataset
from scratchlab.errors import UserError, suggest
from scratchlab.lab.vectors import open_vectors, represents_vectors
from scratchlab.lab.weights import Weights, assemble
from scratchlab.methods.adapted import Adapted
from scratchlab.registry import build, find, is_estimator
from scratchlab.regular_files import expanded
from scratchlab.run import checkpoint as checkpoints
from scratchlab.run.decisions import cache_folder
from scratchlab.run.own_part import own_part
from scratchlab.run.seeds import seed_everything
from scratchlab.training.allocator import keep_freed_memory, return_freed_memory
from scratchlab.training.memory import automatic

if TYPE_CHECKING:
    import torch

    from scratchlab.tasks.contract import Task

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
        """What a person should know of the data, of what the methods did to the model, and of what
        stands in the place of a built-in part."""
        own = [] if (part := own_part()) is None else [f"with {part} in the place of the built-in"]
        return [*self.dataset.notes, *self.adapted.notes, *own]


def data_context(
    config: Mapping[str, Any], vocabulary: Path | None = None, *, own: bool = True
) -> DataContext:
    """Where data comes from and where prepared data is kept, for this configuration; ``own``: the
    ``vocabulary`` is one of this very run."""
    root = config.get("data_dir") or os.environ.get("SCRATCHLAB_DATA")
    return DataContext(
        root=expanded(root) if root else None,
        cache=cache_folder(config),
        vocabulary=vocabulary,
        seed=config["seed"],
        runs=expanded(config["output_dir"]),
        own=own,
        masks=find("task", config["task"]["name"]).facts.get("masks", False),
    )


def build_dataset(config: Mapping[str, Any], context: DataContext) -> Dataset:
    """The data set; labelled texts under a representation are rows of numbers.

    Where nothing is trained nobody has found out what a batch size of ``auto`` is: none is needed.
    """
    entry, unit = config["dataset"], automatic(config)
    if unit is not None:
        entry = {**entry, unit: find("dataset", entry["name"]).defaults()[unit]}
    dataset: Dataset = build("dataset", entry, context)
    if context.representation is None:
        return dataset
    from scratchlab.data.kinds.text_classes import TextClassDataset
    from scratchlab.representations.represented import Represented

    if not isinstance(dataset, TextClassDataset):
        return dataset
    dense = not find("model", config["model"]["name"]).facts.get("sparse")
    return Represented(dataset, context.representation, context, dense)


def with_representation(
    config: Mapping[str, Any],
    context: DataContext,
    device: torch.device | str,
    vectors: Weights | None = None,
) -> DataContext:
    """The surroundings of a data set with the representation that is chosen, if one is; it may
    begin with word ``vectors``."""
    if config.get("representation") is None:
        return context
    from scratchlab.representations.contract import new_representation

    representation = new_representation(config["representation"], context)
    representation.device = device
    if vectors:
        representation.begin_with(open_vectors(vectors.path, vectors.content, None))
    return replace(context, representation=representation)


def computes_with_torch(config: Mapping[str, Any]) -> bool:
    """Whether torch is needed: estimators and most representations compute in NumPy."""
    entry = config.get("representation")
    facts = find("representation", entry["name"]).facts if entry else {}
    return not is_estimator(config) or facts.get("computes_with") == "torch"


def read_data(config: Mapping[str, Any], context: DataContext) -> tuple[Dataset, Any]:
    """The data set as its task reads it, and the task (None of an estimator)."""
    dataset = build_dataset(config, context)
    if is_estimator(config):
        return dataset, None
    task: Task = build("task", config["task"], dataset.spec)
    return task.reading(dataset), task


def set_up_machine(config: Mapping[str, Any]) -> torch.device | str:
    """Threads, seeds and device; estimators compute in NumPy and do without torch."""
    (keep_freed_memory if config["keep_memory"] else return_freed_memory)()
    if config["threads"] is not None:  # of the tokenizers library
        os.environ["RAYON_NUM_THREADS"] = str(config["threads"])
    if not computes_with_torch(config):
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
    config: dict[str, Any], source: Weights | None = None, start: Weights | None = None
) -> Parts:
    """Data, task, model and decoder of a checked configuration.

    ``source`` is a checkpoint of this run, ``start`` one of the run that it begins with; weights
    and vocabulary are taken from there.
    """
    device = set_up_machine(config)
    origin = source or start
    foreign = origin is not None and origin.is_foreign
    context = data_context(
        config, origin.path if origin and not foreign else None, own=source is not None
    )
    vectors = start if start and start.vectors and represents_vectors(config) else None
    context = with_representation(config, context, device, None if source else vectors)
    dataset, task = read_data(config, context)
    check_target(config, dataset)
    adapted = assemble(config, dataset, context, device, source, None if vectors else start)
    decoder = build("decoding", config["decoding"]) if config.get("decoding") else None
    if getattr(getattr(decoder, "config", None), "compiled", None):
        from scratchlab.models.compiled.fitting import require

        require(adapted.model)
    return Parts(config, dataset, task, adapted, decoder, device)


def give_candidates(parts: Parts, run: Path) -> None:
    """What a search of ``decoding.shortlist`` looks at: kept in the folder of the run (of a
    checkpoint that stands alone: in the cache), so that it translates where its data are not."""
    count = getattr(getattr(parts.decoder, "config", None), "shortlist", None)
    if count is None:
        return
    from scratchlab.data.batching.cache import cached, content_key
    from scratchlab.data.kinds.pairs import PairDataset
    from scratchlab.decoding.shortlist import Shortlist, learned

    dataset, config = parts.dataset, parts.config
    if not isinstance(dataset, PairDataset):
        raise UserError(
            f"decoding.shortlist: {config['dataset']['name']} has no sentence pairs to learn from",
            "Set decoding.shortlist=null.",
        )
    words = [t.to_json() for t in (dataset.source_tokenizer, dataset.target_tokenizer)]
    tables = cached(
        cache_folder(config) if (run / checkpoints.STATE).is_file() else run,
        "shortlist",
        content_key(dataset=config["dataset"], vocabulary=words, candidates=count),
        lambda: learned(*dataset.ids("train"), dataset.spec, count),
    )
    parts.decoder.shortlist = Shortlist.of(tables, dataset.spec)


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
        split = config[key]
        if split not in dataset.splits:
            hint = suggest(split, dataset.splits, "Splits")
            raise UserError(f"{key}: the data set has no split {split!r}", hint)
        if not dataset.size(split):
            full = ", ".join(s for s in dataset.splits if dataset.size(s))
            nothing = (
                f"{key}={split}: there is nothing in this split of {config['dataset']['name']}"
            )
            hint = f"Splits with examples: {full}."
            raise UserError(dataset.unmeasured or nothing, "" if dataset.unmeasured else hint)


@dataclass
class Trained(Parts):
    """Parts whose model holds the weights of a checkpoint, at the update ``step``."""

    checkpoint: Path
    step: int
    epoch: float


def load_trained(config: dict[str, Any], run: Path) -> Trained:
    """What ``config`` says, built around the weights and the vocabulary of the checkpoint of
    ``run`` that ``evaluate_checkpoint`` names."""
    weights = Weights.of_run(run, config["evaluate_checkpoint"])
    parts = build_parts(config, weights)
    if not is_estimator(config):
        parts.model.eval()
    where = weights.path / checkpoints.STATE
    give_candidates(parts, run)
    state = require(weights.content.state, {"step": "int", "epoch": "float"}, where, ("state",))
    return Trained(**vars(parts), checkpoint=weights.path, step=state["step"], epoch=state["epoch"])
