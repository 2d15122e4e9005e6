"""Exercise: a LoRA layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Seen,
    Timed,
)
from scratchlab.exercises.looking import case, named_results
from scratchlab.registry import register

START = '''\
"""Exercise lora: low-rank adaptation of a linear layer.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1. The weight W of a
linear layer stays as it is; beside it, two small matrices are trained:

    y = W x + (alpha / r) B A x,    A [r, inputs],  B [outputs, r]

At the start A is random and B is zero, so that training begins with the layer as it was.
"""

import math

import torch


def start(outputs, inputs, rank):
    """→ (A [rank, inputs], B [outputs, rank]), float32.

    A from a normal distribution with mean 0 and deviation 1 / √inputs (torch's own generator), B
    zero.
    """
    raise NotImplementedError


def change(x, a, b, alpha):
    """x [..., inputs], a [r, inputs], b [outputs, r] → what is added to W x, [..., outputs]."""
    raise NotImplementedError


def merged(weight, a, b, alpha):
    """weight [outputs, inputs] → the one matrix whose product with x is W x and the change."""
    raise NotImplementedError
'''


State = tuple[Tensor, Tensor]


def plain_start(wrong: frozenset[str], outputs: int, inputs: int, rank: int) -> State:
    a = torch.randn(rank, inputs) / inputs**0.5
    if "A is zero too" in wrong:
        a = torch.zeros(rank, inputs)
    if "deviation 1" in wrong:
        a = torch.randn(rank, inputs)
    if "B is not zero" in wrong:
        return a, torch.randn(outputs, rank) / rank**0.5
    return a, torch.zeros(outputs, rank)


def scale(wrong: frozenset[str], alpha: float, rank: int) -> float:
    if wrong & {"no scaling", "merged without scaling"}:
        return 1.0
    if "alpha alone" in wrong:
        return alpha
    return alpha / rank**0.5 if "root of the rank" in wrong else alpha / rank


def plain_change(wrong: frozenset[str], x: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return scale(wrong, alpha, a.shape[0]) * (x @ a.t() @ b.t())


def plain_merged(
    wrong: frozenset[str], weight: Tensor, a: Tensor, b: Tensor, alpha: float
) -> Tensor:
    added = scale(wrong, alpha, a.shape[0]) * (b @ a)
    return weight - added if "subtracted" in wrong else weight + added


@register(
    "exercise",
    "lora",
    paper="Hu et al. 2021",
    with_torch=True,
    use="model=gpt method=lora init_from=RUN",
)
class LoRALayer(Exercise):
    """A linear layer with a low-rank change (LoRA)."""

    START = START
    HINTS = (
        "The rank is a.shape[0]; the factor before the change is alpha / rank.",
        "x is a batch of rows, so W x of the formula is x @ weight.T, and B A x is x @ a.T @ b.T.",
        "The same as one matrix: weight + (alpha / rank) * (b @ a).",
    )
    MISTAKES = (
        Mistake(
            "B is not zero",
            "start",
            "B is random. It must be zero, so that training begins with the layer as it was.",
        ),
        Mistake(
            "A is zero too",
            "start",
            "both matrices are zero. Then both gradients are zero too, and nothing is ever "
            "learned.",
        ),
        Mistake("deviation 1", "start", "A is not divided by √inputs."),
        Mistake("no scaling", "change", "the factor alpha / r is left out."),
        Mistake("alpha alone", "change", "the change is multiplied by alpha, not by alpha / r."),
        Mistake(
            "root of the rank",
            "change",
            "the factor is alpha / √r. That is rank-stabilised LoRA (Kalajdzievski 2023); LoRA has "
            "alpha / r.",
        ),
        Mistake("merged without scaling", "merged", "the factor alpha / r is left out."),
        Mistake("alpha alone", "merged", "the change is multiplied by alpha, not by alpha / r."),
        Mistake("subtracted", "merged", "the change is subtracted; it is added."),
    )
    BESIDE = "torch's products"

    def reference(self) -> Functions:
        """The change as one matrix is put together element by element."""

        def start(outputs: int, inputs: int, rank: int) -> State:
            a = torch.empty(rank, inputs).normal_(0, (1 / inputs) ** 0.5)
            return a, torch.zeros(outputs, rank)

        def change(x: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
            return torch.einsum("...i,ri,or->...o", x, a, b) * (alpha / len(a))

        def merged(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
            return torch.addmm(weight, b, a, alpha=alpha / len(a))

        return {"start": start, "change": change, "merged": merged}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {
            "start": lambda *a: plain_start(wrong, *a),
            "change": lambda *a: plain_change(wrong, *a),
            "merged": lambda *a: plain_merged(wrong, *a),
        }

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(8)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        def changed(name: str, x: Tensor, outputs: int, rank: int, alpha: float) -> Case:
            given = (x, draw(rank, x.shape[-1]), draw(outputs, rank), alpha)
            names = ("x", "a", "b", "alpha")
            return case("change", name, names, given, gradients=names[:3])

        def merging(name: str, outputs: int, inputs: int, rank: int, alpha: float) -> Case:
            given = (draw(outputs, inputs), draw(rank, inputs), draw(outputs, rank), alpha)
            return case("merged", name, ("weight", "a", "b", "alpha"), given)

        return [
            Case("start", "64 outputs, 4,096 inputs, rank 8", started(64, 4096, 8), 0.05),
            Case("start", "5 outputs, 2,000 inputs, rank 3", started(5, 2000, 3), 0.05),
            changed("a batch of rows", draw(3, 6), 5, 2, 16.0),
            changed("[batch, time, inputs]", draw(2, 3, 4), 7, 3, 4.0),
            changed("rank 1", draw(4, 3), 3, 1, 2.0),
            changed("one row, not contiguous", draw(6, 2).t()[:1], 4, 2, 0.5),
            merging("5 × 6, rank 2", 5, 6, 2, 16.0),
            merging("square, rank 3", 4, 4, 3, 6.0),
            merging("rank 1", 3, 7, 1, 2.0),
        ]

    def timed(self) -> Timed:
        x, a, b = torch.randn(1024, 256), torch.randn(8, 256), torch.randn(256, 8)
        return Timed("[1024, 256], rank 8", lambda f: f["change"](x, a, b, 16.0))

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        return None if "lora" in config["method"] else "nothing is adapted; add method=lora"

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """All three in the layer of method=lora, whatever layer lies below it."""
        from scratchlab.methods import lora as built_in

        original = built_in.LoRALinear.__init__

        def init(self: Any, *arguments: Any, **more: Any) -> None:
            original(self, *arguments, **more)
            rank = self.lora_a.shape[0]
            if self.lora_a.device.type != "meta":
                a, b = functions["start"](self.out_features, self.in_features, rank)
                with torch.no_grad():
                    self.lora_a.copy_(a)
                    self.lora_b.copy_(b)

        def forward(self: Any, x: Tensor) -> Tensor:
            y: Tensor = self.base(x)
            inside = torch.dropout(x, self.dropout, self.training) if self.dropout else x
            a, b = self.lora_a, self.lora_b
            added: Tensor = functions["change"](inside.to(a.dtype), a, b, self.scale * len(a))
            return y + added.to(y.dtype)

        def change(self: Any) -> Tensor:
            nothing = torch.zeros(self.out_features, self.in_features, device=self.lora_a.device)
            a, b = self.lora_a, self.lora_b
            found: Tensor = functions["merged"](nothing, a, b, self.scale * len(a))
            return found

        yield Replacement(built_in.LoRALinear, "__init__", init)
        yield Replacement(built_in.LoRALinear, "forward", forward)
        yield Replacement(built_in.LoRALinear, "change", change)


def started(outputs: int, inputs: int, rank: int) -> Any:
    """Shapes, B, and how A is spread, in multiples of its deviation."""

    def observe(functions: Functions) -> Seen:
        torch.manual_seed(9)
        returned = functions["start"](outputs, inputs, rank)
        a, b = named_results("start", returned, ("A", "B")).values()
        return {
            "the shape of A": list(a.shape),
            "the shape of B": list(b.shape),
            "whether B is zero": bool((b == 0).all()),
            "the deviation of A, times √inputs": float(a.std() * inputs**0.5),
            "the mean of A is near 0": bool(a.mean().abs() < 0.1),
        }

    return observe
