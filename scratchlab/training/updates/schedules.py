"""Learning-rate schedules as pure functions: step and total steps in, factor of the peak rate out.

A pure function needs no state in a checkpoint and can be drawn before training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from scratchlab.registry import option, register


def _cosine(start: float, end: float, share: float) -> float:
    """From ``start`` (share 0) to ``end`` (share 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2


@register("scheduler", "constant")
class Constant:
    """One learning rate throughout, after an optional linear warm-up."""

    @dataclass(frozen=True)
    class Config:
        warmup: float = option(0.0, "share of all steps in which the rate rises", min=0, max=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    def factor(self, step: int, total: int) -> float:
        """Factor of the peak rate for the update number ``step`` (the first is 0)."""
        warmup = round(self.config.warmup * total)
        return (step + 1) / warmup if step < warmup else 1.0


@register("scheduler", "one_cycle")
class OneCycle:
    """Up along a cosine, then down to nearly nothing (Smith & Topin 2018)."""

    @dataclass(frozen=True)
    class Config:
        warmup: float = option(0.3, "share of all steps in which the rate rises", min=0, below=1)
        start_divisor: float = option(25.0, "the rate starts at peak / this", min=1)
        final_divisor: float = option(1e4, "and ends at the starting rate / this", min=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    def factor(self, step: int, total: int) -> float:
        """Factor of the peak rate for the update number ``step`` (the first is 0)."""
        c = self.config
        start = 1 / c.start_divisor
        peak_at = c.warmup * total - 1
        if step <= peak_at:
            return _cosine(start, 1.0, step / peak_at if peak_at > 0 else 1.0)
        return _cosine(1.0, start / c.final_divisor, (step - peak_at) / (total - 1 - peak_at))


@register("scheduler", "cosine")
class Cosine:
    """Linear warm-up, then half a cosine down to a floor (Loshchilov & Hutter 2017)."""

    @dataclass(frozen=True)
    class Config:
        warmup: float = option(0.05, "share of all steps in which the rate rises", min=0, below=1)
        final: float = option(0.0, "the rate at the end, as a share of the peak", min=0, max=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    def factor(self, step: int, total: int) -> float:
        """Factor of the peak rate for the update number ``step`` (the first is 0)."""
        warmup = round(self.config.warmup * total)
        if step < warmup:
            return (step + 1) / warmup
        return _cosine(1.0, self.config.final, (step - warmup) / max(1, total - warmup))


@register("scheduler", "wsd")
class WarmupStableDecay:
    """Up along a line, level, then down in the last share of the updates (Hu et al. 2024).

    ``form``: down along a line, or as 1 - √share, which falls fast first (Hägele et al. 2024).
    """

    @dataclass(frozen=True)
    class Config:
        warmup: float = option(0.02, "share of all steps in which the rate rises", min=0, max=1)
        decay: float = option(
            0.4, "share of all steps, the last ones, in which it falls", min=0, max=1
        )
        final: float = option(0.0, "the rate at the end, as a share of the peak", min=0, max=1)
        form: str = option("linear", "how it falls", choices=("linear", "sqrt"))
        RULES: ClassVar = (("warmup + decay <= 1", "warmup and decay are more than all steps"),)

    def __init__(self, config: Config) -> None:
        self.config = config

    def factor(self, step: int, total: int) -> float:
        """Factor of the peak rate for the update number ``step`` (the first is 0)."""
        c = self.config
        warmup, last = round(c.warmup * total), round(c.decay * total)
        if step < warmup:
            return (step + 1) / warmup
        share = max(0.0, (step + 1 - (total - last)) / (last + 1))  # 0 before, 1 after the last one
        left = 1 - (math.sqrt(share) if c.form == "sqrt" else share)
        return c.final + (1 - c.final) * left


@register("scheduler", "inverse_sqrt")
class InverseSqrt:
    """Linear warm-up, then down with 1/sqrt(step), as in Vaswani et al. 2017, scaled to peak 1."""

    @dataclass(frozen=True)
    class Config:
        warmup_steps: int = option(4000, "updates in which the rate rises", min=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    def factor(self, step: int, total: int) -> float:
        """Factor of the peak rate for the update number ``step`` (the first is 0)."""
        warmup = self.config.warmup_steps
        return min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))
