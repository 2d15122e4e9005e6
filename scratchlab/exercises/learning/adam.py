"""Exercise: a step of Adam."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from scratchlab.exercises.contract import (
    Case,
    Complaint,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Seen,
    Timed,
    unlike,
)
from scratchlab.registry import register

START = '''\
"""Exercise adam: one step of Adam.

Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1. With the gradient g
at step t = 1, 2, 3 …

    m ← β₁ m + (1 - β₁) g                mean of gradients
    v ← β₂ v + (1 - β₂) g²               mean of their squares
    m̂ = m / (1 - β₁ᵗ)                    both begin at 0 and are corrected for it
    v̂ = v / (1 - β₂ᵗ)
    θ ← θ - lr · m̂ / (√v̂ + eps)
"""

import torch


def adam_step(parameter, gradient, mean, square, step, lr, beta1, beta2, eps):
    """Change parameter, mean and square in place; gradient stays as it is. Returns nothing.

    parameter, gradient, mean, square: tensors of one shape. step: t, 1 at the first call.
    """
    raise NotImplementedError
'''

BETAS = (0.9, 0.999)


def plain(
    wrong: frozenset[str],
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """The step, with mistakes in it."""
    squared = gradient if "gradient in place of its square" in wrong else gradient * gradient
    if "betas swapped" in wrong:
        beta1, beta2 = beta2, beta1
    mean.mul_(beta1).add_(gradient, alpha=1.0 if "1 - β left out" in wrong else 1 - beta1)
    square.mul_(beta2).add_(squared, alpha=1.0 if "1 - β left out" in wrong else 1 - beta2)
    if "tensors not changed" in wrong:
        parameter = parameter.clone()
    t = step + ("step counted from 0" in wrong)
    m, v = mean / (1 - beta1**t), square / (1 - beta2**t)
    if "no bias correction" in wrong:
        m, v = mean, square
    if "only the mean corrected" in wrong:
        v = square
    if "eps inside the root" in wrong:
        parameter.sub_(lr * m / (v + eps).sqrt())
    elif "missing root" in wrong:
        parameter.sub_(lr * m / (v + eps))
    else:
        parameter.sub_(lr * m / (v.sqrt() + eps))


def torchs(
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    torch.optim._functional.adam(
        [parameter], [gradient], [mean], [square], [], [torch.tensor(step - 1.0)], foreach=False,
        amsgrad=False, beta1=beta1, beta2=beta2, lr=lr, weight_decay=0.0, eps=eps, maximize=False,
    )  # fmt: skip


@register(
    "exercise",
    "adam",
    paper="Kingma & Ba 2015",
    with_torch=True,
    use="model=gpt",
)
class AdamStep(Exercise):
    """One step of Adam."""

    START = START
    HINTS = (
        "In place means that the tensor that was handed over changes: mean.mul_(beta1) or "
        "mean *= beta1 do that, mean = beta1 * mean makes a new one that nobody sees.",
        "First update mean and square, then correct copies of them: mean / (1 - beta1**step). "
        "The corrected ones are not kept.",
        "eps is added after the root: parameter -= lr * m / (v.sqrt() + eps).",
    )
    MISTAKES = (
        Mistake(
            "no bias correction",
            "adam_step",
            "mean and square are used as they are. They begin at 0 and are too small in the first "
            "steps: divide by 1 - β^t.",
        ),
        Mistake(
            "only the mean corrected",
            "adam_step",
            "square is not divided by 1 - β₂^t.",
        ),
        Mistake(
            "step counted from 0",
            "adam_step",
            "the correction uses t + 1. The first call already has t = 1.",
        ),
        Mistake(
            "eps inside the root",
            "adam_step",
            "eps is added under the root, where it weighs √eps. It is added to the root.",
        ),
        Mistake(
            "missing root",
            "adam_step",
            "it divides by the mean of squares, not by its root.",
        ),
        Mistake(
            "gradient in place of its square",
            "adam_step",
            "square averages gradients, not squares of gradients.",
        ),
        Mistake("betas swapped", "adam_step", "β₁ belongs to mean, β₂ to square."),
        Mistake(
            "1 - β left out",
            "adam_step",
            "the new gradient is added with weight 1, so that mean grows to 1 / (1 - β) times a "
            "mean. It has the weight 1 - β.",
        ),
        Mistake(
            "tensors not changed",
            "adam_step",
            "the parameter does not change: parameter = parameter - … gives the name to a new "
            "tensor. Use parameter -= … or parameter.sub_(…).",
        ),
    )
    LIBRARY = ("Adam", "AdamW", "adam", "adamw")
    BESIDE = "torch's"

    def reference(self) -> Functions:
        return {"adam_step": torchs}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"adam_step": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(11)

        def made(name: str, *shape: int, steps: int = 1, size: float = 1.0, **more: Any) -> Case:
            drawn = torch.randn(steps + 1, *shape, generator=generator, dtype=torch.float64)
            dtype = more.pop("dtype", torch.float64)
            start, gradients = drawn[0].to(dtype), (size * drawn[1:]).to(dtype)
            observe = steps_of(start, gradients, more.pop("settings", (1e-2, *BETAS, 1e-8)))
            return Case("adam_step", name, observe, **more)

        return [
            made("the first step", 3, 4),
            made("three steps", 5, steps=3),
            made("20 steps", 2, 3, steps=20),
            made("tiny gradients: eps counts", 6, steps=2, size=1e-8),
            made("other settings", 4, steps=4, settings=(0.5, 0.5, 0.8, 1e-3)),
            made("a single number", steps=2),
            made("gradients of 0", 3, size=0.0),
            made("float32", 7, steps=3, dtype=torch.float32, tolerance=1e-4),
        ]

    def timed(self) -> Timed:
        tensors = [torch.randn(512, 512) for _ in range(2)] + [torch.zeros(512, 512)] * 2
        rates = (1, 1e-3, *BETAS, 1e-8)
        return Timed("[512, 512]", lambda f: f["adam_step"](*tensors, *rates))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        if config["trainer"]["name"] != "gradient":
            return "it trains torch models (model=gpt, transformer_mt, cnn and others)"
        return unlike("optimizer", ("adam", "adamw"), config["optimizer"]["name"])

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The step of the optimizers adam and adamw; what they keep has torch's names."""
        from scratchlab.training.updates import optimizers
        from scratchlab.training.updates.roles import by_role

        class Theirs(torch.optim.Adam):
            decoupled = False

            @torch.no_grad()
            def step(self, closure: Any = None) -> None:  # type: ignore[override]
                for group in self.param_groups:
                    for parameter in group["params"]:
                        if parameter.grad is not None:
                            self.change(parameter, group)

            def change(self, parameter: Tensor, group: dict[str, Any]) -> None:
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                state["step"] += 1
                gradient, decay = parameter.grad, group["weight_decay"]
                assert gradient is not None
                if decay and self.decoupled:
                    parameter.mul_(1 - group["lr"] * decay)
                elif decay:
                    gradient = gradient + decay * parameter
                moments = (state["exp_avg"], state["exp_avg_sq"])
                rates = (group["lr"], *group["betas"], group["eps"])
                functions["adam_step"](parameter, gradient, *moments, int(state["step"]), *rates)

        class Decoupled(Theirs):
            decoupled = True

        def builder(kind: type[Theirs]) -> Any:
            def build(self: Any, named: Any, tables: Any = None) -> torch.optim.Optimizer:
                c = self.config
                groups = optimizers.parameter_groups(named, c.weight_decay)
                if hasattr(c, "embedding_rate"):
                    groups = by_role(groups, tables or {}, c, c.lr)
                return kind(groups, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.eps)

            return build

        yield Replacement(optimizers.Adam, "build", builder(Theirs))
        yield Replacement(optimizers.AdamW, "build", builder(Decoupled))


def steps_of(start: Tensor, gradients: Tensor, settings: tuple[float, ...]) -> Any:
    """What several steps change, from moments that are 0."""

    def observe(functions: Functions) -> Seen:
        parameter, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        for t, gradient in enumerate(gradients, 1):
            given = gradient.clone()
            functions["adam_step"](parameter, given, mean, square, t, *settings)
            if not torch.equal(given, gradient):
                raise Complaint("adam_step changes its argument gradient; it must leave it alone")
        return {"mean": mean, "square": square, "the change of parameter": parameter - start}

    return observe
