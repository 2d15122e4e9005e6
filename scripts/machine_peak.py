"""What this machine can do at best: the yardsticks of the benches beside this file."""

from __future__ import annotations

import time

import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def gemm_peak(repeats: int = 4, dtype: torch.dtype = torch.float32) -> float:
    """GFLOP/s of the fastest matrix product of 512, 1024 and 2048 squared (int8: summed in 32 bits,
    its operations counted as if they were of floats)."""
    best = 0.0
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    for n in (512, 1024, 2048):
        a, b = (torch.randn(n, n).mul(9).to(dtype) for _ in range(2))
        out = multiply(a, b)
        for _ in range(repeats * (2048 // n)):
            start = time.perf_counter()
            multiply(a, b, out=out)
            best = max(best, 2 * n**3 / (time.perf_counter() - start) / 1e9)
    return best


def read_bandwidth(megabytes: int = 512, repeats: int = 4) -> float:
    """GB/s at which so much is read again and again (from caches, if it fits there), by the fastest
    of what reads it.

    A sum reads it in one stream; products of a matrix and a vector are slower, often by half.
    """
    matrix = torch.ones(megabytes * 256, 1024)
    vector, out = torch.ones(1024), torch.empty(len(matrix))
    best = 0.0
    for read in (matrix.sum, lambda: torch.mv(matrix, vector, out=out)):
        for _ in range(repeats):
            start = time.perf_counter()
            read()
            best = max(best, matrix.nbytes / (time.perf_counter() - start) / 1e9)
    return best
