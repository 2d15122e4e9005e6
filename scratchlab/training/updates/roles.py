"""Learning rates by what a weight is: a row of a table, of an output layer, or no matrix at all.

The rate that suits a matrix does not suit an embedding, of which an update moves a few rows only,
or a gain that a whole layer hangs on (Yang et al. 2022, "Tensor Programs V"; Jordan et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from scratchlab.errors import UserError
from scratchlab.registry import option

Roles = Mapping[nn.Parameter, str]
"""Of the weights with a row for each token or class: ``embedding`` or ``output``."""

NAMES = {
    "embedding": "embedding",
    "output": "output layer of its own (it may be tied to the embedding)",
    "vector": "bias, gain or scalar",
}


@dataclass(frozen=True)
class RoleRates:
    """Of optimizers that know the roles of weights."""

    embedding_rate: float = option(
        1.0, "rate of embeddings, as a share of what it is else", above=0
    )
    output_rate: float = option(1.0, "the same of an output layer that is not tied", above=0)
    vector_rate: float = option(1.0, "the same of biases, gains and scalars", above=0)


def role_of(parameter: nn.Parameter, roles: Roles) -> str:
    """``embedding``, ``output``, ``vector`` or ``matrix``."""
    return "vector" if parameter.ndim < 2 else roles.get(parameter, "matrix")


def by_role(
    groups: Sequence[dict[str, Any]], roles: Roles, config: RoleRates, lr: float
) -> list[dict[str, Any]]:
    """The groups of an optimizer, with those weights in groups of their own that have another rate
    than ``lr`` (or than the group's own). As they were, where all rates are alike.

    Raises:
        UserError: a rate is for weights that are not among those that are trained.
    """
    rates = {name: getattr(config, f"{name}_rate") for name in NAMES}
    if all(rate == 1 for rate in rates.values()):
        return list(groups)
    found, met = [], set()
    for group in groups:
        parts: dict[str, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            role = role_of(parameter, roles)
            met.add(role)
            parts.setdefault(role if rates.get(role, 1) != 1 else "", []).append(parameter)
        for role, members in parts.items():
            rate = group.get("lr", lr) * rates.get(role, 1)
            found.append({**group, "params": members, "lr": rate})
    for name, rate in rates.items():
        if rate != 1 and name not in met:
            raise UserError(
                f"optimizer.{name}_rate={rate:g}: no {NAMES[name]} is trained",
                f"Leave it out, or optimizer.{name}_rate=1.",
            )
    return found
