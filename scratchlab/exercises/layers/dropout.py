"""Exercise: dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
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
from scratchlab.exercises.looking import case, cut_off
from scratchlab.registry import register

START = '''\
"""Exercise dropout: inverted dropout.

Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting"; in the
inverted form, where nothing is left to do when the model is used. In training each number is set to
0 with probability p, independently of all others; what is kept is divided by 1 - p, so that the
mean stays.
"""

import torch


def dropout(x, p, training):
    """x of any shape, 0 ≤ p < 1, training: truth value → the shape and type of x.

    Random numbers come from torch's own generator (torch.rand and the like), which the program
    seeds. The argument x stays as it is.
    """
    raise NotImplementedError
'''


def plain(wrong: frozenset[str], x: Tensor, p: float, training: bool) -> Tensor:
    """Inverted dropout, with mistakes in it."""
    if not training and "drops when the model is used" not in wrong:
        return x * (1 - p) if "scaled when the model is used" in wrong else x * 1
    share = 1 - p if "p is kept" in wrong else p
    shape = x.shape[-1:] if "one mask for all rows" in wrong else x.shape
    kept = (torch.rand(shape) >= share).to(x.dtype)
    if wrong & {"not scaled", "scaled when the model is used"}:
        return x * kept
    if "divided by p" in wrong:
        return x * kept / p if p else x * kept
    return x * kept / (1 - p)


def torchs(x: Tensor, p: float, training: bool) -> Tensor:
    return F.dropout(x, p, training)


@register(
    "exercise",
    "dropout",
    paper="Srivastava et al. 2014",
    with_torch=True,
    use="model=gpt model.dropout=0.1",
)
class DropoutExercise(Exercise):
    """Inverted dropout."""

    START = START
    HINTS = (
        "In evaluation (training is False) the result is x as it is: that is what the division in "
        "training is for.",
        "A mask of the shape of x: torch.rand(x.shape) >= p is True with probability 1 - p.",
        "Multiply by the mask and divide by 1 - p; the mask must have the type of x.",
    )
    MISTAKES = (
        Mistake(
            "not scaled",
            "dropout",
            "what is kept is not divided by 1 - p, so in training all sums are smaller than when "
            "the model is used.",
        ),
        Mistake(
            "scaled when the model is used",
            "dropout",
            "it multiplies by 1 - p when the model is used. That is the form of the first paper; "
            "the inverted one divides in training and does nothing later.",
        ),
        Mistake("p is kept", "dropout", "p is the share that is kept. It is the share that drops."),
        Mistake("divided by p", "dropout", "what is kept is divided by p, not by 1 - p."),
        Mistake(
            "drops when the model is used",
            "dropout",
            "training=False is not looked at: numbers are dropped when the model is used.",
        ),
        Mistake(
            "one mask for all rows",
            "dropout",
            "all rows drop the same columns. Each number of x is drawn by itself.",
        ),
    )
    LIBRARY = ("dropout", "Dropout", "native_dropout", "alpha_dropout", "feature_dropout")
    BESIDE = "torch's"

    def reference(self) -> Functions:
        return {"dropout": torchs}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"dropout": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        x = torch.linspace(-3, 3, 60, dtype=torch.float64).reshape(3, 4, 5)
        names = ("x", "p", "training")

        def random(name: str, observe: Callable[[Callable[..., Tensor]], Seen]) -> Case:
            def seeded(functions: Functions) -> Seen:
                torch.manual_seed(7)
                return observe(functions["dropout"])

            return Case("dropout", name, seeded, tolerance=0.02)

        return [
            random("training=False", _ones(0.5, False)),
            case("dropout", "p=0 in training", names, (x, 0.0, True), gradients=("x",)),
            random("300 × 1,000 ones, p=0.3", _ones(0.3)),
            random("300 × 1,000 ones, p=0.6", _ones(0.6)),
            random("is each number drawn by itself?", _independent),
            random("the gradient", _gradient),
            random("float32, not contiguous", _single),
        ]

    def timed(self) -> Timed:
        x = torch.randn(1024, 1024)
        return Timed("[1024, 1024]", lambda f: f["dropout"](x, 0.1, True))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        model = config["model"]
        if found := unlike("model", ("gpt", "transformer_mt", "text_encoder"), model["name"]):
            return found
        return None if model["dropout"] else "nothing is dropped; set model.dropout, say to 0.1"

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The forward pass of the layer, without the residual that is added to it."""
        from scratchlab.models.layers.dropout import Dropout

        def forward(self: Dropout, x: Tensor, residual: Tensor | None = None) -> Tensor:
            dropped: Tensor = functions["dropout"](x, self.p, self.training)
            return dropped if residual is None else residual + dropped

        yield Replacement(Dropout, "forward", forward)


def _ones(p: float, training: bool = True) -> Callable[[Callable[..., Tensor]], Seen]:
    def observe(dropout: Callable[..., Tensor]) -> Seen:
        y = dropout(torch.ones(300, 1000, dtype=torch.float64), p, training)
        kept = y[y != 0]
        return {
            "the share of zeros": float((y == 0).double().mean()),
            "the smallest number that is kept (of ones)": float(kept.min()) if len(kept) else 0.0,
            "the largest number that is kept (of ones)": float(kept.max()) if len(kept) else 0.0,
            "the mean (of ones)": float(y.mean()),
        }

    return observe


def _independent(dropout: Callable[..., Tensor]) -> Seen:
    first = dropout(torch.ones(50, 40), 0.5, True) == 0
    second = dropout(torch.ones(50, 40), 0.5, True) == 0
    return {
        "whether two calls drop the same": bool((first == second).all()),
        "whether all rows drop the same columns": bool((first == first[:1]).all()),
        "whether all columns drop in the same rows": bool((first == first[:, :1]).all()),
    }


def _gradient(dropout: Callable[..., Tensor]) -> Seen:
    x = torch.full((40, 50), 2.0, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.25, True)
    if not y.requires_grad:
        raise Complaint(cut_off("dropout", "x"))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    gap = (2.0 * gradient - y.detach()).abs().max()
    return {"the largest difference between the gradient and y / x": float(gap)}


def _single(dropout: Callable[..., Tensor]) -> Seen:
    x = torch.ones(30, 40).t()
    y = dropout(x, 0.5, True)
    return {"the shape": list(y.shape), "the type": str(y.dtype), "the sign": bool((y >= 0).all())}
