"""Where a token stands: sinusoidal, learned, rotary positions, or none."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scratchlab.errors import UserError

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


def _end(start: int | Tensor, length: int) -> int:
    """One more than the last position."""
    return int(start.max()) + 1 if isinstance(start, Tensor) else start + length


def _rows(table: Tensor, start: int | Tensor, end: int) -> Tensor:
    """The rows of a table [length, ...] for these positions."""
    return table[start] if isinstance(start, Tensor) else table[start:end]


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

    def forward(self, x: Tensor, start: int | Tensor = 0) -> Tensor:
        """x [..., T, D], whose first token stands at ``start``. Changes ``x`` itself.

        A tensor ``start`` [..., T] gives the position of every single token instead.
        Raises UserError where learned positions end before the text does.
        """
        if self.kind not in ("learned", "sinusoidal"):
            return x
        end = _end(start, x.shape[-2])
        if self.kind == "learned":
            if end > self.max_length:
                raise UserError(
                    f"a text of {end} tokens exceeds the {self.max_length} learned positions",
                    "Set model.max_length higher, or choose sinusoidal or rotary positions.",
                )
            return x.add_(_rows(self.weight, start, end))
        if end > self.table.shape[0]:
            grown = sinusoidal_table(2 * end, self.d_model, self.table.device)
            self.table = grown.to(self.table.dtype)
        return x.add_(_rows(self.table, start, end))


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

    def forward(self, x: Tensor, start: int | Tensor = 0) -> Tensor:
        """x [B, T, ..., head_dim] turned; its first token stands at ``start``.

        A tensor ``start`` [B, T] gives the position of every single token instead.
        """
        end = _end(start, x.shape[1])
        if end > self.cos.shape[0]:
            self._grow(2 * end, self.cos.device, self.cos.dtype)
        cos, sin = _rows(self.cos, start, end), _rows(self.sin, start, end)
        shape = (*cos.shape[:-1], *([1] * (x.dim() - 3)), self.head_dim)
        cos, sin = cos.view(shape), sin.view(shape)
        return torch.addcmul(x * cos, x.roll(self.head_dim // 2, dims=-1), sin)
