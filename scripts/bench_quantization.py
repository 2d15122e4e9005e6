"""Speed of products with 4-bit weights, beside bitsandbytes' in one run.

    python scripts/bench_quantization.py [--seconds 4] [--tokens 1 8 512] [--threads N]

All matrices in the blocks of GPT-2 small and of SmolLM2 (135 million) are multiplied, one after the
other as a model does, with 1, 8 and 512 tokens in fp32 and bf16: by torch with weights in floats,
by this project's NF4, by bitsandbytes' (which dequantizes with a kernel in C++ and lets torch
multiply) and, in bf16, by bitsandbytes' fused kernel where it runs on this processor. The ways take
turns of a few passes, the first of which is not counted: others' weights are in the caches then, as
they are not when one model is all that runs. Printed are medians with quartiles, the ratio to the
faster of bitsandbytes' ways at the same precision, and the share of the bound: the longer of the
time to read the stored bytes once and of the time that the multiplications take at the measured
peak of that precision. The load of the machine stands at the top and at the end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from machine_peak import read_bandwidth
from torch import Tensor

from scratchlab.methods.nf4 import NF4Linear
from scratchlab.training.allocator import keep_freed_memory

MODELS = {  # [out, in] of the matrices of a block, and how many blocks
    "GPT-2 small": ([(2304, 768), (768, 768), (3072, 768), (768, 3072)], 12),
    "SmolLM2": (
        [*[(576, 576), (192, 576), (192, 576), (576, 576)], (1536, 576), (1536, 576), (576, 1536)],
        30,
    ),
}


def load() -> str:
    one, five, _ = os.getloadavg()
    return f"load {one:.1f} (of the last five minutes {five:.1f}) on {os.cpu_count()} cores"


def peak(dtype: torch.dtype, n: int = 2048, repeats: int = 8) -> float:
    """FLOP/s of a large product."""
    a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
    best = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * n**3 / (time.perf_counter() - start))
    return best


PASSES = 4  # of a way at a time
Way = Callable[[Tensor], Tensor]


def library_way(weight: Tensor, fused: bool) -> Way:
    """bitsandbytes' product with a matrix."""
    import bitsandbytes
    import bitsandbytes.functional as library

    codes, state = library.quantize_4bit(
        weight, blocksize=64, quant_type="nf4", compress_statistics=False
    )
    if fused:
        codes, state = library._convert_weight_packed_for_cpu(codes, state)
        return lambda x: bitsandbytes.matmul_4bit(x, codes, quant_state=state)
    return lambda x: bitsandbytes.matmul_4bit(x, codes.t(), quant_state=state)


def can_fuse() -> bool:
    import bitsandbytes.functional as library

    return bool(library.has_avx512bf16())


def ways_of(shapes: Sequence[tuple[int, int]], dtype: torch.dtype) -> dict[str, list[Way]]:
    """For each way one product for each matrix."""
    random = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=random) for shape in shapes]

    def dense(weight: Tensor) -> Way:
        kept = weight.to(dtype)
        return lambda x: x @ kept.t()

    found: dict[str, list[Way]] = {
        "floats": [dense(w) for w in weights],
        "NF4": [NF4Linear(w, None, False) for w in weights],
        "NF4 double": [NF4Linear(w, None, True) for w in weights],
        "bitsandbytes": [library_way(w, False) for w in weights],
    }
    if dtype == torch.bfloat16 and can_fuse():
        found["bitsandbytes fused"] = [library_way(w, True) for w in weights]
    return found


def measured(
    ways: dict[str, list[Way]], inputs: Sequence[Tensor], seconds: float
) -> dict[str, list[float]]:
    """Seconds of a pass over all matrices by each way, in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    begin = time.perf_counter()
    while len(times["floats"]) < 3 * PASSES or time.perf_counter() - begin < seconds:
        for name, products in ways.items():
            for number in range(PASSES + 1):
                start = time.perf_counter()
                for product, x in zip(products, inputs, strict=True):
                    product(x)
                if number:
                    times[name].append(time.perf_counter() - start)
    return times


def row(name: str, values: Sequence[float], best: float, bound: float) -> str:
    low, middle, high = (1e3 * q for q in statistics.quantiles(values, n=4))
    return (
        f"  {name:<20}{middle:>9.3f} ({low:.3f}–{high:.3f})".ljust(54)
        + f"{1e3 * best / middle:>8.2f}{bound / middle * 1e3:>10.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4, help="of each row of ways")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 8, 512])
    parser.add_argument("--threads", type=int, default=None)
    arguments: Any = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    torch.set_grad_enabled(False)
    bandwidth = read_bandwidth() * 1e9
    peaks = {dtype: peak(dtype) for dtype in (torch.float32, torch.bfloat16)}
    print(f"{torch.get_num_threads()} threads, {load()}; {bandwidth / 1e9:.1f} GB/s read, "
          f"{peaks[torch.float32] / 1e9:,.0f} GFLOP/s in fp32, "
          f"{peaks[torch.bfloat16] / 1e9:,.0f} in bf16")  # fmt: skip
    for model, (block, blocks) in MODELS.items():
        shapes = block * blocks
        weights = sum(o * i for o, i in shapes)
        for dtype in peaks:
            ways = ways_of(shapes, dtype)
            for tokens in arguments.tokens:
                inputs = {i: torch.randn(tokens, i, dtype=dtype) for _, i in shapes}
                times = measured(ways, [inputs[i] for _, i in shapes], arguments.seconds)
                best = min(statistics.median(v) for n, v in times.items() if "bits" in n)
                word = str(dtype).removeprefix("torch.")
                print(f"{model}, {word}, {tokens} token{'s' * (tokens > 1)}".ljust(34)
                      + f"{'ms a pass (quartiles)':>21}{'× b&b':>8}{'of bound':>10}")  # fmt: skip
                for name, values in times.items():
                    size = dtype.itemsize if name == "floats" else 0.5 + 4 / 64
                    least = max(weights * size / bandwidth, 2 * weights * tokens / peaks[dtype])
                    print(row(name, values, best, least), flush=True)
    print(load())


if __name__ == "__main__":
    main()
