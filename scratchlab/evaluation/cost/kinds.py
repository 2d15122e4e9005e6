"""Devices to plan with: memory and arithmetic as their makers state them, dense, without sparsity.

Where a maker states one figure with sparsity only, half of it is taken. Prices change from week to
week and are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scratchlab.errors import UserError, suggest

GB, TERA = 10**9, 10**12
RESERVED = 10**9
"""Bytes of a device that are no tensors: Python, libraries, what CUDA loads."""
USABLE = 0.9
"""The share of the rest that tensors can fill, since freed blocks leave holes."""


@dataclass(frozen=True)
class Device:
    """``memory`` in bytes, ``flops`` in FLOP/s by precision; ``on_cpu``: fp32 caches of a CPU."""

    name: str
    memory: int
    flops: Mapping[str, float]
    on_cpu: bool = False

    @property
    def room(self) -> int:
        """Bytes for tensors."""
        return max(0, int((self.memory - RESERVED) * USABLE))

    def precision(self, wanted: str) -> str:
        """The arithmetic that ``trainer.precision`` means here; UserError if there is none."""
        if wanted == "auto":
            return "bf16" if "bf16" in self.flops else "fp32"
        if wanted not in self.flops:
            problem = f"trainer.precision={wanted}: {self.name} does not compute in it"
            raise UserError(problem, f"It computes in {', '.join(self.flops)}.")
        return wanted


def _gpu(name: str, memory: int, fp32: float, half: float, bf16: bool = True) -> Device:
    flops = {"fp32": fp32 * TERA, "fp16": half * TERA}
    return Device(name, memory * GB, flops | ({"bf16": half * TERA} if bf16 else {}))


KINDS = {
    device.name: device
    for device in (
        _gpu("b200", 180, 75, 2250),
        _gpu("h200", 141, 66.9, 989.4),
        _gpu("h100", 80, 66.9, 989.4),
        _gpu("h100-pcie", 80, 51.2, 756),
        _gpu("a100-80gb", 80, 19.5, 312),
        _gpu("a100-40gb", 40, 19.5, 312),
        _gpu("l40s", 48, 91.6, 362),
        _gpu("a10", 24, 31.2, 125),
        _gpu("l4", 24, 30.3, 121),
        _gpu("rtx4090", 24, 82.6, 165.2),
        _gpu("rtx3090", 24, 35.6, 71),
        _gpu("v100-32gb", 32, 15.7, 125, bf16=False),
        _gpu("v100-16gb", 16, 15.7, 125, bf16=False),
        _gpu("t4", 16, 8.1, 65, bf16=False),
    )
}


def kind_of(name: str) -> Device:
    """A kind by name; UserError with the nearest one."""
    if name not in KINDS:
        known = ("here", *KINDS)
        raise UserError(f"kind={name}: there is no such device", suggest(name, known, "Kinds"))
    return KINDS[name]
