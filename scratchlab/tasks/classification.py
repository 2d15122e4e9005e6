"""Classification: one of several classes for each example."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scratchlab.data.contract import ArrayBatch, Spec
from scratchlab.registry import option, register
from scratchlab.tasks.contract import Loss, Predicted, Task
from scratchlab.tasks.example_rows import example_rows


@register("task", "classification")
class Classification(Task):
    """Cross-entropy of the class; a torch model gives logits [batch, classes]."""

    @dataclass(frozen=True)
    class Config:
        label_smoothing: float = option(
            0.0, "share of the target spread evenly over the classes in training", min=0, below=1
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)

    def loss(self, model: nn.Module, batch: ArrayBatch) -> Loss:
        """Sums over the batch; no label smoothing in eval mode."""
        logits, _, _ = self.predicted(model, batch)
        nll = F.cross_entropy(logits, batch.targets, reduction="sum")
        smoothing = self.config.label_smoothing if model.training else 0.0
        total = nll
        if smoothing:
            total = F.cross_entropy(
                logits, batch.targets, reduction="sum", label_smoothing=smoothing
            )
        return Loss(total=total, count=len(batch.targets), nll=nll.detach())

    def predicted(self, model: nn.Module, batch: ArrayBatch) -> Predicted:
        """The logits themselves [batch, classes]."""
        return Predicted(model(batch.inputs), batch.targets, lambda logits: logits)

    def probabilities(self, model: nn.Module, batch: ArrayBatch) -> Tensor:
        """[batch, classes]."""
        return model(batch.inputs).softmax(-1)

    def example_batch(self, batch_size: int, length: int, device: str = "cpu") -> ArrayBatch:
        inputs, indices = example_rows(self.spec, batch_size, device, length)
        targets = torch.arange(batch_size, device=device) % (self.spec.n_classes or 2)
        return ArrayBatch(inputs, targets, indices)
