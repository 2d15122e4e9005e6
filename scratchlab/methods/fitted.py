"""An estimator in the place of a torch module: built, saved and loaded in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scratchlab.errors import UserError
from scratchlab.methods.adapted import Adapted


class Fitted(Adapted):
    """``model`` is an estimator; its checkpoint holds all of its fitted state, no method any."""

    model: Any

    def __init__(self, estimator: Any) -> None:
        self.model = estimator
        self.methods = ()
        self.base = None
        self.names = []

    def state(self) -> dict[str, Tensor]:
        state = self.model.get_state()
        return {name: torch.from_numpy(np.array(array)) for name, array in state.items()}

    def load(self, weights: Mapping[str, Tensor], origin: Path) -> None:
        try:
            self.model.set_state({name: tensor.numpy() for name, tensor in weights.items()})
        except (KeyError, ValueError, IndexError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"the state in {origin} does not fit the {type(self.model).__name__} of this "
                f"configuration ({error})",
                "Leave the options of the model as the run was trained with.",
            ) from error

    def save_files(self, folder: Path) -> None:
        """An estimator has no files beside its state."""

    @property
    def is_complete(self) -> bool:
        return True
