"""What a task promises: from a batch to a loss that adds up exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from scratchlab.data.contract import Dataset, Spec
from scratchlab.errors import UserError


@dataclass
class Loss:
    """A *sum* over targets and their *count*, not a mean.

    Gradient accumulation, a short last batch and data parallelism are exact only with sums: the
    trainer divides once by the count of the whole step. ``total`` (scalar, with gradient) may hold
    label smoothing; ``nll`` (scalar, detached) is the plain negative log-likelihood that
    perplexity is computed from. ``count`` is the number of targets.
    """

    total: torch.Tensor
    count: int
    nll: torch.Tensor


class Predicted(NamedTuple):
    """What a model makes of the places of a batch that count.

    ``features`` [N, D]; ``target`` [N], the right class or id of each; ``project`` turns features
    [n, D] into logits [n, C], so that not all of them need be held at a time.
    """

    features: torch.Tensor
    target: torch.Tensor
    project: Callable[[torch.Tensor], torch.Tensor]


class Task(ABC):
    """Registered as ``@register("task", NAME)``; built as ``cls(config, spec)``."""

    def __init__(self, config: Any, spec: Spec) -> None:
        self.config = config
        self.spec = spec

    def reading(self, dataset: Dataset) -> Dataset:
        """The data set as this task reads it; most read it as it is."""
        return dataset

    @abstractmethod
    def loss(self, model: Any, batch: Any) -> Loss:
        """The loss of one batch; in ``model.eval()`` mode without label smoothing."""

    def predicted(self, model: Any, batch: Any) -> Predicted:
        """What the loss is made of, where that is a distribution over classes or ids."""
        name = getattr(self, "registered_name", type(self).__name__)
        raise UserError(f"task={name} predicts numbers, not a distribution over classes")

    @abstractmethod
    def example_batch(self, batch_size: int, length: int, device: str = "cpu") -> Any:
        """A batch of the task's form with any content (``inspect`` asks for one on ``meta``)."""
