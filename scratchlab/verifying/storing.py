"""What is written and read back: checkpoints in another place, merged adapters, other formats."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from typing import Any

import torch

from scratchlab.lab.parts import Parts, load_trained
from scratchlab.lab.train import training_context
from scratchlab.registry import build
from scratchlab.run.checkpoint import load
from scratchlab.run.folder import RunFolder
from scratchlab.tracking.guard import Trackers
from scratchlab.verifying.findings import DoesNotApply, Finding, Gap, gap, judged
from scratchlab.verifying.outputs import outputs
from scratchlab.verifying.subject import Subject

STIRRED = 0.05  # standard deviation of what is added to the numbers of adapters


def saved(subject: Subject) -> Iterator[Finding]:
    """A model after its training, and its checkpoint moved to another place and loaded there."""
    split = subject.split
    subject.take()  # two others are compared
    parts = subject.begun()
    trainer = {**parts.config["trainer"]}
    for average in {"average", "average_last"} & trainer.keys():
        trainer[average] = None  # else what is saved is not what is in memory
    folder = RunFolder.create(subject.small["output_dir"], "verify", "saved")
    build("trainer", trainer).train(training_context(parts, folder, Trackers([])))
    moved = subject.folder / "moved"
    shutil.move(folder.checkpoints / "last", moved)
    again = load_trained(parts.config, moved)
    how = "saved, moved, loaded"
    yield judged(how, "weights", gap(parts.adapted.state(), again.adapted.state()))
    yield judged(how, "outputs", gap(outputs(parts, split), outputs(again, split)))
    if not subject.estimator:
        kept = list(load(moved, with_optimizer=False).model)
        yield judged(how, "weights once, ties", once_gap(kept, parts, again))


def once_gap(kept: list[str], parts: Parts, again: Parts) -> Gap:
    """That no weight was saved under two names, and that the same are shared after loading."""
    owners: dict[tuple[int, tuple[int, ...]], str] = {}
    state = parts.model.state_dict(keep_vars=True)
    for name in kept:
        place = state[name].data_ptr(), tuple(state[name].shape)
        if state[name].numel() and owners.setdefault(place, name) != name:
            return Gap(math.inf, f"{name} is {owners[place]}, saved twice", False)
    before, after = (_shared(p.model) for p in (parts, again))
    if before != after:
        return Gap(math.inf, f"shared are {before or 'none'}, and then {after or 'none'}", False)
    return Gap()


def _shared(model: Any) -> list[list[str]]:
    """The names of weights that are one, together."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    return [names for names in owners.values() if len(names) > 1]


def merged(subject: Subject) -> Iterator[Finding]:
    """What adapters do beside the weights, and inside of them."""
    subject.require_torch("methods change models of torch")
    split, tolerance, parts = subject.split, subject.tolerance(), subject.parts
    methods = parts.adapted.methods
    if not methods:
        raise DoesNotApply("no method changes the model")
    apart = [method.registered_name for method in methods if not method.mergeable]
    if apart:
        raise DoesNotApply(f"what {' and '.join(apart)} did cannot be merged into weights")
    if not stirred(subject.take().model):
        raise DoesNotApply("no method added anything to be merged")
    expected = outputs(parts, split)
    parts.adapted.merged()
    yield judged("adapter merged", "outputs", gap(expected, outputs(parts, split)), tolerance)


@torch.no_grad()
def stirred(model: Any) -> bool:
    """Give the numbers of adapters an ordinary size, since barely trained ones do hardly anything;
    whether there are any."""
    from scratchlab.methods.contract import adapter_names

    torch.manual_seed(0)
    names = adapter_names(model)
    state = model.state_dict(keep_vars=True)
    for name in names:
        if state[name].is_floating_point():
            state[name].add_(torch.randn_like(state[name]), alpha=STIRRED)
    return bool(names)
