"""The device that is here, to plan with: its memory, and what it computes."""

from __future__ import annotations

import time

import torch

from scratchlab.evaluation.cost.kinds import Device
from scratchlab.regular_files import machine_memory


def memory_of(device: torch.device) -> Device:
    """A device that is here, with its memory alone."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return Device(found.name, found.total_memory, {})
    return Device(device.type, machine_memory(), {}, on_cpu=device.type == "cpu")


def here(device: torch.device, precision: str, size: int = 1024) -> Device:
    """A device that is here, with what it computes in square products of a precision (``auto``:
    bf16 on GPUs, else fp32)."""
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" else "fp32"
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    size *= 8 if device.type == "cuda" else 1
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # a GPU is waited for
        best = min(best, time.perf_counter() - start)
    found = memory_of(device)
    return Device(found.name, found.memory, {precision: 2 * size**3 / best}, found.on_cpu)
