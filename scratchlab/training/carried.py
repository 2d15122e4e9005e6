"""What some models carry from one training batch to the next, beside their weights.

A recurrent model that reads running text goes on from the state that the batch before left behind.
Other models carry nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from scratchlab.errors import UserError
from scratchlab.models.contract import Model

PREFIX = "carried."


def carried_tensors(model: Model) -> dict[str, Tensor]:
    """The carried state under names for a checkpoint; nothing for models that carry none."""
    return {f"{PREFIX}{name}": tensor for name, tensor in model.carried_state().items()}


def restore_carried(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`carried_tensors` returned, found among other ``tensors``."""
    own = {n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)}
    try:
        model.restore_carried_state(own)
    except (KeyError, ValueError) as error:
        problem = f"what the model carried from batch to batch does not fit it ({error})"
        raise UserError(f"optimizer.safetensors: {problem}") from error
