"""What all quantizing methods share: which layers they take, and what they say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scratchlab.methods.replace import is_conv1d, short_names

QUANTIZED_COLUMNS = ("layers", "weights", "fp32", "quantized", "bits a weight")


class LayerError(NamedTuple):
    """How far the dequantized weights of a layer are from those it had."""

    name: str
    bits: float
    relative: float  # |Ŵ - W| / |W|, of the whole matrix
    largest: float  # of one weight
    snr_db: float  # 20 log10(|W| / |Ŵ - W|)


def quantizable(module: nn.Module) -> bool:
    """Whether a module is a linear layer with float weights."""
    return type(module) is nn.Linear or is_conv1d(module)


@torch.no_grad()
def layer_error(name: str, weight: Tensor, again: Tensor, bits: float) -> LayerError:
    """Compare a weight with what it becomes."""
    difference = again.float() - weight.float()
    relative = float(difference.norm() / weight.float().norm().clamp(min=1e-30))
    decibels = float("inf") if relative == 0 else float(-20 * torch.log10(torch.tensor(relative)))
    return LayerError(name, bits, relative, float(difference.abs().max()), decibels)


def size_rows(sizes: Sequence[tuple[str, int, int]]) -> list[tuple[Any, ...]]:
    """Rows of the table of sizes: equal layers of all blocks together, then the sum.

    ``sizes``: name, number of weights, bytes that are kept.
    """
    groups: dict[str, list[int]] = {}
    for name, weights, kept in sizes:
        (short,) = short_names([name]) or [name]
        count = groups.setdefault(short, [0, 0, 0])
        for i, value in enumerate((1, weights, kept)):
            count[i] += value
    rows = [
        _size_row(f"{n} × {short}" if n > 1 else short, weights, kept)
        for short, (n, weights, kept) in groups.items()
    ]
    rows.append(_size_row("all", sum(s[1] for s in sizes), sum(s[2] for s in sizes)))
    return rows


def _size_row(name: str, weights: int, kept: int) -> tuple[Any, ...]:
    return (
        name,
        f"{weights:,}",
        f"{4 * weights:,} bytes",
        f"{kept:,} bytes ({kept / (4 * weights):.1%})",
        f"{8 * kept / weights:.2f}",
    )
