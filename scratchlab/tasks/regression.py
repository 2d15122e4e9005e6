"""Regression: a number for each example."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scratchlab.data.contract import ArrayBatch, Spec
from scratchlab.registry import register
from scratchlab.tasks.contract import Loss, Task
from scratchlab.tasks.example_rows import example_rows


@register("task", "regression")
class Regression(Task):
    """Squared error of the value; a torch model gives [batch] or [batch, 1]."""

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)

    def loss(self, model: nn.Module, batch: ArrayBatch) -> Loss:
        """The sum of the squared errors."""
        total = ((self.values(model, batch) - batch.targets) ** 2).sum()
        return Loss(total=total, count=len(batch.targets), nll=total.detach())

    def values(self, model: nn.Module, batch: ArrayBatch) -> Tensor:
        """[batch]."""
        return model(batch.inputs).reshape(len(batch.targets))

    def example_batch(self, batch_size: int, length: int, device: str = "cpu") -> ArrayBatch:
        inputs, indices = example_rows(self.spec, batch_size, device, length)
        return ArrayBatch(inputs, torch.ones(batch_size, device=device), indices)
