"""An estimator in the place of a torch module: built, saved and loaded in the same words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.errors import UserError
from scratchlab.methods.adapted import Adapted


class Fitted(Adapted):
    """``model`` is an estimator; its checkpoint holds all of its fitted state, no method any."""

    model: Any

    def __init__(self, estimator: Any) -> None:
        self.model = estimator
        self.methods = ()
        self.base = None
        self.names, self.exporting, self.refusal = [], [], None

    def state(self) -> dict[str, Any]:
        return {name: np.array(array) for name, array in self.model.get_state().items()}

    def load(self, weights: Mapping[str, Any], origin: Path) -> None:
        try:
            arrays = {name: np.asarray(array) for name, array in weights.items()}
            self.model.set_state(arrays)
            self._check(arrays)
        except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"the state in {origin} does not fit the {type(self.model).__name__} of this "
                f"configuration ({error})",
                "Leave the options of the model as the run was trained with.",
            ) from error

    def _check(self, arrays: Mapping[str, Any]) -> None:
        """That the state is one: it comes back as it was given, and a row can be answered."""
        again = self.model.get_state()
        for name, array in again.items():
            given = arrays[name].dtype if name in arrays else np.asarray(array).dtype
            if np.asarray(array).dtype.kind != given.kind or given.kind not in "biuf":
                raise ValueError(f"{name} holds {given}")
        if (features := vars(self.model).get("n_features_in_")) is not None:
            with np.errstate(all="ignore"):
                self.model.predict(np.zeros((1, features)))

    def save_files(self, folder: Path) -> None:
        """An estimator has no files beside its state."""

    @property
    def is_complete(self) -> bool:
        return True

    def parameter_counts(self) -> tuple[int | None, int | None]:
        return None, None

    @contextmanager
    def measuring(self) -> Iterator[None]:
        yield
