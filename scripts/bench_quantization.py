"""Speed of products with 4-bit weights, beside bitsandbytes' in one run.

    python scripts/bench_quantization.py [--seconds 4] [--tokens 1 8 512] [--threads N] [--quick]
                                         [--record [FOLDER]]

All matrices in the blocks of GPT-2 small and of SmolLM2 (135 million) are multiplied, one after the
other as a model does, with 1, 8 and 512 tokens in fp32 and bf16: by torch with weights in floats,
by this project's NF4, by bitsandbytes' (which dequantizes with a kernel in C++ and lets torch
multiply) and, in bf16, by bitsandbytes' fused kernel where it runs on this processor. The ways take
turns of a few passes, the first of which is not counted: others' weights are in the caches then, as
they are not when one model is all that runs. "× b&b" is the ratio to the faster of bitsandbytes'
ways at the same precision, "bound" the longer of the time to read the stored bytes once and of the
time that the multiplications take at the measured peak of that precision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from bench_report import Report, Spread, bench_parser, measuring
from machine_peak import PRECISIONS, gemm_peak, read_bandwidth
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


PASSES = 4  # of a way at a time
WARM_UP = 3  # passes of a turn before, in which its weights come into the caches
# Of a weight: half a byte, and what a block of 64 is multiplied by, which "double" keeps in a byte
# and a float for 256 blocks.
BYTES = {"NF4": 0.5 + 4 / 64, "NF4 double": 0.5 + 1 / 64 + 4 / (64 * 256)}
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
            for number in range(PASSES + WARM_UP):
                start = time.perf_counter()
                for product, x in zip(products, inputs, strict=True):
                    product(x)
                if number >= WARM_UP:
                    times[name].append(time.perf_counter() - start)
    return times


def bench(
    report: Report, model: str, shapes: Sequence[tuple[int, int]], precision: str,
    counts: Sequence[int], seconds: float,
) -> None:  # fmt: skip
    """The table of a model's matrices in a precision, for each number of tokens."""
    dtype = PRECISIONS[precision]
    columns = [
        column
        for tokens in counts
        for column in (f"{tokens:,} token{'s' * (tokens > 1)}, ms ↓", "× b&b", "bound (%) ↑")
    ]
    with report.table(f"{model}, {precision}", "weights", *columns) as table:
        ways = ways_of(shapes, dtype)
        peak = gemm_peak(dtype=dtype) * 1e9
        cells: dict[str, list[float | Spread]] = {name: [] for name in ways}
        weights = sum(o * i for o, i in shapes)
        read = {name: read_bandwidth(max(1, int(weights * size) >> 20), 20) * 1e9
                for size, name in ((dtype.itemsize, "floats"), (BYTES["NF4"], "NF4"))}  # fmt: skip
        for tokens in counts:
            inputs = {i: torch.randn(tokens, i, dtype=dtype) for _, i in shapes}
            times = measured(ways, [inputs[i] for _, i in shapes], seconds)
            spreads = {name: Spread(values) for name, values in times.items()}
            best = min(float(spread) for name, spread in spreads.items() if "bits" in name)
            for name, spread in spreads.items():
                size = dtype.itemsize if name == "floats" else BYTES.get(name, BYTES["NF4"])
                bandwidth = read["floats" if name == "floats" else "NF4"]
                least = max(weights * size / bandwidth, 2 * weights * tokens / peak)
                cells[name] += [spread * 1e3, best / float(spread), 100 * least / float(spread)]
        for name, row in cells.items():
            table.row(name, *row)
        gigabytes = ", ".join(f"{rate / 1e9:.1f} GB/s of {name}" for name, rate in read.items())
        table.notes.append(f"read: {gigabytes}; {peak / 1e9:,.0f} GFLOP/s")


def main() -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="of each number of tokens")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 8, 512])
    with measuring(parser, ["bitsandbytes"]) as (options, report):
        keep_freed_memory()
        torch.set_grad_enabled(False)
        models = {name: block * blocks for name, (block, blocks) in MODELS.items()}
        if options.quick:
            models = {"a layer of SmolLM2": MODELS["SmolLM2"][0][:1]}
        for model, shapes in models.items():
            for precision in PRECISIONS:
                seconds = 0.0 if options.quick else options.seconds
                bench(report, model, shapes, precision, options.tokens, seconds)


if __name__ == "__main__":
    main()
