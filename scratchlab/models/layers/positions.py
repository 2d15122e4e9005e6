"""Where a token stands: sinusoidal, learned, rotary positions, or none."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scratchlab.errors import UserError
from scratchlab.models.layers.cache import Places

KINDS = ("sinusoidal", "learned", "rotary", "none")


def sinusoidal_table(length: int, d_model: int, device: torch.device | None = None) -> Tensor:
    """Sines and cosines of Vaswani et al. (2017), section 3.5: [length, d_model].

    Even columns hold ``sin(t / 10000^(2i/d))``, odd columns the cosine of the same angle.
    """
    angles = _angles(length, d_model, 10000.0, device)
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return table[:, :d_model]


def _angles(length: int, dim: int, base: float, device: torch.device | None) -> Tensor:
    """Position times inverse frequency, [length, ceil(dim / 2)], computed in double precision."""
    steps = torch.arange(0, dim, 2, dtype=torch.float64, device=device)
    frequencies = torch.exp(steps * (-math.log(base) / dim))
    times = torch.arange(length, dtype=torch.float64, device=device)
    return torch.outer(times, frequencies)


def _end(places: Places) -> int:
    """One more than the last position."""
    return int(places.stop) if isinstance(places, slice) else int(places.max()) + 1


class Positions(nn.Module):
    """Adds absolute positions to embeddings; does nothing for ``rotary`` and ``none``.

    Sinusoidal tables grow when a longer text comes; learned ones end at ``max_length``.
    """

    table: Tensor

    def __init__(self, kind: str, d_model: int, max_length: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"unknown positions {kind!r}", f"Choices: {', '.join(KINDS)}.")
        self.kind = kind
        self.max_length = max_length
        self.d_model = d_model
        if kind == "learned":
            self.weight = nn.Parameter(torch.empty(max_length, d_model))
            nn.init.normal_(self.weight, std=0.02)
        elif kind == "sinusoidal":
            table = sinusoidal_table(max_length, d_model).to(torch.get_default_dtype())
            self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor, places: Places) -> Tensor:
        """x [B, T, D], whose tokens stand at ``places``. Changes ``x`` itself.

        Raises UserError where learned positions end before the text does.
        """
        if self.kind not in ("learned", "sinusoidal"):
            return x
        return x.add_(self.rows(_end(places))[places])

    def rows(self, end: int) -> Tensor:
        """What is added at the places 0 … end - 1 and perhaps further, [at least end, D]; UserError
        as in forward."""
        if self.kind == "learned":
            if end > self.max_length:
                raise UserError(
                    f"a text of {end} tokens exceeds the {self.max_length} learned positions",
                    "Set model.max_length higher, or choose sinusoidal or rotary positions.",
                )
            return self.weight
        if end > self.table.shape[0]:
            with torch.inference_mode(False):  # training may go on with it
                grown = sinusoidal_table(2 * end, self.d_model, self.table.device)
                self.table = grown.to(self.table.dtype)
        return self.table


Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of the angles of every token, each [T, 1, head_dim] or [B, T, 1, head_dim]."""


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021): queries and keys are turned by an angle that grows with t.

    Element i of the first half of a head forms a plane with element i of the second half. A dot
    product of two turned vectors depends on the distance of their positions only.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, max_length: int, base: float = 10000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise UserError(
                f"rotary positions need an even head size, not {head_dim}",
                "Choose model.d_model and model.n_heads such that d_model / n_heads is even.",
            )
        self.head_dim = head_dim
        self.base = base
        self.register_buffer("cos", None, persistent=False)
        self.register_buffer("sin", None, persistent=False)
        self._grow(max_length, None, torch.get_default_dtype())

    def _grow(self, length: int, device: torch.device | None, dtype: torch.dtype) -> None:
        angles = _angles(length, self.head_dim, self.base, device)
        self.cos = torch.cat([angles.cos(), angles.cos()], dim=-1).to(dtype)
        self.sin = torch.cat([-angles.sin(), angles.sin()], dim=-1).to(dtype)

    def forward(self, places: Places) -> Rotation:
        """The rotation of tokens that stand at ``places``, the same in every layer."""
        cos, sin = self.rows(_end(places))
        return cos[places].unsqueeze(-2), sin[places].unsqueeze(-2)

    def rows(self, end: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines at the places 0 … end - 1 and perhaps further, [at least end, head_dim]
        each."""
        if end > self.cos.shape[0]:
            with torch.inference_mode(False):  # training may go on with them
                self._grow(2 * end, self.cos.device, self.cos.dtype)
        return self.cos, self.sin


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """x [B, T, heads, head_dim] turned, in its own type, computed in that of the cosines."""
    cos, sin = rotation
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin).to(x.dtype)
