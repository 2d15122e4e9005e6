"""What some models carry from one training batch to the next, beside their weights.

A recurrent model that reads running text goes on from the state that the batch before left behind.
Such a model has ``carried_state()`` (named tensors) and ``restore_carried_state(tensors)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from scratchlab.errors import UserError

PREFIX = "carried."


def carried_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The carried state under names for a checkpoint; nothing for models that carry none."""
    carrier: Any = model
    state = carrier.carried_state() if hasattr(model, "carried_state") else {}
    return {f"{PREFIX}{name}": tensor for name, tensor in state.items()}


def restore_carried(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`carried_tensors` returned, found among other ``tensors``."""
    carrier: Any = model
    if hasattr(model, "carried_state"):
        own = {n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)}
        try:
            carrier.restore_carried_state(own)
        except (KeyError, ValueError) as error:
            problem = f"what the model carried from batch to batch does not fit it ({error})"
            raise UserError(f"optimizer.safetensors: {problem}") from error
