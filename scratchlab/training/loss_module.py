"""What is differentiated: model, task and the penalties of methods as one module."""

from __future__ import annotations

from typing import Any

from torch import nn

from scratchlab.methods.adapted import Adapted
from scratchlab.tasks.contract import Loss, Task


class LossModule(nn.Module):
    """Model and task as one module whose forward is the loss (what is compiled and distributed).

    A penalty of the methods counts once for each target, so it adds to the mean loss.
    """

    def __init__(self, adapted: Adapted, task: Task) -> None:
        super().__init__()
        self.model = adapted.model
        self.adapted = adapted
        self.task = task

    def forward(self, batch: Any) -> Loss:
        loss = self.task.loss(self.model, batch)
        penalty = self.adapted.penalty()
        if penalty is not None:
            loss.total = loss.total + loss.count * penalty
        return loss
