"""What all quantizing methods share: which layers they take, what stands in for those, and what
they say of them.

A layer that they were asked for is quantized or refused; what stays in floats is named.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from scratchlab.methods.contract import (
    Arithmetic,
    Method,
    MethodContext,
    StoredMatrix,
    adapter_names,
    freeze,
)
from scratchlab.methods.replace import (
    find_layers,
    is_conv1d,
    linear_weight,
    replace_module,
    sharers,
    short_names,
)
from scratchlab.models.contract import Model
from scratchlab.models.layers.token_layers import is_plain
from scratchlab.registry import option

DEQUANTIZED = "weights dequantized a layer at a time, products in the type of its input"
QUANTIZED_COLUMNS = ("layers", "weights", "fp32", "quantized", "bits a weight")


class LayerError(NamedTuple):
    """How far the dequantized weights of a layer are from those it had."""

    name: str
    bits: float
    relative: float  # |Ŵ - W| / |W|, of the whole matrix
    largest: float  # of one weight
    snr_db: float  # 20 log10(|W| / |Ŵ - W|)


@dataclass(frozen=True)
class LayerOptions:
    """Which layers a quantizer takes."""

    targets: list[str] = option(
        ["linear"], "layers: attention, mlp, linear (both), names or patterns"
    )
    blocks: list[int] | None = option(
        None, "only in these blocks (below 0: from the end); null: in all"
    )


class DequantizedProduct(torch.autograd.Function):
    """Multiply with the dequantized matrix, which is made anew for the gradient, not kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        ctx.layer = layer
        return x @ layer.matrix(x.dtype).t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] @ ctx.layer.matrix(grads[0].dtype), None


class QuantizedLinear(StoredMatrix):
    """A linear layer whose matrix is kept in fewer bits; in the place of nn.Linear or Conv1D."""

    weight = None  # there are no floats, and some models (T5) ask for their type
    fast = True  # whether a faster product is taken where no gradient is wanted

    def __init__(self, shape: Sequence[int], bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = map(int, shape)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), False)

    @property
    def quantized_shape(self) -> tuple[int, ...]:
        return self.out_features, self.in_features

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """The dequantized matrix in a type."""
        return self.dequantize().to(dtype)

    def product(self, x: Tensor) -> Tensor | None:
        """x [n, in] → [n, out] by a faster way that has no gradient; None: there is none here."""
        return None

    def few_rows(self) -> tuple[Tensor, Tensor | None] | None:
        """The matrix [out, in] for the loops over a few rows (:mod:`scratchlab.models.compiled`):
        bfloat16, or int8 with the scale of each row, [out]; None: it is kept otherwise."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] → [..., out]."""
        flat = x.reshape(-1, self.in_features)
        wanted = torch.is_grad_enabled() and x.requires_grad
        y = self.product(flat) if self.fast and not wanted else None
        if y is None:
            y = DequantizedProduct.apply(flat, self)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        found: Tensor = y.view(*x.shape[:-1], self.out_features)
        return found

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Quantizer(Method):
    """Base of the methods that store linear layers in fewer bits.

    Their options are :class:`LayerOptions`. After :meth:`apply`, ``errors`` tells how exact
    each layer is and ``sizes`` its name, number of weights and bytes; the notes and a second table
    of :meth:`arithmetic` name the matrices that stay floats.
    """

    quantizes: ClassVar[bool] = True

    @property
    @abstractmethod
    def title(self) -> str:
        """What becomes of the numbers, in one line."""

    @property
    @abstractmethod
    def products(self) -> str:
        """How its layers multiply: in which precision, by which of the ways there are."""

    @abstractmethod
    def smaller(self, name: str, layer: Any) -> nn.Module:
        """What takes the place of the layer ``name``; calls :meth:`record`."""

    def apply(self, model: Model, context: MethodContext) -> Model:
        config, kind = self.config, self.registered_name
        names: list[str] = []
        if config.targets:
            option = f"method.{kind}.targets"
            names = find_layers(model, config.targets, option, config.blocks, quantizable)
        freeze(model)
        self.errors: list[LayerError] = []
        self.sizes: list[tuple[str, int, int]] = []
        self.quantize(model, names, context)
        self.left = float_matrices(model)
        if self.left:
            listed = ", ".join(row[0] for row in matrix_rows(self.left)[:-1])
            count = sum(weights for _, weights in self.left)
            self.notes.append(f"{count:,} weights of matrices stay floats: {listed}")
        return model

    def quantize(self, model: Model, names: Sequence[str], context: MethodContext) -> None:
        """Replace the layers ``names``."""
        for name in names:
            layer: Any = model.get_submodule(name)
            others = [n for n in sharers(model, layer.weight) if n != name and n not in names]
            if others:
                self.notes.append(
                    f"{name} shared its matrix with {' and '.join(others)}, which keep the floats: "
                    "this takes more memory, not less"
                )
            replace_module(model, name, self.smaller(name, layer))

    def record(self, name: str, layer: nn.Module, stored: StoredMatrix) -> None:
        """Note that the matrix of ``layer`` became ``stored``: its bytes, and how exact it is (not
        on ``meta``, where there are no numbers)."""
        weight = linear_weight(layer).detach()
        kept = sum(b.numel() * b.element_size() for b in stored.buffers())
        self.sizes.append((name, weight.numel(), kept))
        if weight.device.type != "meta":
            bits = 8 * kept / weight.numel()
            self.errors.append(layer_error(name, weight, stored.dequantize(), bits))

    def settings(self) -> dict[str, Any]:
        return {f"{self.registered_name}_products": self.products}

    def arithmetic(self) -> list[Arithmetic]:
        tables = [Arithmetic(self.title, QUANTIZED_COLUMNS, size_rows(self.sizes))]
        if self.left:
            columns = ("layers", "weights", "fp32")
            tables.append(Arithmetic("Matrices that stay floats", columns, matrix_rows(self.left)))
        return tables


def float_matrices(model: nn.Module) -> list[tuple[str, int]]:
    """The float matrices of a model by the names of their layers (those that share one together),
    with their numbers of weights; what adapters added is left out."""
    added = set(adapter_names(model))
    found = []
    for name, parameter in model.named_parameters():
        if name in added or parameter.dim() < 2 or not parameter.is_floating_point():
            continue
        layers = sharers(model, parameter)
        found.append((" and ".join(n for n in layers if n) or name, parameter.numel()))
    return found


def matrix_rows(left: Sequence[tuple[str, int]]) -> list[tuple[str, str, str]]:
    """Rows of the table of matrices that stay floats, the largest first, then the sum."""
    groups: dict[str, list[int]] = {}
    for name, weights in left:
        short = name if " and " in name else (short_names([name]) or [name])[0]
        count = groups.setdefault(short, [0, 0])
        count[0] += 1
        count[1] += weights
    ordered = sorted(groups.items(), key=lambda item: -item[1][1])
    rows = [(f"{n} × {short}" if n > 1 else short, weights) for short, (n, weights) in ordered]
    rows.append(("all", sum(weights for _, weights in left)))
    return [(name, f"{weights:,}", f"{4 * weights:,} bytes") for name, weights in rows]


def quantizable(module: nn.Module) -> bool:
    """Whether a module is a linear layer with float weights."""
    return is_plain(module) or is_conv1d(module)


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
