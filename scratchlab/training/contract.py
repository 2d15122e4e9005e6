"""What a trainer promises, what it is given, and what it remembers of how far it came."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.data.contract import Dataset
from scratchlab.errors import UserError
from scratchlab.methods.adapted import Adapted
from scratchlab.registry import option
from scratchlab.run.checkpoint import Checkpoint
from scratchlab.run.phases import Phases
from scratchlab.run.processes import Processes
from scratchlab.tracking.contract import Tracker

if TYPE_CHECKING:
    from scratchlab.models.contract import Model
    from scratchlab.training.profiling import Profile


@dataclass
class TrainingContext:
    """All that a trainer is given. ``validate`` runs the quick evaluators on the model as it is.

    The trainer ``fit`` needs no optimizer, scheduler or device; its model is an estimator. Of the
    ``processes`` of a run each has its own context; only the first one tracks and writes. What
    the training takes is told to ``phases``, and looked at closely by ``profile``.
    """

    adapted: Adapted
    task: Any  # a Task; None of an estimator, which has a loss of its own
    dataset: Dataset
    optimizer: Any
    scheduler: Any
    tracker: Tracker
    checkpoints: Path
    metrics: Path
    config: dict[str, Any]
    device: Any
    seed: int
    validate: Callable[[], Mapping[str, float]] | None = None
    resume: Checkpoint | None = None
    processes: Processes = field(default_factory=Processes)
    phases: Phases = field(default_factory=Phases)
    profile: Profile | None = None
    _batch_counts: dict[int, int] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.adapted.model

    def command_seconds(self) -> float:
        """Seconds since the command; of a run that went on, with those of the commands before up to
        the checkpoint that it goes on from."""
        before = float(self.resume.state.get("command_seconds", 0.0)) if self.resume else 0.0
        return before + sum(self.phases.so_far().values())

    @property
    def validates(self) -> bool:
        """Whether there is a validation split with something in it."""
        return "val" in self.dataset.splits and self.dataset.size("val") > 0

    def batch_count(self, epoch: int) -> int:
        """The training batches of an epoch; the data set plans them once to tell."""
        if epoch not in self._batch_counts:
            count = self.dataset.batch_count("train", seed=self.seed, epoch=epoch)
            self._batch_counts[epoch] = count
        return self._batch_counts[epoch]

    @property
    def metrics_bytes(self) -> int:
        """How long the file of metrics is: what is behind that goes when a run goes on."""
        return self.metrics.stat().st_size if self.metrics.exists() else 0


@dataclass(frozen=True)
class ValidationOptions:
    """What every trainer measures between epochs, and what it makes of that."""

    validation_evaluators: list[str] = option([], "evaluators that run at each validation")
    validation_limit: int | None = option(200, "examples they measure; null: all", min=1)
    monitor: str = option("val/loss", "metric that tells the best checkpoint")
    monitor_better: str = option(
        "lower", "which way the metric improves", choices=("lower", "higher")
    )
    patience: int | None = option(
        None, "validations without improvement before training stops; null: never", min=1
    )
    stop_at: dict[str, float] = option(
        {}, "what a validation must find for training to stop, such as {val/loss: 1.55}"
    )


@dataclass
class Progress:
    """Where training stands; saved in every checkpoint."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    targets: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    finished: bool = False
    seconds: float = 0.0
    command_seconds: float = 0.0
    reached: dict[str, Any] | None = None  # how trainer.stop_at was
    window: list[list[float]] = field(default_factory=list)

    def judge(self, scalars: Mapping[str, float], config: Any, tracker: Tracker) -> bool:
        """Whether a validation is the best so far; the end of training where patience is over.

        ``config`` has the options ``monitor``, ``monitor_better`` and ``patience``.
        """
        monitor = config.monitor
        if monitor not in scalars:
            known = ", ".join(sorted(scalars))
            raise UserError(f"trainer.monitor: {monitor!r} is not measured", f"Measured: {known}.")
        value = scalars[monitor]
        sign = 1 if config.monitor_better == "higher" else -1
        if self.best is None or sign * value > sign * self.best:
            self.best, self.best_step, self.stale = value, self.step, 0
            return True
        self.stale += 1
        if config.patience is not None and self.stale >= config.patience:
            self.finished = True
            tracker.message(
                f"stopped early: {monitor} has not improved in {config.patience} validations "
                f"(best {self.best:.4f} at update {self.best_step:,})"
            )
        return False


class Trainer(ABC):
    """Registered as ``@register("trainer", NAME)``; built as ``cls(config)``."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def check(self, config: Mapping[str, Any], dataset: Dataset) -> None:  # noqa: B027
        """UserError if its options do not fit the whole configuration or the data; asked before
        anything is trained."""

    @abstractmethod
    def total_steps(self, context: TrainingContext) -> int:
        """Updates from start to end."""

    @abstractmethod
    def train(self, context: TrainingContext) -> Progress:
        """Run to the end, or raise :class:`Stopped` after a signal, with a checkpoint saved."""
