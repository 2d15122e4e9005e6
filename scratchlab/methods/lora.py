"""Low-rank adaptation (Hu et al. 2021), from scratch.

A frozen layer y = W x gets a trained change of low rank: y = W x + (alpha / rank) · B A x, with
A [rank, in] and B [out, rank]. B starts at zero, so the model starts as it was. A layer of in · out
weights trains rank · (in + out). Merged, the change is added to W and costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.errors import UserError
from scratchlab.methods.contract import Adapter, Arithmetic, Method, MethodContext, freeze
from scratchlab.methods.finetune import fresh_names, named_by
from scratchlab.methods.peft_format import (
    lora_adapter,
    trained_modules,
    unsaveable,
    write_adapter,
)
from scratchlab.methods.replace import (
    find_layers,
    linear_shape,
    linear_weight,
    replace_module,
    sharers,
)
from scratchlab.models.contract import Model
from scratchlab.registry import option, register


class LoRALinear(Adapter):
    """A linear layer of any kind (also quantized, also a Conv1D) with a low-rank change.

    ``tied``: its matrix is also that of another layer, which must not change with it.
    """

    def __init__(
        self, base: nn.Module, rank: int, alpha: float, dropout: float, tied: bool = False
    ) -> None:
        super().__init__()
        shape = linear_shape(base)
        assert shape is not None
        self.in_features, self.out_features = shape
        self.base = base
        self.scale = alpha / rank
        self.dropout = dropout
        self.tied = tied
        near = next((t for t in (*base.parameters(), *base.buffers())), torch.empty(0))
        at: dict[str, Any] = {"device": near.device, "dtype": torch.float32}
        self.lora_a = nn.Parameter(torch.empty(rank, self.in_features, **at))
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, rank, **at))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    @property
    def weight(self) -> Tensor | None:
        """That of the layer below, for models that ask for its type; None if it is quantized."""
        found: Tensor | None = self.base.weight  # type: ignore[assignment]
        return found

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] → [..., out]."""
        y: Tensor = self.base(x)
        inside = F.dropout(x, self.dropout, self.training) if self.dropout else x
        low = F.linear(inside.to(self.lora_a.dtype), self.lora_a)  # [..., rank]
        return y + F.linear(low, self.lora_b * self.scale).to(y.dtype)

    def change(self) -> Tensor:
        """What is added to the weight, [out, in]."""
        return self.scale * (self.lora_b @ self.lora_a)


