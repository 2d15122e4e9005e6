"""Learning from what other models believe: word-level distillation.

Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"; for each word of a
translation Kim and Rush 2016, section 3.1. The loss of a target y with the student's logits z and
the teachers' z_1 … z_n is

    (1 - w) · CE(y, z) + w · T² · KL(q ‖ softmax(z / T)),   q = mean over i of softmax(z_i / T)

with the label smoothing of the task in CE alone. T² keeps the size of the second gradient, which
falls with 1 / T², beside that of the first. Teachers are in ``eval()`` mode and get no gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from scratchlab.tasks.contract import Loss, Predicted, Task

# Logits computed at once: rows times classes.
AT_ONCE = 1 << 23


@dataclass(frozen=True)
class Lesson:
    """What a student is told: by whom, at which ``temperature``, and the ``weight`` of it in the
    loss (0 to 1; the rest is that of the right answers)."""

    teachers: Sequence[Any]
    temperature: float
    weight: float


def taught(task: Task, lesson: Lesson) -> Task:
    """The task with a loss that teachers have a say in while a model is trained.

    In ``eval()`` mode it is the task's own.
    """
    found = copy.copy(task)

    def loss(model: Any, batch: Any) -> Loss:
        if not model.training:
            return task.loss(model, batch)
        return taught_loss(task, lesson, model, batch)

    found.loss = loss  # type: ignore[method-assign]
    return found


def taught_loss(task: Task, lesson: Lesson, model: Any, batch: Any) -> Loss:
    """The sums over a batch: ``total`` is that of the loss above, ``nll`` the student's own."""
    own = task.predicted(model, batch)
    with torch.no_grad():
        others = [task.predicted(teacher, batch) for teacher in lesson.teachers]
    smoothing = float(getattr(task.config, "label_smoothing", 0.0))
    return summed(own, others, lesson, smoothing)


def summed(own: Predicted, others: Sequence[Predicted], lesson: Lesson, smoothing: float) -> Loss:
    """A chunk of rows at a time; where there are several, their logits are computed again for the
    gradient instead of being kept."""
    temperature, weight, count = lesson.temperature, lesson.weight, len(own.target)

    def chunk(features: Tensor, target: Tensor, *theirs: Tensor) -> tuple[Tensor, Tensor]:
        logits = own.project(features).float()
        with torch.no_grad():
            q = softened([o.project(f) for o, f in zip(others, theirs, strict=True)], temperature)
        return mixed(logits, target, q, temperature, weight, smoothing)

    rows = count or 1
    if count and own.features.device.type != "meta":
        rows = max(16, AT_ONCE // own.project(own.features[:1]).shape[-1])
    columns = [x.split(rows) for x in (own.features, own.target, *(o.features for o in others))]
    again = torch.is_grad_enabled() and count > rows
    totals, nlls = [own.features.new_zeros(())], [own.features.new_zeros(())]
    for parts in zip(*columns, strict=True):
        total, nll = checkpoint(chunk, *parts, use_reentrant=False) if again else chunk(*parts)
        totals.append(total)
        nlls.append(nll)
    return Loss(torch.stack(totals).sum(), count, torch.stack(nlls).sum().detach())


def softened(logits: Sequence[Tensor], temperature: float) -> Tensor:
    """The mean of the distributions of several logits [N, C] at a temperature."""
    shares = [(z.float() / temperature).softmax(-1) for z in logits]
    return shares[0] if len(shares) == 1 else torch.stack(shares).mean(0)


def mixed(
    logits: Tensor,
    target: Tensor,
    q: Tensor,
    temperature: float,
    weight: float,
    smoothing: float,
) -> tuple[Tensor, Tensor]:
    """logits [N, C], target [N], the teachers' distribution q [N, C] → the loss with its gradient
    and the plain negative log-likelihood, summed over the rows."""
    log_p = logits.log_softmax(-1)
    nll = -log_p.gather(1, target[:, None]).sum()
    hard = nll
    if smoothing:
        hard = (1 - smoothing) * nll - smoothing * log_p.mean(-1).sum()
    cold = log_p if temperature == 1 else (logits / temperature).log_softmax(-1)
    divergence = (torch.xlogy(q, q) - q * cold).sum()
    total = weight * temperature**2 * divergence
    return total if weight == 1 else total + (1 - weight) * hard, nll.detach()
