"""Which arithmetic to train in, found by measuring."""

from __future__ import annotations

import time

import torch

BY_NAME = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def remembered_precision(wanted: str, before: str | None) -> tuple[torch.dtype, str] | None:
    """What was measured when the run began: a second measurement could come out otherwise."""
    if wanted != "auto" or before not in BY_NAME:
        return None
    return BY_NAME[before], f"{before} (as before)"


def choose_precision(wanted: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The dtype of matrix products and one line that says why.

    ``auto`` times a product in fp32 and in bf16 on this very device: a name in a processor's
    flags says nothing about speed (bf16 can be a hundred times slower where it is emulated).
    """
    if wanted == "fp32":
        return torch.float32, "fp32 (as asked)"
    if wanted == "bf16":
        return torch.bfloat16, "bf16 (as asked)"
    if wanted == "fp16":
        return torch.float16, "fp16 with loss scaling (as asked)"
    fp32 = seconds_per_product(torch.float32, device)
    bf16 = seconds_per_product(torch.bfloat16, device, give_up_after=fp32 * 3)
    if bf16 < 0.8 * fp32:
        return torch.bfloat16, f"bf16 (measured {fp32 / bf16:.1f} × the speed of fp32 here)"
    if bf16 < fp32 * 3:
        return torch.float32, f"fp32 (bf16 measured {fp32 / bf16:.1f} × its speed here)"
    return torch.float32, "fp32 (bf16 measured much slower here)"


def seconds_per_product(
    dtype: torch.dtype, device: torch.device, size: int = 256, give_up_after: float | None = None
) -> float:
    """Best time of a few square matrix products, in seconds."""
    a = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for attempt in range(5):
        _wait(device)
        start = time.perf_counter()
        a @ a
        _wait(device)
        taken = time.perf_counter() - start
        best = min(best, taken)
        if attempt >= 1 and give_up_after is not None and best > give_up_after:
            break
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def choose_device(wanted: str) -> torch.device:
    """``auto`` takes a GPU if there is one."""
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
