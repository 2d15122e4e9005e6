"""Training of estimators: NumPy models with ``fit``, watched and saved like any other run.

An update of the run is an epoch of the estimator. Estimators that learn in epochs
(:class:`~scratchlab.estimators.protocol.IterativeEstimator`) are validated, logged and saved
between them and go on from a checkpoint to the same bits; others learn in one step, their
only epoch.
What they learn from is :meth:`~scratchlab.data.contract.Dataset.examples`, unless an estimator
that learns in epochs reads its data itself.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scratchlab.data.contract import Dataset, Examples
from scratchlab.errors import Stopped, TrainingError
from scratchlab.estimators.protocol import IterativeEstimator
from scratchlab.estimators.scoring import score
from scratchlab.registry import option, register
from scratchlab.run.checkpoint import Checkpoint, save
from scratchlab.run.interrupt import Interrupt
from scratchlab.run.phases import CHECKPOINTS, FIT, VALIDATION
from scratchlab.training.contract import Progress, Trainer, TrainingContext, ValidationOptions
from scratchlab.training.target import check_goals, still_reached, stop_where_reached

SECONDS_BETWEEN_CHECKPOINTS = 10.0


@register("trainer", "fit")
class Fit(Trainer):
    """Epochs of a NumPy estimator; how many there are is an option of the model."""

    @dataclass(frozen=True)
    class Config(ValidationOptions):
        validate_every: int = option(1, "epochs between two validations", min=1)
        checkpoint_every: int | None = option(
            None, "epochs between two checkpoints; null: one every ten seconds", min=1
        )
        keep_every: int | None = option(
            None, "epochs between two checkpoints that are kept for good as step-N", min=1
        )

    def check(self, config: Mapping[str, Any], dataset: Dataset) -> None:
        check_goals(config, dataset)

    def total_steps(self, context: TrainingContext) -> int:
        """Epochs of the estimator; 1 where it learns in one step."""
        model: Any = context.model
        return model.planned_epochs if isinstance(model, IterativeEstimator) else 1

    def train(self, context: TrainingContext) -> Progress:
        return _Fitting(self.config, context, self.total_steps(context)).run()


class _Fitting:
    """One call of :meth:`Fit.train`: its state and its steps."""

    def __init__(self, config: Fit.Config, context: TrainingContext, total_steps: int) -> None:
        self.config, self.context, self.total_steps = config, context, total_steps
        self.estimator: Any = context.model
        self.progress = Progress()
        self.validation: Examples | None = None
        self.best: Checkpoint | None = None  # not yet on the disk
        self.clock = self.saved_clock = time.perf_counter()
        if context.resume is not None:
            self._restore(context.resume)

    def run(self) -> Progress:
        state = self.progress
        if state.finished:
            self.context.tracker.message(f"training was complete after {state.step:,} epochs")
            return state
        if self.context.validates:
            self.validation = self._examples("val")
        examples = self._examples("train")
        self.clock = self.saved_clock = time.perf_counter()
        phases = self.context.phases
        with phases(FIT):
            if isinstance(self.estimator, IterativeEstimator):
                self._fit_epochs(examples)
                return state
            self.estimator.fit(*examples.arguments, **examples.options)
            fitted = time.perf_counter()
            with phases(VALIDATION):
                metrics = score(self.estimator, examples.arguments)
            self.clock += time.perf_counter() - fitted  # measuring is no part of training
            self._end_epoch(metrics, last=True)
        return state

    def _examples(self, split: str) -> Examples:
        if isinstance(self.estimator, IterativeEstimator):
            return self.estimator.examples(self.context.dataset, split)
        return self.context.dataset.examples(split)

    def _fit_epochs(self, examples: Examples) -> None:
        X, y = examples.arguments
        if self.context.resume is None:
            self.estimator.start(X, y)
        if self.estimator.finished_:  # no epoch is wanted: what it begins with is kept
            self.progress.finished = True
            self.best = self._checkpoint()
            self._save()
            return
        with Interrupt() as interrupt:

            def after_epoch(number: int, metrics: dict[str, float]) -> bool:
                last = self.estimator.finished_
                if last:
                    self.estimator.finish()  # the last validation sees what will be predicted with
                self._end_epoch(metrics, last)
                if interrupt.requested:
                    self._save()
                    raise Stopped(interrupt.requested)
                return self.progress.finished

            self.estimator.fit_epochs(X, y, on_epoch=after_epoch, resume=True)

    def _end_epoch(self, metrics: Mapping[str, float], last: bool) -> None:
        """Log an epoch, validate, save what is due."""
        state, tracker = self.progress, self.context.tracker
        state.step += 1
        state.epoch = state.step
        now = time.perf_counter()
        state.seconds += now - self.clock
        self.clock = now
        tracker.log(
            state.step,
            {"epoch": self._epoch, **{_logged(k): v for k, v in metrics.items()}},
            {"seconds": state.seconds},
        )
        tracker.progress(state.step, float(self._epoch), {})
        state.finished = last
        if last or state.step % self.config.validate_every == 0:
            self._validate()
        if state.finished or self._due():
            self._save()

    @property
    def _epoch(self) -> float:
        """Passes over the data so far."""
        step = self.progress.step
        if not isinstance(self.estimator, IterativeEstimator):
            return step
        each = self.estimator.steps_per_epoch
        return step if each == 1 else step / each

    def _validate(self) -> None:
        state, context = self.progress, self.context
        if self.validation is None:
            if state.finished:
                self.best = self._checkpoint()
            return
        started = time.perf_counter()
        with context.phases(VALIDATION):
            measured = score(self.estimator, self.validation.arguments)
            scalars = {f"val/{name}": value for name, value in measured.items()}
            if context.validate is not None:
                scalars.update(context.validate())
        context.tracker.log(state.step, {"epoch": self._epoch, **scalars}, {})
        loss = scalars["val/loss"]
        if not math.isfinite(loss):
            raise TrainingError(
                f"val/loss after epoch {state.step} is {loss}: training cannot go on",
                "Lower model.learning_rate, or scale the features (dataset.scale=standard).",
            )
        best = state.judge(scalars, self.config, context.tracker)
        stop_where_reached(state, scalars, context)
        if best:
            self.best = self._checkpoint()
        self.clock += time.perf_counter() - started

    def _due(self) -> bool:
        c, step = self.config, self.progress.step
        if c.keep_every and step % c.keep_every == 0:
            return True
        if c.checkpoint_every is not None:
            return step % c.checkpoint_every == 0
        return time.perf_counter() - self.saved_clock > SECONDS_BETWEEN_CHECKPOINTS

    def _checkpoint(self) -> Checkpoint:
        context = self.context
        context.tracker.flush()
        self.progress.command_seconds = context.command_seconds()
        record = {
            **dataclasses.asdict(self.progress),
            "metrics_bytes": context.metrics_bytes,
            "total_steps": self.total_steps,
            "spec": context.dataset.spec.as_dict(),
        }
        return Checkpoint(self.context.adapted.state(), {}, record, context.config)

    def _save(self) -> None:
        """Write the best state if it is a new one, then the present one.

        In this order: a run that goes on from ``last`` finds the ``best`` that it remembers.
        """
        context, step, keep = self.context, self.progress.step, self.config.keep_every
        started = time.perf_counter()
        roles = ["last", *([f"step-{step}"] if keep and step % keep == 0 else [])]
        vocabulary = context.dataset.save_vocabulary
        with context.phases(CHECKPOINTS):
            if self.best is not None and self.best.state["step"] == step:
                roles.append("best")
            elif self.best is not None:
                save(context.checkpoints, self.best, ("best",), vocabulary)
            self.best = None
            save(context.checkpoints, self._checkpoint(), tuple(roles), vocabulary)
        self.saved_clock = time.perf_counter()
        self.clock += self.saved_clock - started

    def _restore(self, checkpoint: Checkpoint) -> None:
        record = checkpoint.state
        names = {f.name for f in dataclasses.fields(Progress)}
        self.progress = Progress(**{k: v for k, v in record.items() if k in names})
        self.context.adapted.load(checkpoint.model, self.context.checkpoints)
        more = self.progress.step < self.total_steps and self.total_steps > record["total_steps"]
        stopped = self.progress.reached is not None
        if not still_reached(self.progress, self.context.config) and (more or stopped):
            self.progress.finished = self.estimator.finished_ = False  # more epochs are wanted now


def _logged(name: str) -> str:
    """How a metric of an epoch is called in the log: rows held out are no training rows."""
    held_out = "held_out_"
    if name.startswith(held_out):
        return f"held_out/{name.removeprefix(held_out)}"
    return f"train/{name}"
