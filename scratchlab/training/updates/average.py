"""Averages of the weights: moving (Polyak & Juditsky 1992), or of the last updates alike (Izmailov
et al. 2018; Kaddour 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from scratchlab.errors import UserError
from scratchlab.training.updates.shards import local, share_of


class WeightAverage:
    """Keeps ``average = (1 - share) · average + share · weights`` of the trained parameters, with
    the ``share`` of each update: :func:`moving`, :func:`of_the_last`.

    The average is what is validated, measured and saved as the model; the raw weights go on being
    trained.
    """

    def __init__(self, model: nn.Module, share: Callable[[int], float]) -> None:
        self.share = share
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.values = {n: local(p).clone() for n, p in self.parameters.items()}

    @classmethod
    def of(cls, model: nn.Module, config: Any, total_steps: int) -> WeightAverage | None:
        """The average that the options of a trainer ask for."""
        if config.average:
            return cls(model, moving(config.average))
        if config.average_last:
            return cls(model, of_the_last(config.average_last, total_steps))
        return None

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update number ``step`` (the first is 1)."""
        weights = [local(p) for p in self.parameters.values()]
        torch._foreach_lerp_(list(self.values.values()), weights, weight=self.share(step))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model holds the average; outside, the raw weights again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """Their contents: weights stay where they are, since others may know the place."""
        for name, parameter in self.parameters.items():
            weight, value = local(parameter), self.values[name]
            before = weight.clone()
            weight.copy_(value)
            value.copy_(before)

    def raw_weights(self) -> dict[str, torch.Tensor]:
        """Copies of the weights in training, for a checkpoint whose model is the average.

        Copies, since the parameters themselves hold the average while the model is saved.
        """
        return {f"raw.{n}": p.detach().clone() for n, p in self.parameters.items()}

    @torch.no_grad()
    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """The model was loaded with the average: take it over and put the raw weights back."""
        for name, parameter in self.parameters.items():
            self.values[name].copy_(local(parameter))
            raw = tensors.get(f"raw.{name}", parameter)
            if raw.shape != parameter.shape or not raw.is_floating_point():
                raise UserError(f"optimizer.safetensors: raw.{name} does not fit the model")
            local(parameter).copy_(local(share_of(raw, parameter)))


def moving(decay: float) -> Callable[[int], float]:
    """The shares of a moving average. Its decay grows from 0 as (1 + n) / (10 + n), n the number of
    updates, until it reaches ``decay``, so that the random start is forgotten quickly."""
    return lambda step: 1 - min(decay, (1 + step) / (10 + step))


def of_the_last(part: float, total: int) -> Callable[[int], float]:
    """The shares of a mean of all weights in the last ``part`` of ``total`` updates; before that
    it is the weights themselves."""
    first = total - max(1, round(part * total))  # the last update that is left out
    return lambda step: 1 / max(1, step - first)
