"""What a representation promises, and how it is built, kept in a folder and found there again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from safetensors import SafetensorError
from sklearn.base import BaseEstimator

from scratchlab.data.contract import DataContext
from scratchlab.errors import UserError
from scratchlab.estimators.configured import Configured
from scratchlab.estimators.protocol import InputError, State
from scratchlab.registry import find, require_packages

STATE = "representation.safetensors"
Matrix = Any
"""[texts, features]: a NumPy array, or a SciPy ``csr_array`` where most of it is zero."""


class Representation(BaseEstimator, Configured, ABC):
    """Texts as rows of numbers, with scikit-learn's contract.

    Registered as ``@register("representation", NAME)``; its options are the arguments of the
    constructor. ``context`` says in a run where files and prepared data lie, ``device`` where to
    compute.
    """

    registered_name: ClassVar[str]
    sparse: ClassVar[bool] = False  # whether rows are SciPy's, with most entries left out
    context: DataContext | None = None
    device: Any = "cpu"

    def check_options(self) -> None:
        """InputError where the options contradict each other; called before any text is read."""

    @abstractmethod
    def fit(self, texts: Sequence[str], y: Any = None) -> Self:
        """Learn what :meth:`transform` depends on; ``y`` [texts] are the classes, if there are."""

    @abstractmethod
    def transform(self, texts: Sequence[str]) -> Matrix:
        """The texts as rows [texts, features]; a text of which nothing is known is a row of 0."""

    def transform_queries(self, texts: Sequence[str]) -> Matrix:
        """What is asked, as rows [texts, features]: the score of a document is the dot product with
        its row of :meth:`transform`. Another matrix only where the two are weighed differently."""
        return self.transform(texts)

    def fit_transform(self, texts: Sequence[str], y: Any = None) -> Matrix:
        """:meth:`fit`, and the rows of the very texts."""
        return self.fit(texts, y).transform(texts)

    @abstractmethod
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """What each column is called [features]."""

    @abstractmethod
    def get_state(self) -> State:
        """All that was learnt, as named arrays."""

    @abstractmethod
    def set_state(self, state: State) -> Self:
        """Take a state back; the options must be the same."""


def new_representation(entry: Mapping[str, Any], context: DataContext) -> Representation:
    """The unfitted representation that a checked section ``representation`` describes."""
    part = find("representation", str(entry["name"]))
    require_packages(part, "representation")
    made: Representation = part.load()(**{k: v for k, v in entry.items() if k != "name"})
    made.context = context
    made.check_options()
    return made


def save_representation(representation: Representation, folder: Path) -> None:
    """Write what was learnt into a folder."""
    from safetensors.numpy import save_file

    state = representation.get_state()
    save_file({name: np.asarray(a, order="C") for name, a in state.items()}, folder / STATE)


def load_representation(representation: Representation, folder: Path) -> None:
    """Give a representation of the same options what another one has learnt.

    Raises:
        UserError: the file is missing, damaged, or of other options.
    """
    from safetensors.numpy import load_file

    path = folder / STATE
    if not path.is_file():
        raise UserError(f"{path} is missing", "Only a run with representation=NAME has it.")
    try:
        representation.set_state(load_file(path))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        problem = error.message if isinstance(error, InputError) else str(error)
        raise UserError(
            f"{path} does not fit {representation.registered_name} of this configuration: "
            f"{problem}",
            "Leave the options of the representation as the run was trained with.",
        ) from error
