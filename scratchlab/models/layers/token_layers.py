"""Where a model has a row for each token of its vocabulary: what it tells the methods.

A model of texts has ``token_layers``, a :class:`TokenLayers` of its own modules as they are by now.
Methods that store or replace these layers ask for it, and Muon, for which their rows are no matrix;
embeddings of a model that names none are left as they are and named as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from scratchlab.models.layers.linear import Linear
from scratchlab.models.layers.positions import Positions, Rotary


@dataclass(frozen=True)
class TokenLayers:
    """``embeddings`` turn ids into vectors, that of the input first; ``output`` gives the logits
    (None: none does, or it is no linear layer)."""

    embeddings: tuple[nn.Module, ...]
    output: nn.Module | None = None


class Opening(NamedTuple):
    """How the newest tokens become the vectors that enter the first block."""

    embedding: nn.Module
    factor: float  # by which its rows are multiplied
    positions: Positions  # added to them
    rotary: Rotary | None  # in attention


def distinct(modules: Iterable[Any]) -> tuple[nn.Module, ...]:
    """Modules in their order, each once; what is no module is left out."""
    return tuple({id(m): m for m in modules if isinstance(m, nn.Module)}.values())


def plain_weight(output: Any) -> Tensor | None:
    """[V, D] where the logits are ``hidden @ weight.T``; None where a bias or what a method made of
    the layer has a say, so that the layer itself must be asked."""
    if not is_plain(output) or output.bias is not None:
        return None
    weight: Tensor = output.weight
    return weight


def is_plain(layer: Any) -> bool:
    """Whether a layer is the linear layer of torch or of this project, unchanged."""
    return type(layer) in (nn.Linear, Linear)