@register("method", "lora")
class LoRA(Method):
    """Low-rank adaptation from scratch: small trained matrices beside frozen layers."""

    exports: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Config:
        rank: int = option(8, "rank of the change", min=1)
        alpha: float = option(16.0, "the change is scaled by alpha / rank", above=0)
        dropout: float = option(0.0, "dropped share of the inputs of the change", min=0, below=1)
        targets: list[str] = option(
            ["attention"], "layers: attention, mlp, linear (both), names or patterns"
        )
        blocks: list[int] | None = option(
            None, "only in these blocks (below 0: from the end); null: in all"
        )
        also_train: list[str] = option(
            [],
            "weights of the model that are trained too, by name or pattern; a new head always is",
        )
        orthogonality: float = option(
            0.0, "weight of the mean of |AᵀA - I|² over the layers in the loss", min=0
        )

        RULES: ClassVar[tuple[tuple[str, str], ...]] = (("targets != []", "lora needs targets"),)

    config: Config

    def apply(self, model: Model, context: MethodContext) -> Model:
        config = self.config
        names = find_layers(model, config.targets, "method.lora.targets", config.blocks)
        freeze(model)
        self.layers: dict[str, LoRALinear] = {}
        for name in names:
            base = model.get_submodule(name)
            shape = linear_shape(base)
            if shape is None:
                raise UserError(f"method.lora.targets: {name} is no linear layer")
            if config.rank > min(shape):
                raise UserError(
                    f"method.lora.rank={config.rank} is larger than the layer {name} of "
                    f"{shape[0]} × {shape[1]}",
                    f"Give a rank of at most {min(shape)}.",
                )
            layer = LoRALinear(
                base, config.rank, config.alpha, config.dropout, self._is_tied(model, name, base)
            )
            replace_module(model, name, layer)
            self.layers[name] = layer
        self._also_train(model)
        self.model, self.origin = model, context.origin
        return model

    def _is_tied(self, model: nn.Module, name: str, layer: Any) -> bool:
        weight: Tensor | None = layer.weight
        others = [] if weight is None else [n for n in sharers(model, weight) if n != name]
        if others:
            self.notes.append(
                f"{name} shares its matrix with {' and '.join(others)}, which the change "
                "does not touch"
            )
        return bool(others)

    def _also_train(self, model: Model) -> None:
        chosen = set(fresh_names(model))
        names = [n for n, _ in model.named_parameters()]
        for pattern in self.config.also_train:
            matched = {n for n in names if named_by(n, pattern)}
            if not matched:
                raise UserError(
                    f"method.lora.also_train: {pattern!r} matches no weight of this model"
                )
            chosen |= matched
        for name, parameter in model.named_parameters():
            if name in chosen:
                parameter.requires_grad_(True)

    def penalty(self) -> Tensor | None:
        """Mean over the layers of the squared distance of AᵀA from the identity.

        A here is the [in, rank] matrix of the paper's notation: the rows of ``lora_a`` are pushed
        to be orthonormal.
        """
        if not self.config.orthogonality:
            return None
        terms = []
        for layer in self.layers.values():
            gram = layer.lora_a @ layer.lora_a.t()
            terms.append((gram - torch.eye(len(gram), device=gram.device)).square().sum())
        return self.config.orthogonality * torch.stack(terms).mean()

    @property
    def mergeable(self) -> bool:
        """Not into quantized weights, nor into a matrix that another layer must keep."""
        return not any(layer.tied or layer.weight is None for layer in self.layers.values())

    @torch.no_grad()
    def merge(self, model: nn.Module) -> None:
        for name, layer in self.layers.items():
            weight = linear_weight(layer.base)
            weight.add_(layer.change().to(weight.dtype))
            replace_module(model, name, layer.base)

    def export(self, folder: Path) -> None:
        """``adapter/`` in peft's format, for ``PeftModel.from_pretrained``."""
        config = self.config
        content, tensors = lora_adapter(self.layers, config.rank, config.alpha, config.dropout)
        content["base_model_name_or_path"] = self.origin or None
        write_adapter(folder, content, tensors, self.model, trained_modules(self.model))

    def unexportable(self) -> str | None:
        return unsaveable(trained_modules(self.model), self.model)

    def arithmetic(self) -> list[Arithmetic]:
        """How many weights each kind of layer trains in place of how many."""
        rank = self.config.rank
        groups: dict[tuple[str, int, int], int] = {}
        for name, layer in self.layers.items():
            steps = [p for p in name.removesuffix(".base").split(".") if p != "inner"]
            numbers = [i for i, p in enumerate(steps) if p.isdigit()]
            short = ".".join(steps[numbers[0] + 1 :]) if numbers else ".".join(steps)
            key = (short, layer.in_features, layer.out_features)
            groups[key] = groups.get(key, 0) + 1
        rows = [lora_row(f"{n} × {name}", i, o, rank, n) for (name, i, o), n in groups.items()]
        full = sum(i * o * n for (_, i, o), n in groups.items())
        low = sum(rank * (i + o) * n for (_, i, o), n in groups.items())
        rows.append(("all", "", f"{full:,}", "", f"{low:,}", saving(full, low)))
        columns = ("layers", "in × out", "full", "rank · (in + out)", "LoRA", "saved")
        return [Arithmetic(f"LoRA of rank {rank}", columns, rows)]


def lora_row(name: str, inside: int, outside: int, rank: int, count: int = 1) -> tuple[str, ...]:
    """One line of the arithmetic: in · out weights against rank · (in + out)."""
    full, low = inside * outside * count, rank * (inside + outside) * count
    return (
        name,
        f"{inside} × {outside}",
        f"{full:,}",
        f"{rank} · ({inside} + {outside})",
        f"{low:,}",
        saving(full, low),
    )


def saving(full: int, low: int) -> str:
    """How much smaller a number of parameters has become, in words if it has not."""
    change = 100 * (1 - low / full)
    return f"{change:.2f} %" if change >= 0 else f"larger by {-change:.2f} %"
