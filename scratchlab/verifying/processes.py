"""The same updates from one process and from two that share each batch (torchrun)."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scratchlab.registry import find
from scratchlab.run.checkpoint import load
from scratchlab.verifying.batches import places
from scratchlab.verifying.findings import DoesNotApply, Finding, gap, judged
from scratchlab.verifying.gradients import Updates
from scratchlab.verifying.started import as_told, own_process, run_together
from scratchlab.verifying.subject import Subject
from scratchlab.verifying.training import METRICS, metrics_gap

HOW = "1 process, 2 processes"
LAST = "checkpoints/last"

# Two updates of two batches each by plain gradient descent, which keeps the (decayed) sum of the
# gradients. An optimizer that divides by them would turn rounding into whole steps where they are
# nothing else: what is added to all keys of an attention has no gradient.
UPDATES: dict[str, Any] = {
    "max_steps": 2,
    "accumulate": 2,
    "accumulate_stages": [],
    "log_every": 1,
    "validate_every": 1,
}
ALIKE = {"clip_norm": None, "average": None, "precision": "fp32"}
DESCENT = {"lr": 1e-3, "momentum": 0.9}


def processes(subject: Subject) -> Iterator[Finding]:
    """The losses and the gradients of two updates, dropout left out, on the CPU."""
    subject.require_torch("it learns in one process")
    updates = Updates(subject)
    batches = updates.batches()
    updates.require_no_chance(batches[0])
    changes, names = _changes(subject), _trained(updates)
    allowed = subject.tolerance(sum(map(places, batches))), updates.tolerance()
    del updates
    subject.take()  # two processes need the room
    gc.collect()
    with multiplying_plainly():
        one = subject.train("one", **changes)
    gc.collect()
    two = subject.prepared("two", **changes, threads=1)
    run_together(own_process(take_part, str(two)), 2)
    yield judged(HOW, "losses", metrics_gap(one / METRICS, two / METRICS), allowed[0])
    gradients = [_gradients(run, names) for run in (one, two)]
    yield judged(HOW, "gradients", gap(*gradients), allowed[1])


def take_part(folder: str) -> None:
    """In a process of its own: its part of the training that a folder describes."""
    with multiplying_plainly():
        as_told(folder)


def _changes(subject: Subject) -> dict[str, Any]:
    """What makes a small training one that may have any number of processes.

    Raises:
        DoesNotApply: it begins with an adapter that drops units.
    """
    small = subject.small
    methods = without_dropout(small["method"])
    start = small["init_from"]
    if methods != small["method"] and start is not None:  # the run's: it has the methods in it
        start = subject.config["init_from"]
        if start is not None:
            raise DoesNotApply("an adapter goes on with its dropout, which differs in each process")
    return {
        "model": without_dropout(small["model"]),
        "method": methods,
        "init_from": start,
        "trainer": {**small["trainer"], **UPDATES, **ALIKE},
        "optimizer": {"name": "sgd", **find("optimizer", "sgd").defaults(), **DESCENT},
        "scheduler": {"name": "constant", **find("scheduler", "constant").defaults()},
        "device": "cpu",
    }


def without_dropout(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a configuration with every option that is a dropout, in whatever depth, at 0."""
    return {
        key: without_dropout(value)
        if isinstance(value, Mapping)
        else (0.0 if "dropout" in key else value)
        for key, value in entry.items()
    }


@contextmanager
def multiplying_plainly() -> Iterator[None]:
    """Inside, no quantized layer takes a fast product, which rounds otherwise for other rows."""
    from scratchlab.methods.quantized import QuantizedLinear

    before = QuantizedLinear.fast
    QuantizedLinear.fast = False
    try:
        yield
    finally:
        QuantizedLinear.fast = before


def _trained(updates: Updates) -> list[str]:
    """The names of the weights in the order of an optimizer: matrices, then vectors."""
    model = updates.state.model
    return sorted(updates.names, key=lambda name: model.get_parameter(name).ndim < 2)


def _gradients(run: Path, names: Sequence[str]) -> dict[str, Any]:
    """The sums of the gradients that a run has kept, by the names of the weights."""
    kept = load(run / LAST).optimizer
    found = {name: kept.get(f"optimizer.{i}.momentum_buffer") for i, name in enumerate(names)}
    return {name: tensor for name, tensor in found.items() if tensor is not None}
