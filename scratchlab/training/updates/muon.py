"""Muon: momentum whose matrix updates are orthogonalised (Jordan et al. 2024).

For a weight matrix the momentum ``B`` of the gradient is replaced by the nearest matrix with equal
singular values, ``U Vᵀ`` where ``B = U S Vᵀ``: every direction that the gradient knows of is moved
along equally far. ``U Vᵀ`` comes from a few Newton–Schulz steps, which are matrix products only.
Embeddings, biases and norms, for which this makes no sense, are trained by AdamW.

NorMuon (Li et al. 2025) divides each row of that direction, what a neuron reads, by the root of
the mean square that it has had of late, so that all neurons learn alike. Cautious weight decay
(Chen et al. 2025) shrinks only the weights that the update moves towards zero anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scratchlab.registry import option, register
from scratchlab.training.updates.optimizers import NO_ROLES, Named
from scratchlab.training.updates.roles import RoleRates, Roles, by_role
from scratchlab.training.updates.shards import local, share_of, together
from scratchlab.training.updates.uncompiled import uncompiled

# Coefficients of the quintic that drives singular values towards 1 fastest (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearly ``U Vᵀ`` of each of ``matrices`` [n, rows, columns]: singular values in 0.7–1.2.

    Works in the dtype given; the smaller side is multiplied, so the cost of a step is
    ``2 · min² · (2 · max + min)`` operations.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # [n, min, min]
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


def products_type(tensor: Tensor) -> torch.dtype:
    """In what matrix products are computed at present: autocast's type, or that of the tensor. Not
    in float16, whose smallest number many a gradient does not reach."""
    device = tensor.device.type  # autocast does not know "meta", where there are shapes alone
    known = torch.amp.is_autocast_available(device)
    if known and torch.is_autocast_enabled(device):
        lower = torch.get_autocast_dtype(device)
        return tensor.dtype if lower == torch.float16 else lower
    return tensor.dtype


@uncompiled
class MuonAdamW(torch.optim.Optimizer):
    """Muon for the groups marked ``muon``, AdamW for the others; one state, one ``step``.

    Under autocast the Newton–Schulz steps are made in its type, as those of Jordan et al. are: in
    bfloat16 they are off by 1 %, and take a third of the time on a processor that has it.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        # "fused" tells load_state_dict to put the counts of updates where the parameters are.
        usual = {"lr": 1e-3, "weight_decay": 0.0, "cautious": False, "muon": False, "fused": True}
        super().__init__(groups, usual)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            weights = [local(p) for p in parameters]
            if not group["cautious"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            if group["muon"]:
                self._muon(parameters, group)
            else:
                self._adam(parameters, group)
        return loss

    def _muon(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        momenta = [self._buffer(p, "momentum") for p in parameters]
        parts, buffers = list(map(local, gradients)), list(map(local, momenta))
        torch._foreach_lerp_(buffers, parts, weight=1 - group["momentum"])
        updates = torch._foreach_lerp(parts, buffers, weight=group["momentum"])  # Nesterov
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, parameter in enumerate(parameters):
            by_shape.setdefault(tuple(parameter.shape), []).append(index)
        for shape, indices in by_shape.items():
            # A direction follows from the whole matrix: who holds some of its rows asks for it.
            matrices = [together(updates[i], like=parameters[i]) for i in indices]
            stacked = torch.stack(matrices)
            directions = orthogonalise(stacked.to(products_type(stacked)), group["steps"])
            # The root mean square of an AdamW update is about 0.2; matching it lets both share a
            # learning rate (Liu et al. 2025, "Muon is scalable for LLM training").
            scale = 0.2 * max(shape) ** 0.5
            for i, direction in zip(indices, directions, strict=True):
                direction = direction.to(parameters[i].dtype)
                if group["neuron_beta"] is not None:
                    direction = self._even(parameters[i], direction, group["neuron_beta"])
                    scale = 0.2
                own = local(share_of(direction, parameters[i]))
                if group["cautious"]:
                    decay_cautiously(local(parameters[i]), own, group)
                local(parameters[i]).add_(own, alpha=-group["lr"] * scale)

    def _even(self, parameter: nn.Parameter, direction: Tensor, beta: float) -> Tensor:
        """The whole direction [rows, columns] with rows of like size, of mean square 1. What is
        kept of the rows, [rows, 1], is whole too in every process."""
        state = self.state[parameter]
        if "neurons" not in state:
            state["neurons"] = direction.new_zeros(len(direction), 1)
        square = state["neurons"].lerp_(direction.square().mean(1, keepdim=True), 1 - beta)
        even = direction / (square.sqrt() + 1e-8)
        return even * (even.numel() ** 0.5 / even.norm().clamp(min=1e-7))  # no gradient: no update

    def _adam(self, parameters: list[Any], group: dict[str, Any]) -> None:
        gradients = [local(p.grad) for p in parameters if p.grad is not None]
        first = [local(self._buffer(p, "exp_avg")) for p in parameters]
        second = [local(self._buffer(p, "exp_avg_sq")) for p in parameters]
        steps = [self._step(p) for p in parameters]
        torch._foreach_add_(steps, 1)
        if group["cautious"] and group["weight_decay"]:
            # the signs of an update are those of its mean gradient
            for parameter, mean, new in zip(parameters, first, gradients, strict=True):
                decay_cautiously(local(parameter), mean.lerp(new, 1 - group["beta1"]), group)
        torch._fused_adamw_(
            [local(p) for p in parameters],
            gradients,
            first,
            second,
            [],
            steps,
            lr=group["lr"],
            beta1=group["beta1"],
            beta2=group["beta2"],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _step(self, parameter: nn.Parameter) -> Tensor:
        """The count of updates [], where the parameter is: the fused kernel asks for that."""
        state = self.state[parameter]
        if "step" not in state:
            state["step"] = torch.zeros((), device=parameter.device)
        count: Tensor = state["step"]
        return count

    def _buffer(self, parameter: nn.Parameter, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        return state[name]


def decay_cautiously(weight: Tensor, update: Tensor, group: dict[str, Any]) -> None:
    """Shrink the elements of ``weight`` that have the sign of ``update``, which is taken off."""
    share = group["lr"] * group["weight_decay"]
    weight.sub_(weight * (update * weight >= 0), alpha=share)


@register("optimizer", "muon")
class Muon:
    """Muon for weight matrices, AdamW for embeddings, biases and norms; two rates in a ratio.

    Where norms follow, the scale of an embedding does not matter and one rate suits all. A
    recurrent layer reads its embedding as it is and may want a smaller share.
    """

    @dataclass(frozen=True)
    class Config(RoleRates):
        lr: float = option(4e-3, "peak learning rate, on AdamW's scale", min=0)
        momentum: float = option(0.95, "decay of the mean of gradients (matrices)", min=0, below=1)
        adam_rate: float = option(
            1.0, "learning rate of what AdamW trains, as a share of lr", above=0
        )
        steps: int = option(5, "Newton–Schulz steps", min=1, max=100)
        neuron_beta: float | None = option(
            None, "NorMuon: decay of each neuron's mean squared update; null: plain Muon",
            min=0, below=1,
        )  # fmt: skip
        beta1: float = option(0.9, "AdamW: decay of the mean of gradients", min=0, below=1)
        beta2: float = option(0.98, "AdamW: decay of the mean squared gradients", min=0, below=1)
        eps: float = option(1e-9, "AdamW: added to the root of the second moment", above=0)
        weight_decay: float = option(0.01, "decoupled decay of matrices", min=0)
        final_decay: float = option(
            1.0,
            "share of weight_decay that is left at the end; it falls along a line",
            min=0,
            max=1,
        )
        cautious: bool = option(False, "decay only what the update moves towards zero")
        RULES: ClassVar = (
            ("final_decay == 1 or weight_decay > 0", "final_decay needs a weight_decay above 0"),
            ("not cautious or weight_decay > 0", "cautious needs a weight_decay above 0"),
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, named: Named, tables: Roles = NO_ROLES) -> torch.optim.Optimizer:
        """Sort the parameters: matrices inside layers, ``tables``, vectors."""
        c = self.config
        matrices, embeddings, vectors = [], [], []
        for _, parameter in named:
            if not parameter.requires_grad:
                continue
            if parameter.ndim != 2:
                vectors.append(parameter)
            elif parameter in tables:
                embeddings.append(parameter)
            else:
                matrices.append(parameter)
        shared = {"lr": c.lr * c.adam_rate, "beta1": c.beta1, "beta2": c.beta2, "eps": c.eps}
        groups = [
            {
                "params": matrices,
                "lr": c.lr,
                "weight_decay": c.weight_decay,
                "muon": True,
                "momentum": c.momentum,
                "steps": c.steps,
                "neuron_beta": c.neuron_beta,
            },
            {"params": embeddings, **shared, "weight_decay": c.weight_decay},
            {"params": vectors, **shared, "weight_decay": 0.0},
        ]
        for group in groups[:2]:
            group["cautious"] = c.cautious
        return MuonAdamW(by_role([g for g in groups if g["params"]], tables, c, c.lr))
