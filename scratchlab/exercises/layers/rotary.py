"""Exercise: rotary positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

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
"""Exercise rotary: rotary positions.

Su et al. 2021, "RoFormer". Queries and keys are turned by angles that grow with their position, so
that their dot product depends on the distance of their positions only. Element i of the first half
of a head and element i of the second half (a and b) are a point of a plane, as in Llama:

    a' = a cos(t θ_i) - b sin(t θ_i)
    b' = b cos(t θ_i) + a sin(t θ_i),      θ_i = base^(-2i / d),   i = 0 … d/2 - 1

B texts, T tokens, H heads of size d (even).
"""

import torch


def rotate(x, positions, base=10000.0):
    """x [B, T, H, d], positions [B, T] whole numbers → x turned, of the same shape and type."""
    raise NotImplementedError
'''

NAMES = ("x", "positions", "base")


def plain(wrong: frozenset[str], x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """The formula, with mistakes in it."""
    half = x.shape[-1] // 2
    steps = torch.arange(half, dtype=torch.float64) * (1 if "exponent i / d" in wrong else 2)
    times = positions.double() + ("positions from 1" in wrong)
    angles = times[:, :, None, None] * base ** (-steps / x.shape[-1])
    if "turned backwards" in wrong:
        angles = -angles
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    if "neighbours paired" in wrong:
        a, b = x[..., 0::2], x[..., 1::2]
    else:
        a, b = x[..., :half], x[..., half:]
    minus = 1 if "missing minus" in wrong else -1
    turned = a * cos + minus * b * sin, b * cos + a * sin
    if "neighbours paired" in wrong:
        return torch.stack(turned, -1).flatten(-2)
    return torch.cat(turned, -1)


def complex_turned(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """a + b·i times e^(i t θ)."""
    half = x.shape[-1] // 2
    point = torch.complex(x[..., :half].double(), x[..., half:].double())
    theta = torch.tensor([base ** (-2 * i / x.shape[-1]) for i in range(half)])
    angle = positions[:, :, None, None] * theta.double()
    turned = point * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)


class Places(NamedTuple):
    """Positions [B, T] and the base, in the place of their cosines and sines."""

    positions: Tensor
    base: float


@register(
    "exercise",
    "rotary",
    paper="Su et al. 2021",
    with_torch=True,
    use="model=gpt model.positions=rotary",
)
class RotaryPositions(Exercise):
    """Rotary positions."""

    START = START
    HINTS = (
        "Begin with the angles: positions [B, T] times the d/2 frequencies gives [B, T, d/2]; a "
        "dimension for the heads makes it [B, T, 1, d/2].",
        "a = x[..., : d // 2] and b = x[..., d // 2 :] are the two halves. Turn them as the "
        "formula says and put them together with torch.cat.",
        "Angles are best computed in float32 or float64 and their cosine and sine turned to "
        "x.dtype at the end.",
    )
    MISTAKES = (
        Mistake(
            "neighbours paired",
            "rotate",
            "elements 2i and 2i + 1 are turned together. That is the paper's layout; here, as in "
            "Llama, element i is paired with element i + d/2.",
        ),
        Mistake(
            "turned backwards",
            "rotate",
            "the angles have the other sign: a' = a cos - b sin, b' = b cos + a sin.",
        ),
        Mistake(
            "exponent i / d",
            "rotate",
            "the frequencies are base^(-i/d). Plane i turns with base^(-2i/d).",
        ),
        Mistake("positions from 1", "rotate", "one is added to the positions."),
        Mistake(
            "missing minus",
            "rotate",
            "b sin is added to a cos. It is subtracted, or lengths are not kept.",
        ),
    )
    LIBRARY = ("apply_rotary_pos_emb",)
    BESIDE = "complex numbers in torch"

    def reference(self) -> Functions:
        return {"rotate": complex_turned}

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {"rotate": lambda *a: plain(wrong, *a)}

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(4)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        def made(name: str, x: Tensor, positions: Tensor, *base: float, **more: Any) -> Case:
            more = {"gradients": ("x",), "tolerance": 1e-4, **more}
            return case("rotate", name, NAMES[: 2 + len(base)], (x, positions, *base), **more)

        counted = torch.arange(6).repeat(2, 1)
        return [
            made("two texts from position 0 on", draw(2, 6, 3, 8), counted),
            made("position 0: nothing is turned", draw(1, 1, 2, 4), torch.zeros(1, 1).long()),
            made("one token, far away", draw(1, 1, 2, 4), torch.full((1, 1), 100)),
            made("texts at unequal positions", draw(2, 3, 2, 6),
                 torch.tensor([[0, 1, 2], [7, 8, 3]])),
            made("heads of two elements", draw(1, 5, 1, 2), counted[:1, :5]),
            made("another base", draw(2, 6, 1, 8), counted, 100.0),
            made("not contiguous", draw(2, 3, 6, 8).transpose(1, 2), counted),
            made("float32", draw(2, 6, 3, 8).float(), counted, gradients=()),
        ]  # fmt: skip

    def timed(self) -> Timed:
        x, places = torch.randn(8, 128, 8, 32), torch.arange(128).repeat(8, 1)
        return Timed("[8, 128, 8, 32]", lambda f: f["rotate"](x, places, 10000.0))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        return unlike("model.positions", ("rotary",), config["model"].get("positions"))

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The turning of queries and keys; the layer is handed positions, not their cosines."""
        from scratchlab.models.layers import attention, positions

        def places_of(self: positions.Rotary, places: Any) -> Places:
            if isinstance(places, slice):
                places = torch.arange(places.start or 0, places.stop, device=self.cos.device)[None]
            return Places(places, self.base)

        def rotate(x: Tensor, rotation: Places) -> Tensor:
            where = rotation.positions.expand(x.shape[:2])
            found: Tensor = functions["rotate"](x, where, rotation.base)
            return found

        yield Replacement(positions.Rotary, "forward", places_of)
        yield Replacement(attention, "rotate", rotate)
