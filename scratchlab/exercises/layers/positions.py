"""Exercise: embeddings with sinusoidal positions."""

from __future__ import annotations

import math
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
    Timed,
    unlike,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise positions: embeddings with sinusoidal positions.

Vaswani et al. 2017, "Attention Is All You Need", sections 3.4 and 3.5. Position t (from 0 on) has

    in column 2i      sin(t / 10000^(2i / d_model))
    in column 2i + 1  cos(t / 10000^(2i / d_model))

and is added to the embedding of the token there, which is multiplied by √d_model before.
"""

import math

import torch


def sinusoidal(length, d_model):
    """→ [length, d_model], floats. If d_model is odd, the last column is a sine."""
    raise NotImplementedError


def embed(ids, table):
    """ids [B, T] whole numbers, table [V, d_model] → [B, T, d_model], of the table's type."""
    raise NotImplementedError
'''


def plain_table(wrong: frozenset[str], length: int, d_model: int) -> Tensor:
    """The formula, with mistakes in it."""
    first = 1.0 if "positions from 1" in wrong else 0.0
    times = torch.arange(length, dtype=torch.float64)[:, None] + first
    column = torch.arange(d_model, dtype=torch.float64)
    even = column - column % 2
    if "a frequency for each column" in wrong:
        even = column
    elif "exponent i / d" in wrong:
        even = even / 2
    if "sines and cosines in halves" in wrong:
        half = (d_model + 1) // 2
        even, turn = 2 * (column % half), column >= half
    else:
        turn = column % 2 == 1
    angles = times / 10000.0 ** (even / d_model)
    if "sine and cosine swapped" in wrong:
        turn = ~turn
    return torch.where(turn, angles.cos(), angles.sin())


def plain_embed(wrong: frozenset[str], ids: Tensor, table: Tensor) -> Tensor:
    d_model = table.shape[1]
    places = spelled_out(ids.shape[1], d_model).to(table.dtype)
    rows = table[ids]
    if "positions scaled too" in wrong:
        return (rows + places) * math.sqrt(d_model)
    if "positions of the texts" in wrong:
        places = spelled_out(ids.shape[0], d_model).to(table.dtype)[:, None]
    return rows * (1.0 if "missing √d_model" in wrong else math.sqrt(d_model)) + places


def spelled_out(length: int, d_model: int) -> Tensor:
    """Number by number, with Python's own sine."""
    rows = [
        [
            (math.cos if column % 2 else math.sin)(t / 10000 ** (2 * (column // 2) / d_model))
            for column in range(d_model)
        ]
        for t in range(length)
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(length, d_model)


def embedded(ids: Tensor, table: Tensor) -> Tensor:
    hot = torch.nn.functional.one_hot(ids, table.shape[0]).to(table.dtype)
    places = spelled_out(ids.shape[1], table.shape[1]).to(table.dtype)
    return torch.einsum("btv,vd->btd", hot, table) * table.shape[1] ** 0.5 + places


@register(
    "exercise",
    "positions",
    paper="Vaswani et al. 2017",
    with_torch=True,
    use="model=gpt model.positions=sinusoidal",
)
class Positions(Exercise):
    """Embeddings with sinusoidal positions."""

    START = START
    HINTS = (
        "First the frequencies: there are as many as pairs of columns, and a sine and a cosine "
        "share one. torch.arange(0, d_model, 2) holds all the 2i.",
        "The angles are an outer product: positions [length, 1] times frequencies [1, pairs], with "
        "frequencies = 10000 ** (-torch.arange(0, d_model, 2) / d_model).",
        "To put sines into even columns and cosines into odd ones, assign to table[:, 0::2] and "
        "table[:, 1::2]; with an odd d_model there is one cosine less.",
        "table[ids] picks the rows of the embedding, [B, T, d_model]; multiply by √d_model, then "
        "add the positions [T, d_model], which are the same for every text.",
    )
    MISTAKES = (
        Mistake(
            "sines and cosines in halves",
            "sinusoidal",
            "all sines stand before all cosines. In the paper they alternate: even columns sines, "
            "odd columns cosines.",
        ),
        Mistake("positions from 1", "sinusoidal", "the first position is 1. It is 0."),
        Mistake(
            "exponent i / d",
            "sinusoidal",
            "the exponent is i / d_model. Pair i has the exponent 2i / d_model, from 0 nearly up "
            "to 1.",
        ),
        Mistake(
            "a frequency for each column",
            "sinusoidal",
            "every column has a frequency of its own. Columns 2i and 2i + 1 share that of 2i, so "
            "that a shift in time turns the pair.",
        ),
        Mistake(
            "sine and cosine swapped",
            "sinusoidal",
            "even columns hold cosines. They hold sines.",
        ),
        Mistake(
            "missing √d_model",
            "embed",
            "the embedding is not multiplied by √d_model (section 3.4), and the positions drown "
            "it.",
        ),
        Mistake(
            "positions scaled too",
            "embed",
            "the sum is multiplied by √d_model. Only the embedding is; positions are added after.",
        ),
        Mistake(
            "positions of the texts",
            "embed",
            "positions count the texts of the batch, not the tokens of a text.",
        ),
    )
    BESIDE = "plain torch"

    def reference(self) -> Functions:
        return {"sinusoidal": spelled_out, "embed": embedded}

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {
            "sinusoidal": lambda *a: plain_table(wrong, *a),
            "embed": lambda *a: plain_embed(wrong, *a),
        }

    def cases(self) -> list[Case]:
        generator = torch.Generator().manual_seed(3)

        def table_of(name: str, length: int, d_model: int) -> Case:
            def shown(seen: dict[str, Any]) -> dict[str, Any]:
                return {n: v.double() if v.is_floating_point() else v for n, v in seen.items()}

            names = ("length", "d_model")
            return case(
                "sinusoidal", name, names, (length, d_model), results=("the table",),
                tolerance=1e-4, show=shown,
            )  # fmt: skip

        def embedding_of(name: str, ids: Tensor, vocabulary: int, d_model: int) -> Case:
            table = torch.randn(vocabulary, d_model, generator=generator, dtype=torch.float64)
            return case(
                "embed", name, ("ids", "table"), (ids, table), results=("the embeddings",),
                gradients=("table",), tolerance=1e-4,
            )  # fmt: skip

        ids = torch.randint(0, 9, (2, 5), generator=generator)
        return [
            table_of("12 positions, 8 columns", 12, 8),
            table_of("one position", 1, 6),
            table_of("a far one: 300 positions", 300, 4),
            table_of("an odd number of columns", 7, 5),
            table_of("two columns", 6, 2),
            embedding_of("two texts of five tokens", ids, 9, 8),
            embedding_of("one token", ids[:1, :1], 9, 4),
            embedding_of("a token that comes again and again", torch.zeros(3, 4, dtype=torch.long),
                         5, 6),
            embedding_of("an odd number of columns", ids.t(), 9, 7),
        ]  # fmt: skip

    def timed(self) -> Timed:
        return Timed("[512, 256]", lambda f: f["sinusoidal"](512, 256))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        return unlike("model.positions", ("sinusoidal",), config["model"].get("positions"))

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """The table of sinusoidal positions; models scale and add by themselves."""
        from scratchlab.models.layers import positions as built_in

        def table(length: int, d_model: int, device: Any = None) -> Tensor:
            found: Tensor = functions["sinusoidal"](length, d_model)
            return found.to(device)

        yield Replacement(built_in, "sinusoidal_table", table)
