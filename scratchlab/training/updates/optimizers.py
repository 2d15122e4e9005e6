"""Optimizers: torch's fused ones, with weight decay kept off biases and norms.

``build`` gets the named parameters to train and, for those that tell them from matrices, the
model's ``tables`` (:meth:`~scratchlab.models.contract.Model.tables`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from scratchlab.errors import UserError
from scratchlab.registry import option, register
from scratchlab.training.updates import uncompiled
from scratchlab.training.updates.roles import RoleRates, Roles, by_role
from scratchlab.training.updates.shards import share_of

Named = Iterable[tuple[str, nn.Parameter]]
NO_ROLES: Roles = {}
MOMENTS = ("exp_avg", "exp_avg_sq", "momentum", "momentum_buffer")  # as large as their weights


def parameter_groups(named: Named, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices with weight decay, vectors (biases, norm weights) without.

    Decay on a norm's weight or a bias does not regularise and can hurt (Loshchilov & Hutter 2019
    decay all; common practice since GPT-2 leaves these out).
    """
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for _, parameter in named:
        if parameter.requires_grad:
            (matrices if parameter.ndim >= 2 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def _fused(parameters: list[dict[str, Any]], shared: bool = True) -> bool:
    """Whether torch has a kernel for these; ``shared``: also where processes share them out."""
    all_of_them = [p for group in parameters for p in group["params"]]
    if not shared and any(hasattr(p, "to_local") for p in all_of_them):
        return False
    return {p.device.type for p in all_of_them} <= {"cpu", "cuda"}


@register("optimizer", "sgd")
class SGD:
    """Stochastic gradient descent, with momentum if asked (Polyak 1964; Nesterov 1983)."""

    @dataclass(frozen=True)
    class Config:
        lr: float = option(0.1, "peak learning rate", min=0)
        momentum: float = option(0.0, "share of the last update that is kept", min=0, below=1)
        nesterov: bool = option(False, "look ahead along the momentum")
        weight_decay: float = option(0.0, "L2 penalty on matrices", min=0)
        RULES: ClassVar = (("not nesterov or momentum > 0", "nesterov needs a momentum above 0"),)

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, named: Named, tables: Roles = NO_ROLES) -> torch.optim.Optimizer:
        c = self.config
        groups = parameter_groups(named, c.weight_decay)
        fused = _fused(groups, shared=False)
        return uncompiled.SGD(
            groups, lr=c.lr, momentum=c.momentum, nesterov=c.nesterov, fused=fused
        )


@register("optimizer", "adam")
class Adam:
    """Adam (Kingma & Ba 2015); weight decay, if any, as an L2 penalty in the gradient."""

    @dataclass(frozen=True)
    class Config:
        lr: float = option(1e-3, "peak learning rate", min=0)
        beta1: float = option(0.9, "decay of the mean of gradients", min=0, below=1)
        beta2: float = option(0.999, "decay of the mean of squared gradients", min=0, below=1)
        eps: float = option(1e-8, "added to the root of the second moment", above=0)
        weight_decay: float = option(0.0, "L2 penalty on matrices", min=0)

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, named: Named, tables: Roles = NO_ROLES) -> torch.optim.Optimizer:
        c = self.config
        groups = parameter_groups(named, c.weight_decay)
        return uncompiled.Adam(
            groups, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.eps, fused=_fused(groups)
        )


@register("optimizer", "adamw")
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    @dataclass(frozen=True)
    class Config(RoleRates):
        lr: float = option(1e-3, "peak learning rate", min=0)
        beta1: float = option(0.9, "decay of the mean of gradients", min=0, below=1)
        beta2: float = option(0.98, "decay of the mean of squared gradients", min=0, below=1)
        eps: float = option(1e-9, "added to the root of the second moment", above=0)
        weight_decay: float = option(0.01, "decoupled decay of matrices", min=0)
        final_decay: float = option(
            1.0,
            "share of weight_decay that is left at the end; it falls along a line",
            min=0,
            max=1,
        )
        RULES: ClassVar = (
            ("final_decay == 1 or weight_decay > 0", "final_decay needs a weight_decay above 0"),
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, named: Named, tables: Roles = NO_ROLES) -> torch.optim.Optimizer:
        c = self.config
        groups = by_role(parameter_groups(named, c.weight_decay), tables, c, c.lr)
        return uncompiled.AdamW(
            groups, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.eps, fused=_fused(groups)
        )


class NoOptimizer:
    """Stands for an optimizer where no update is to come: it keeps nothing.

    torch's own import its compiler when they are built, which takes about as long as torch itself.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        lr = (config.get("optimizer") or {}).get("lr", 0.0)
        self.param_groups: list[dict[str, Any]] = [{"params": [], "lr": lr}]

    def state_dict(self) -> dict[str, Any]:
        return {"state": {}}


def optimizer_tensors(optimizer: torch.optim.Optimizer | NoOptimizer) -> dict[str, torch.Tensor]:
    """The moments of an optimizer as named tensors (``optimizer.<index>.<key>``)."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{key}": torch.as_tensor(value)
        for index, entry in state.items()
        for key, value in entry.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` returned.

    Raises:
        UserError: a tensor is missing, belongs to no parameter, or has another shape or type.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if not name.startswith("optimizer."):
            continue
        number, _, key = name.removeprefix("optimizer.").partition(".")
        index = int(number) if number.isdecimal() and len(number) < 10 else len(parameters)
        if index >= len(parameters):
            raise UserError(f"optimizer.safetensors: {name} belongs to no weight of the model")
        shape = {
            "step": torch.Size(),
            "neurons": torch.Size((*parameters[index].shape[:1], 1)),
        }.get(key, parameters[index].shape)
        known = key in (*MOMENTS, "step", "neurons")  # other optimizers keep what they like
        if known and not (tensor.shape == shape and (tensor.is_floating_point() or key == "step")):
            there = f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
            problem = f"{name} is {there}, not {tuple(shape)} of floats"
            raise UserError(f"optimizer.safetensors: {problem}")
        shared = tensor.shape == parameters[index].shape
        tensor = share_of(tensor, parameters[index]) if shared else tensor
        state.setdefault(index, {})[key] = tensor
    needed = {"step", "exp_avg", "exp_avg_sq"} if isinstance(optimizer, torch.optim.Adam) else set()
    for index, entry in state.items():
        if missing := needed - set(entry):
            raise UserError(f"optimizer.safetensors: optimizer.{index}.{min(missing)} is missing")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
