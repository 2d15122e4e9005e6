"""Reconstruction: give an image back, without the noise that was added to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from scratchlab.data.contract import ArrayBatch, Spec
from scratchlab.registry import register
from scratchlab.tasks.contract import Loss, Task
from scratchlab.tasks.example_rows import example_rows


@register("task", "reconstruction")
class Reconstruction(Task):
    """Squared error of each pixel against the clean image (the input itself without noise)."""

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)

    def loss(self, model: nn.Module, batch: ArrayBatch) -> Loss:
        """The sum over all pixels, which are the targets that are counted."""
        clean = batch.inputs if batch.clean is None else batch.clean
        total = ((model(batch.inputs) - clean) ** 2).sum()
        return Loss(total=total, count=clean.numel(), nll=total.detach())

    def example_batch(self, batch_size: int, length: int, device: str = "cpu") -> ArrayBatch:
        inputs, indices = example_rows(self.spec, batch_size, device, length)
        return ArrayBatch(inputs, torch.zeros(batch_size, device=device), indices)
