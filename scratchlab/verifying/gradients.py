"""The gradient of an update: of a batch in pieces, with more filling, of examples that share rows.

It is what the one training loop hands to its optimizer: ``Gradient.update`` runs with an optimizer
that changes nothing and keeps the gradients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import nn

from scratchlab.lab.teachers import taught_task
from scratchlab.lab.train import training_context
from scratchlab.registry import build
from scratchlab.run.folder import RunFolder
from scratchlab.tracking.guard import Trackers
from scratchlab.training.gradient import Gradient
from scratchlab.training.state import State
from scratchlab.verifying import batches as cut
from scratchlab.verifying.findings import (
    DoesNotApply,
    Finding,
    Gap,
    Tolerance,
    gap,
    gap_of,
    judged,
    largest,
)
from scratchlab.verifying.subject import Subject

BATCHES = 2
LOOKED_AT = 16  # training batches, of which those with several rows are taken
FILLED = 7  # columns of filling that are added


class Keeping(torch.optim.SGD):
    """Keeps the gradients that it is given, and changes no weight."""

    found: list[torch.Tensor | None]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        parameters = [p for group in self.param_groups for p in group["params"]]
        self.found = [None if p.grad is None else p.grad.clone() for p in parameters]


class _Keeper:
    """In the place of a chosen optimizer."""

    def build(self, named: Any, tables: Collection[nn.Parameter] = ()) -> Keeping:
        return Keeping([p for _, p in named], lr=0.0)


class Updates:
    """Updates of the trained model that change nothing; see :meth:`of`."""

    def __init__(self, subject: Subject) -> None:
        subject.require_torch("it has no gradients of batches")
        subject.require_training()
        parts = subject.parts
        options: dict[str, Any] = {
            "precision": "fp32",
            "clip_norm": None,
            "average": None,
            "max_steps": 1,
        }
        options |= {"average_last": None, "length_stages": []}  # batches are compared as they are
        self.trainer = build("trainer", {**subject.small["trainer"], **options})
        if not isinstance(self.trainer, Gradient):
            raise DoesNotApply(f"{type(self.trainer).__name__} trains in its own way")
        nowhere = RunFolder(subject.folder / "verify" / "gradients")
        context = training_context(parts, nowhere, Trackers([]))
        context.optimizer, context.config = _Keeper(), subject.small
        context.task = taught_task(parts)
        without_dropout(parts.model)
        self.subject, self.spec, self.dataset = subject, parts.dataset.spec, parts.dataset
        self.state = State(self.trainer.config, context, 1)
        named = parts.model.named_parameters()
        self.names = [name for name, p in named if p.requires_grad]
        self.alike = False

    def of(self, group: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The loss with its number of targets, and the gradients, of one update from batches."""
        state = self.state
        state.model.restore_carried_state({})
        torch.manual_seed(0)
        self.trainer.update(state, [_begun(batch) for batch in group])
        total, nll, count = state.losses()[0]
        state.window.clear()
        state.model.eval()
        optimizer: Any = state.optimizer
        found = zip(self.names, optimizer.found, strict=True)
        gradients = {name: grad for name, grad in found if grad is not None}
        return {"objective": total, "loss": nll, "targets": count}, gradients

    def batches(self) -> list[Any]:
        """The first training batches of several rows; where there are none, two of a row as one."""
        seed = self.subject.config["seed"]
        found = list(islice(self.dataset.batches("train", seed=seed, epoch=0), LOOKED_AT))
        several = [batch for batch in found if cut.row_count(batch) > 1]
        if not several:
            several = [cut.together(found[i : i + 2], self.spec) for i in (0, 2) if found[i:]]
        return several[:BATCHES]

    def require_same_rows(self, batch: Any) -> None:
        """DoesNotApply if a row's loss depends on its neighbours or on chance, as it may."""
        normed = nn.modules.batchnorm._BatchNorm
        if any(isinstance(module, normed) for module in self.state.model.modules()):
            raise DoesNotApply("batch normalisation takes its statistics from the whole batch")
        self.require_no_chance(batch)

    def require_no_chance(self, batch: Any) -> None:
        """DoesNotApply if the loss of a batch is not the same each time; the first one tells."""
        if self.alike:
            return
        self.state.model.train()
        losses = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            with torch.no_grad():
                moved = _begun(batch).to(self.state.context.device)
                losses.append(float(self.state.loss(moved).total))
        self.state.model.eval()
        if losses[0] != losses[1]:
            raise DoesNotApply("the model draws random numbers in training that cannot be set to 0")
        self.alike = True

    def compared(
        self, how: str, regroup: Callable[[Any], tuple[Any, Sequence[Any]] | None]
    ) -> Iterator[Finding]:
        """Losses and gradients of each training batch and of what ``regroup`` makes of it: a batch
        in another form, and batches that together must give the same; None: nothing of it."""
        losses, gradients, targets = [], [], 0
        for batch in self.batches():
            made = regroup(batch)
            if made is None:
                continue
            self.require_same_rows(batch)
            expected, found = self.of([made[0]]), self.of(made[1])
            losses.append(_loss_gap(expected[0], found[0]))
            gradients.append(gap(expected[1], found[1]))
            targets = max(targets, int(expected[0]["targets"]))
        if losses:
            tolerance = self.subject.tolerance(targets)
            yield judged(how, "loss, targets", largest(losses), tolerance)
            yield judged(how, "gradient", largest(gradients), self.tolerance())

    def tolerance(self) -> Tolerance:
        """Of gradients, which are summed over the places of a batch."""
        return self.subject.tolerance(max(map(cut.places, self.batches())), ways=2)


