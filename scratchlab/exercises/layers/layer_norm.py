"""Exercise: layer normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise layer_norm: layer normalisation.

Ba, Kiros and Hinton 2016, "Layer Normalization". Each vector x of D numbers is normed by itself:

    y = (x - mean(x)) / √(var(x) + eps) · weight + bias,    var(x) = mean((x - mean(x))²)
"""

import torch


def layer_norm(x, weight, bias, eps=1e-5):
    """x [..., D], weight [D], bias [D] → the shape of x.

    Mean and variance are those of the last dimension. The arguments stay as they are.
    """
    raise NotImplementedError
'''

NAMES = ("x", "weight", "bias", "eps")


def plain(
    wrong: frozenset[str], x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5
) -> Tensor:
    """The formula, with mistakes in it."""
    over: Any = tuple(range(x.dim() - 1)) if "norm over the batch" in wrong else -1
    mean = x.mean(over, keepdim=True)
    centred = x if "mean not subtracted" in wrong else x - mean
    if "unbiased variance" in wrong:
        count = x.numel() // mean.numel()
        variance = centred.square().sum(over, keepdim=True) / (count - 1)
    elif "difference of squares" in wrong:
        variance = x.square().mean(over, keepdim=True) - mean.square()
    else:
        variance = centred.square().mean(over, keepdim=True)
    if "missing root" in wrong:
        divisor = variance + eps
    elif "eps outside the root" in wrong:
        divisor = variance.sqrt() + eps
    elif "eps left out" in wrong:
        divisor = variance.sqrt()
    else:
        divisor = (variance + eps).sqrt()
    return centred / divisor * weight + bias


def torchs(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, eps)


@register(
    "exercise",
    "layer_norm",
    paper="Ba, Kiros & Hinton 2016",
    with_torch=True,
    use="model=gpt",
)
class LayerNorm(Exercise):
    """Layer normalisation."""

    START = START
    HINTS = (
        "Everything happens along the last dimension: x.mean(-1, keepdim=True) keeps it, so that "
        "it can be subtracted from x.",
        "The variance is the mean of the squared differences from the mean, divided by D. torch's "
        "var() divides by D - 1 unless it is told unbiased=False.",
        "eps is added to the variance, inside the root; weight and bias come last.",
    )
    MISTAKES = (
        Mistake(
            "norm over the batch",
            "layer_norm",
            "mean and variance are taken over the other dimensions (that is batch norm). Each "
            "vector is normed by itself, along the last dimension.",
        ),
        Mistake(
            "unbiased variance",
            "layer_norm",
            "the variance is divided by D - 1, as torch's var() does by itself. It is the mean of "
            "the squares: divide by D (unbiased=False).",
        ),
        Mistake(
            "eps outside the root",
            "layer_norm",
            "eps is added to the root of the variance. It belongs inside: √(var + eps).",
        ),
        Mistake(
            "eps left out",
            "layer_norm",
            "eps is not added. Where all numbers of a vector are equal this divides by 0.",
        ),
        Mistake(
            "missing root",
            "layer_norm",
            "it divides by the variance. The deviation, its root, is what makes the result of size "
            "1.",
        ),
        Mistake(
            "mean not subtracted",
            "layer_norm",
            "the mean is not subtracted (that is RMS norm).",
        ),
        Mistake(
            "difference of squares",
            "layer_norm",
            "the variance is computed as mean(x²) - mean(x)², the difference of two large numbers "
            "that are nearly equal: in float32 hardly a digit is left. Subtract the mean first.",
        ),
    )
    LIBRARY = ("layer_norm", "LayerNorm", "native_layer_norm")
    BESIDE = "torch's"

    def reference(self) -> Functions:
        return {"layer_norm": torchs}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"layer_norm": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(2)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        def made(name: str, x: Tensor, *eps: float, **more: Any) -> Case:
            more = {"gradients": NAMES[:3], **more}
            weight, bias = draw(x.shape[-1]).to(x.dtype), draw(x.shape[-1]).to(x.dtype)
            return case("layer_norm", name, NAMES[: 3 + len(eps)], (x, weight, bias, *eps), **more)

        return [
            made("three vectors of eight", 2 * draw(3, 8) + 1),
            made("[batch, time, D], D odd", draw(2, 5, 7)),
            made("one vector", draw(1, 6)),
            made("small numbers: eps counts", 1e-3 * draw(4, 6)),
            made("another eps", draw(4, 6), 0.5),
            made("all numbers of a vector equal", draw(3, 1).repeat(1, 5)),
            made("not contiguous", draw(6, 4, 3).transpose(0, 2)),
            made("float32, far from zero", (1e3 + draw(3, 64)).float(), gradients=(),
                 tolerance=2e-3),
            made("float32", draw(3, 64).float(), gradients=(), tolerance=1e-5),
        ]  # fmt: skip

    def timed(self) -> Timed:
        x, weight, bias = torch.randn(2048, 256), torch.randn(256), torch.randn(256)
        return Timed("[2048, 256]", lambda f: f["layer_norm"](x, weight, bias, 1e-5))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        models = ("gpt", "transformer_mt", "text_encoder", "gpt2", "minilm", "bart", "bert")
        return unlike("model", models, config["model"]["name"])

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The forward pass of every ``nn.LayerNorm``."""
        theirs = functions["layer_norm"]

        def forward(self: nn.LayerNorm, x: Tensor) -> Tensor:
            bias = torch.zeros_like(self.weight) if self.bias is None else self.bias
            found: Tensor = theirs(x, self.weight, bias, self.eps)
            return found

        yield Replacement(nn.LayerNorm, "forward", forward)
