"""Muon: momentum whose matrix updates are orthogonalised (Jordan et al. 2024).

For a weight matrix the momentum ``B`` of the gradient is replaced by the nearest matrix with equal
singular values, ``U Vᵀ`` where ``B = U S Vᵀ``: every direction that the gradient knows of is moved
along equally far. ``U Vᵀ`` comes from a few Newton–Schulz steps, which are matrix products only.
Embeddings, biases and norms, for which this makes no sense, are trained by AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scratchlab.registry import option, register
from scratchlab.training.updates.optimizers import Named
from scratchlab.training.updates.shards import local, share_of, together

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


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the groups marked ``muon``, AdamW for the others; one state, one ``step``."""

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        # "fused" tells load_state_dict to put the counts of updates where the parameters are.
        super().__init__(groups, {"lr": 1e-3, "weight_decay": 0.0, "muon": False, "fused": True})

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
            directions = orthogonalise(torch.stack(matrices), group["steps"])
            # The root mean square of an AdamW update is about 0.2; matching it lets both share a
            # learning rate (Liu et al. 2025, "Muon is scalable for LLM training").
            scale = 0.2 * max(shape) ** 0.5
            for i, direction in zip(indices, directions, strict=True):
                own = local(share_of(direction, parameters[i]))
                local(parameters[i]).add_(own, alpha=-group["lr"] * scale)

    def _adam(self, parameters: list[Any], group: dict[str, Any]) -> None:
        gradients = [local(p.grad) for p in parameters if p.grad is not None]
        first = [local(self._buffer(p, "exp_avg")) for p in parameters]
        second = [local(self._buffer(p, "exp_avg_sq")) for p in parameters]
        steps = [self._step(p) for p in parameters]
        torch._foreach_add_(steps, 1)
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


@register("optimizer", "muon")
class Muon:
    """Muon for weight matrices, AdamW for embeddings, biases and norms; two rates in a ratio.

    Where norms follow, the scale of an embedding does not matter and one rate suits all. A
    recurrent layer reads its embedding as it is and may want a smaller share.
    """

    @dataclass(frozen=True)
    class Config:
        lr: float = option(4e-3, "peak learning rate, on AdamW's scale", min=0)
        momentum: float = option(0.95, "decay of the mean of gradients (matrices)", min=0, below=1)
        adam_rate: float = option(
            1.0, "learning rate of what AdamW trains, as a share of lr", above=0
        )
        steps: int = option(5, "Newton–Schulz steps", min=1, max=100)
        beta1: float = option(0.9, "AdamW: decay of the mean of gradients", min=0, below=1)
        beta2: float = option(0.98, "AdamW: decay of the mean squared gradients", min=0, below=1)
        eps: float = option(1e-9, "AdamW: added to the root of the second moment", above=0)
        weight_decay: float = option(0.01, "decoupled decay of matrices", min=0)

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, named: Named, tables: Collection[nn.Parameter] = ()) -> torch.optim.Optimizer:
        """Sort the parameters: matrices inside layers, ``tables``, vectors."""
        c, rows = self.config, {id(p) for p in tables}
        matrices, embeddings, vectors = [], [], []
        for _, parameter in named:
            if not parameter.requires_grad:
                continue
            if parameter.ndim != 2:
                vectors.append(parameter)
            elif id(parameter) in rows:
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
            },
            {"params": embeddings, **shared, "weight_decay": c.weight_decay},
            {"params": vectors, **shared, "weight_decay": 0.0},
        ]
        return MuonAdamW([g for g in groups if g["params"]])