def accumulation(subject: Subject) -> Iterator[Finding]:
    """A batch is the sum of its rows, however it is cut to pieces of unequal size."""
    updates = Updates(subject)

    def pieces(batch: Any) -> tuple[Any, list[Any]] | None:
        count = cut.row_count(batch)
        if count == 1:
            return None
        middle = 1 + max(1, (count - 1) // 3)
        bounds = [(0, 1), (1, middle), (middle, count)]
        cuts = [cut.take(batch, range(*ends)) for ends in bounds if ends[0] < ends[1]]
        return batch, cuts

    found = list(updates.compared("a batch in unequal pieces", pieces))
    if not found:
        raise DoesNotApply("there is a single row to train on")
    yield from found


def padding(subject: Subject) -> Iterator[Finding]:
    """Filling is no content: rows of like length, of any length, alone, or of several examples."""
    updates = Updates(subject)
    spec = updates.spec
    first = updates.batches()[0]
    if not cut.sides(first):
        raise DoesNotApply("rows of numbers have no filling")

    def rows_alone(batch: Any) -> tuple[Any, list[Any]] | None:
        if getattr(batch, "segments", None) is not None:
            return None
        return batch, cut.alone(batch, spec)

    def packed(batch: Any) -> tuple[Any, list[Any]] | None:
        if getattr(batch, "segments", None) is None:
            return None
        return batch, [cut.unpacked(batch, spec)]

    def more_filling(batch: Any) -> tuple[Any, list[Any]] | None:
        batch = cut.trimmed(batch, spec)
        limits = _limits(batch, spec)
        now = cut.widths(batch)
        if now == limits:  # full rows, of a running text: of their first half the rest is filled up
            batch = cut.filled(batch, spec, [max(1, width // 2) for width in now])
            now = cut.widths(batch)
        wider = [min(w + FILLED, most) for w, most in zip(now, limits, strict=True)]
        return None if wider == now else (batch, [cut.filled(batch, spec, wider)])

    yield from updates.compared("padded together, alone", rows_alone)
    yield from updates.compared("packed in rows, one a row", packed)
    yield from updates.compared(f"{FILLED} more columns of padding", more_filling)


def _limits(batch: Any, spec: Any) -> list[int]:
    """The widest that each side may be."""
    most = {"source": spec.max_source_length}
    return [
        max(width, most.get(side[0], spec.max_length) or width + FILLED)
        for side, width in zip(cut.sides(batch), cut.widths(batch), strict=True)
    ]


def _begun(batch: Any) -> Any:
    """The batch with every row a text of its own, whatever state was carried to it."""
    if getattr(batch, "starts", None) is None:
        return batch
    return dataclasses.replace(batch, starts=None)


def _loss_gap(expected: dict[str, Any], found: dict[str, Any]) -> Gap:
    return largest(gap_of(name, expected[name], found[name]) for name in expected)


def without_dropout(model: nn.Module) -> None:
    """No dropout anywhere in a model, this project's or a library's, for good."""
    for module in model.modules():
        names = [name for name, value in vars(module).items() if isinstance(value, float)]
        drops = "dropout" in type(module).__name__.lower()
        for name in names:
            if (drops and name == "p") or "dropout" in name.lower() or "drop_prob" in name.lower():
                setattr(module, name, 0.0)
