"""Learning rate and weight decay of each update: what optimizer and schedule say together."""

from __future__ import annotations

from typing import Any

from scratchlab.training.contract import TrainingContext


class Rates:
    """Of the groups of an optimizer; a pure function of the update's number, so nothing is kept."""

    def __init__(self, context: TrainingContext, optimizer: Any, total_steps: int) -> None:
        self.schedule, self.optimizer, self.total = context.scheduler, optimizer, total_steps
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.decays = [group.get("weight_decay", 0.0) for group in optimizer.param_groups]
        self.final_decay = float((context.config.get("optimizer") or {}).get("final_decay", 1.0))

    def at(self, step: int) -> float:
        """The rate of the first group in the update number ``step`` (the first is 0)."""
        return float(self.peaks[0] * self.schedule.factor(step, self.total))

    def set(self, step: int) -> None:
        """Give every group its rate, and its decay where that is to fall."""
        factor = self.schedule.factor(step, self.total)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        if self.final_decay != 1:
            left = 1 - (1 - self.final_decay) * step / self.total
            for group, decay in zip(self.optimizer.param_groups, self.decays, strict=True):
                group["weight_decay"] = decay * left
