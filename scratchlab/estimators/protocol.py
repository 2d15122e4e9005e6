"""What an outer trainer may ask of an estimator: train by epochs, be watched, be saved, go on.

:class:`Saveable` estimators give their fitted state as named NumPy arrays and take it back, so that
a checkpoint is a ``safetensors`` file and no pickle is ever written or read.

:class:`IterativeEstimator` adds training in steps that can be seen from outside::

    model.start(X, y, seed=0)
    while not model.finished_:
        metrics = model.epoch(X, y)      # {"loss": 0.41, "accuracy": 0.87}
        arrays = model.get_state()       # after any epoch; set_state goes on to the same bits
    model.finish()

``fit`` is exactly that loop. A state holds everything that decides the future of the training:
parameters, the update rule's moments, the generator that shuffles, the held-out rows and the best
parameters so far. Options are not part of it: they belong to the configuration, and
:meth:`IterativeEstimator.set_state` expects an estimator built with the same ones.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets

from scratchlab.data.contract import Dataset, Examples
from scratchlab.errors import TrainingError, UserError, suggest
from scratchlab.estimators.configured import Configured

State = dict[str, np.ndarray]
OnEpoch = Callable[[int, dict[str, float]], bool | None]


class InputError(UserError, ValueError):
    """Data or options that an estimator cannot work with.

    A ``ValueError`` as well, since that is what scikit-learn's contract promises its callers.
    """


@runtime_checkable
class Saveable(Protocol):
    """An estimator whose fitted state is a dictionary of arrays."""

    def get_state(self) -> State: ...

    def set_state(self, state: State) -> Any: ...


class IterativeEstimator(BaseEstimator, Configured, ABC):
    """An estimator that learns in epochs (passes over the rows).

    Attributes after ``start``: ``n_epochs_`` epochs done, ``finished_`` whether more training is
    pointless (the wanted number is reached, converged, or stopped early), ``history_`` the metrics
    of each epoch since ``start`` or ``set_state``.
    """

    remedy = "lower learning_rate, or standardise the features"  # where training diverges
    epochs: int
    random_state: Any
    n_epochs_: int
    finished_: bool
    history_: list[dict[str, float]]

    @property
    def planned_epochs(self) -> int:
        """The most calls of ``epoch`` that a training takes."""
        return self.epochs

    @property
    def steps_per_epoch(self) -> int:
        """Calls of ``epoch`` that one pass over the data takes."""
        return 1

    def examples(self, dataset: Dataset, split: str) -> Examples:
        """What of a split of a data set is learnt from and measured."""
        return dataset.examples(split)

    @abstractmethod
    def start(self, X: Any, y: Any, seed: int | None = None) -> Self:
        """Check the data and set the parameters to their initial values.

        X  [rows, features]; y  [rows] or [rows, outputs]. Without ``seed``, ``random_state`` rules.
        """

    @abstractmethod
    def epoch(self, X: Any, y: Any) -> dict[str, float]:
        """Learn from every row once; the metrics of this pass, measured while learning."""

    @abstractmethod
    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        """Loss and score of the present parameters on other rows."""

    @abstractmethod
    def get_state(self) -> State:
        """All that the rest of the training and the predictions depend on, as named arrays."""

    @abstractmethod
    def set_state(self, state: State) -> Self:
        """Take a state back; the estimator must have been built with the same options."""

    def finish(self) -> Self:
        """Close the training: where early stopping is on, go back to the best parameters."""
        return self

    def fit(self, X: Any, y: Any) -> Self:
        """Train from the start for ``epochs`` epochs or until ``finished_``."""
        return self.fit_epochs(X, y)

    def fit_epochs(
        self,
        X: Any,
        y: Any,
        epochs: int | None = None,
        X_val: Any = None,
        y_val: Any = None,
        on_epoch: OnEpoch | None = None,
        resume: bool = False,
    ) -> Self:
        """Train up to ``epochs`` epochs in all (default: the option), telling of each one.

        ``on_epoch(number, metrics)`` is called after every epoch, numbers from 1; the metrics hold
        ``val_…`` entries where validation rows are given. Returning True ends the training there.
        ``resume`` goes on from the present state instead of from new parameters.
        """
        if not resume:
            self.start(X, y)
        run_epoch = self._epoch_on(X, y)
        total = self.planned_epochs if epochs is None else epochs
        while self.n_epochs_ < total and not self.finished_:
            metrics = run_epoch()
            if X_val is not None:
                measured = self.evaluate(X_val, y_val)
                metrics |= {f"val_{name}": value for name, value in measured.items()}
            self.history_.append(metrics)
            if on_epoch is not None and on_epoch(self.n_epochs_, metrics):
                break
        return self.finish()

    def _epoch_on(self, X: Any, y: Any) -> Callable[[], dict[str, float]]:
        """``epoch`` bound to data; subclasses check and convert the data once for all epochs."""
        return lambda: self.epoch(X, y)

    def _seed(self, seed: int | None) -> int:
        """The seed to use: the given one, else ``random_state`` (None: a new one each time)."""
        return seed_of(self.random_state) if seed is None else seed

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"{type(self).__name__}: the loss is {loss} in epoch {self.n_epochs_ + 1}: "
                "training diverged",
                self.remedy,
            )


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """InputError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise InputError(f"{name}={value!r} is unknown", suggest(str(value), choices))


def seed_of(random_state: Any) -> int:
    """The seed that an option ``random_state`` means; of None, or of a generator, a new one."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def learn_classes(estimator: Any, y: np.ndarray) -> np.ndarray:
    """Set ``classes_`` to the labels in y [rows]; returns the number of each row's."""
    check_classification_targets(y)
    estimator.classes_, numbers = np.unique(y, return_inverse=True)
    check_two_classes(estimator.classes_, estimator)
    return numbers


def check_two_classes(classes: np.ndarray, owner: object) -> None:
    """InputError where the target has a single class: there is nothing to tell apart."""
    if len(classes) < 2:
        raise InputError(
            f"{type(owner).__name__} needs rows of at least 2 classes; "
            f"the target holds 1 class only: {classes.tolist()[0]!r}",
            "check the target column and the split",
        )
