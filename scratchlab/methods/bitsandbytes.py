"""The quantized layers of the bitsandbytes library, as a method beside those from scratch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scratchlab.methods.contract import MethodContext
from scratchlab.methods.quantized import LayerOptions, QuantizedLinear, Quantizer
from scratchlab.methods.replace import linear_weight
from scratchlab.models.contract import Model
from scratchlab.registry import option, register


class LibraryLinear(QuantizedLinear):
    """A layer of bitsandbytes; its integers and statistics are this module's state."""

    def __init__(self, weight: Tensor, bias: Tensor | None, kind: str, double: bool) -> None:
        super().__init__(weight.shape, bias)
        import bitsandbytes.functional as library

        self.kind = kind
        self.computed = ""  # the type of the inputs that it multiplied last
        self.fused = False
        if weight.device.type == "meta":  # the library needs numbers; sizes are known without
            self._set_aside(kind, double)
            return
        floats = weight.detach().float().contiguous()
        if kind == "int8":
            values, statistics, _ = library.int8_vectorwise_quant(floats.half())
            self.register_buffer("values", values)
            self.register_buffer("maxima", statistics.float())
            return
        layout: Any
        values, layout = library.quantize_4bit(
            floats, blocksize=64, quant_type=kind, compress_statistics=double
        )
        self.layout = layout
        self.register_buffer("values", values)
        self.register_buffer("maxima", self.layout.absmax)
        if double:
            self.register_buffer("second", self.layout.state2.absmax)
            self.register_buffer("mean", self.layout.offset)

    def _set_aside(self, kind: str, double: bool) -> None:
        """Buffers of the sizes that the library's have, without content."""
        count = self.out_features * self.in_features
        blocks = -(-count // 64)
        at: dict[str, Any] = {"device": "meta"}
        if kind == "int8":
            shape = (self.out_features, self.in_features)
            self.register_buffer("values", torch.empty(shape, dtype=torch.int8, **at))
            self.register_buffer("maxima", torch.empty(self.out_features, **at))
            return
        self.register_buffer("values", torch.empty(-(-count // 2), 1, dtype=torch.uint8, **at))
        maxima = torch.empty(blocks, dtype=torch.uint8 if double else torch.float32, **at)
        self.register_buffer("maxima", maxima)
        if double:
            self.register_buffer("second", torch.empty(-(-blocks // 256), **at))
            self.register_buffer("mean", torch.empty((), **at))

    def _statistics(self) -> Any:
        """The library's own record, with the tensors that this module holds by now."""
        layout: Any = self.layout
        layout.absmax = self.maxima
        if layout.nested:
            layout.state2.absmax = self.second
            layout.offset = self.mean
        return layout

    def dequantize(self) -> Tensor:
        import bitsandbytes.functional as library

        values: Any = self.values
        if values.device.type == "meta":
            return torch.empty(self.out_features, self.in_features, device="meta")
        if self.kind == "int8":
            maxima: Any = self.maxima
            return values.float() * (maxima[:, None] / 127)
        found: Tensor = library.dequantize_4bit(values, self._statistics())
        return found.view(self.out_features, self.in_features).float()

    def forward(self, x: Tensor) -> Tensor:
        self.computed = str(x.dtype).removeprefix("torch.")
        return super().forward(x)

    def product(self, x: Tensor) -> Tensor | None:
        """The library's own."""
        import bitsandbytes as library

        values: Any = self.values
        if x.device.type == "meta":
            return None
        if self.kind == "int8":
            state: Any = library.MatmulLtState()
            state.threshold, state.has_fp16_weights = 6.0, False
            state.CB, state.SCB = values, self.maxima
            found: Tensor = library.matmul(x, values, state=state).to(x.dtype)
        else:
            self.fused = has_kernel("gemm_4bit", x.device)
            found = library.matmul_4bit(x, values.t(), quant_state=self._statistics())
        return found


@functools.cache
def has_kernel(name: str, device: torch.device) -> bool:
    """Whether the library multiplies on this kind of device by a kernel of its own."""
    key = {"cpu": "CPU", "cuda": "CUDA", "xpu": "XPU"}.get(device.type, "")
    operator = f"bitsandbytes::{name}"
    known = bool(key) and hasattr(torch.ops.bitsandbytes, name)  # older versions have fewer
    return known and torch._C._dispatch_has_kernel_for_dispatch_key(operator, key)


@register(
    "method",
    "bitsandbytes",
    needs=("bitsandbytes",),
    extra="pretrained",
    offers=("quantized",),
)
class BitsAndBytes(Quantizer):
    """The bitsandbytes library: LLM.int8, FP4 and NF4 with or without double quantization."""

    @dataclass(frozen=True)
    class Config(LayerOptions):
        kind: str = option("nf4", "numbers that weights become", choices=("int8", "fp4", "nf4"))
        double: bool = option(False, "fp4, nf4: keep the maxima of the blocks in 8 bits too")

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (
            ("kind != 'int8' or not double", "double quantization is for fp4 and nf4"),
        )

    config: Config

    def smaller(self, name: str, layer: Any) -> LibraryLinear:
        weight, config = linear_weight(layer), self.config
        new = LibraryLinear(weight, layer.bias, config.kind, config.double)
        self.record(name, layer, new)
        self.layers.append(new)
        return new

    @property
    def products(self) -> str:
        kinds = sorted({layer.computed for layer in self.layers if layer.computed})
        if self.config.kind == "int8":
            how = "activations as 8-bit integers, outliers above 6 apart"
        elif any(layer.fused for layer in self.layers):
            how = "the library's fused kernel"
        else:
            how = "weights dequantized a layer at a time: the library has no fused kernel here"
        return f"{how}; inputs {' and '.join(kinds) or 'not seen yet'}"

    def apply(self, model: Model, context: MethodContext) -> Model:
        self.layers: list[LibraryLinear] = []
        return super().apply(model, context)

    @property
    def title(self) -> str:
        return f"bitsandbytes {self.config.kind}{' double' if self.config.double else ''}"
