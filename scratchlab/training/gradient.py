"""The training loop. There is one; tasks, methods and models plug into it.

Everything that a later update depends on is in a checkpoint: weights, optimizer moments, random
states, the position in the data, the sums since the last log. A run that is killed and resumed
therefore ends with the same bits as one that was left alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from scratchlab.errors import Stopped, TrainingError, UserError
from scratchlab.registry import option, register
from scratchlab.run.checkpoint import Checkpoint, save
from scratchlab.run.seeds import random_state, restore_random_state
from scratchlab.tasks.contract import Loss
from scratchlab.training.average import WeightAverage
from scratchlab.training.carried import carried_tensors, restore_carried
from scratchlab.training.compiling import compiled
from scratchlab.training.interrupt import Interrupt
from scratchlab.training.job import Job, Progress, ValidationOptions
from scratchlab.training.loss_module import LossModule
from scratchlab.training.memory import memory_advice
from scratchlab.training.optimizers import optimizer_tensors, restore_optimizer
from scratchlab.training.precision import (
    asked_precision,
    autocast,
    precision_here,
    remembered_precision,
)

LONGEST_WINDOW = 1000  # losses kept one by one until they are logged


@register("trainer", "gradient")
class Gradient:
    """Gradient descent for torch modules."""

    @dataclass(frozen=True)
    class Config(ValidationOptions):
        epochs: float = option(10.0, "passes over the training data", above=0)
        max_steps: int | None = option(
            None, "updates in all; overrides epochs; 0 keeps the model as it is", min=0
        )
        accumulate: int = option(1, "batches that make one update", min=1)
        clip_norm: float | None = option(1.0, "largest norm of the gradient; null: any", above=0)
        precision: str = option(
            "auto",
            "arithmetic of matrix products; auto takes bf16 where a step is 1.3 times as fast",
            choices=("auto", "fp32", "bf16", "fp16"),
        )
        compile: bool = option(False, "compile the loss with torch.compile")
        average: float | None = option(
            None, "decay of a moving average of the weights; null: none", min=0, below=1
        )
        log_every: int = option(20, "updates between two logs; the first is always logged", min=1)
        validate_every: int | None = option(
            None, "updates between two validations; null: once an epoch", min=1
        )
        checkpoint_every: int | None = option(
            None, "updates between two checkpoints beside those at validation", min=1
        )
        keep_every: int | None = option(
            None, "updates between two checkpoints that are kept for good as step-N", min=1
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def total_steps(self, job: Job) -> int:
        """Updates from start to end; an epoch counts as long as the first one."""
        count = job.dataset.batch_count("train", seed=job.seed, epoch=0)
        if count == 0:
            raise UserError("the training split has no batches")
        if self.config.max_steps is not None:
            return self.config.max_steps
        per_epoch = math.ceil(count / self.config.accumulate)
        return max(1, round(self.config.epochs * per_epoch))

    def train(self, job: Job) -> Progress:
        """Run to the end, or raise :class:`Stopped` after a signal, with a checkpoint saved."""
        return _Training(self.config, job, self.total_steps(job)).run()


class _Training:
    """One call of :meth:`Gradient.train`: its state and its steps."""

    def __init__(self, config: Gradient.Config, job: Job, total_steps: int) -> None:
        self.config, self.job, self.total_steps = config, job, total_steps
        self.model = job.model.to(job.device)
        self.named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        if not self.named and total_steps:
            raise job.adapted.untrainable()
        self.parameters = [p for _, p in self.named]
        unused = [("unused", nn.Parameter(torch.zeros(1)))]  # optimizers refuse to have nothing
        self.optimizer = job.optimizer.build(self.named or unused)
        self.base_rates = [g["lr"] for g in self.optimizer.param_groups]
        loss_module: nn.Module = LossModule(job.adapted, job.task)
        self.loss: Callable[[Any], Loss] = compiled(loss_module) if config.compile else loss_module
        self.dtype, self.precision = self._choose_precision()
        self.scaler = torch.amp.GradScaler(job.device.type, enabled=self.dtype == torch.float16)
        self.average = WeightAverage(self.model, config.average) if config.average else None
        self.progress = Progress()
        self.window: list[tuple[torch.Tensor, torch.Tensor, int]] = []
        self.gradient_norm: torch.Tensor | None = None
        self.rate = 0.0
        self.epoch_batches: int | None = None  # counted once an epoch, not at each update
        if job.resume is not None:
            self._restore(job.resume)

    def run(self) -> Progress:
        state, tracker = self.progress, self.job.tracker
        if state.finished:
            tracker.message(f"training was complete after {state.step:,} updates")
            return state
        tracker.message(f"precision: {self.precision}")
        self.clock = time.perf_counter()
        self.log_clock, self.log_targets = self.clock, state.targets
        with Interrupt() as interrupt, memory_advice(self.job.config, lambda: state.step):
            saved = -1
            if not self.total_steps:
                state.finished = True
                self._validate()
                return state
            for group, end_of_epoch in self._groups():
                self._update(group)
                last = state.step >= self.total_steps
                if state.step % self.config.log_every == 0 or state.step == 1 or last:
                    self._log()
                every = self.config.validate_every
                due = state.step % every == 0 if every else end_of_epoch
                if due or last:
                    state.finished = last
                    self._validate()
                    saved = state.step
                elif self._checkpoint_due():
                    self._save(("last",))
                    saved = state.step
                if interrupt.requested:
                    if saved != state.step:
                        self._save(("last",))
                    raise Stopped(interrupt.requested)
                if state.finished:
                    break
        return state

    def _choose_precision(self) -> tuple[torch.dtype, str]:
        """As asked, as before, or what is faster for the first batch (uncompiled: no long wait)."""
        job, wanted = self.job, self.config.precision
        known = asked_precision("fp32" if not self.total_steps else wanted)
        if known is None and job.resume is not None:
            known = remembered_precision(job.resume.state.get("precision"))
        if known is not None:
            return known
        first = next(job.dataset.batches("train", seed=job.seed, epoch=0)).to(job.device)

        def step(dtype: torch.dtype) -> None:
            self.model.train()
            with autocast(job.device, dtype):
                loss = job.task.loss(self.model, first)
            (loss.total / loss.count).backward()
            self.model.zero_grad(set_to_none=True)

        with memory_advice(job.config, lambda: 0):
            folder = job.checkpoints.parent
            return precision_here(job.config, job.device, self.model, step, folder)

    def _groups(self) -> Iterator[tuple[list[Any], bool]]:
        """The batches of each update to come, and whether the epoch ends with it."""
        state, job = self.progress, self.job
        if state.position:
            count = job.dataset.batch_count("train", seed=job.seed, epoch=state.epoch)
            if state.position >= count > 0:  # other batches than before: this epoch is over
                state.epoch, state.position = state.epoch + 1, 0
        while True:
            batches = job.dataset.batches(
                "train", seed=job.seed, epoch=state.epoch, start=state.position
            )
            self.epoch_batches = None
            group: list[Any] = []
            upcoming = next(batches, None)
            while upcoming is not None:
                group.append(upcoming)
                upcoming = next(batches, None)
                if len(group) == self.config.accumulate or upcoming is None:
                    state.position += len(group)
                    if upcoming is None:
                        state.epoch, state.position = state.epoch + 1, 0
                    yield group, upcoming is None
                    group = []

    def _update(self, group: list[Any]) -> None:
        """One update of the weights from the batches of ``group``."""
        state = self.progress
        factor = self.job.scheduler.factor(state.step, self.total_steps)
        for base, settings in zip(self.base_rates, self.optimizer.param_groups, strict=True):
            settings["lr"] = base * factor
        self.rate = self.base_rates[0] * factor
        self.model.train()
        totals, nlls, count = [], [], 0
        for batch in group:
            with autocast(self.job.device, self.dtype):
                loss = self.loss(batch.to(self.job.device))
            scale = loss.count if len(group) == 1 else 1
            self.scaler.scale(loss.total / scale).backward()
            totals.append(loss.total.detach())
            nlls.append(loss.nll.detach())
            count += loss.count
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if len(group) > 1:
            torch._foreach_mul_(gradients, 1 / count)
        if self.config.clip_norm is not None:
            self.gradient_norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.scaler.step(self.optimizer)  # here the weights change
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if self.average is not None:
            self.average.update(state.step)
        self.window.append((sum(totals[1:], totals[0]), sum(nlls[1:], nlls[0]), count))
        if len(self.window) >= LONGEST_WINDOW:  # a run that never logs must not grow
            sums = [sum(column) for column in zip(*self._window_values())]
            self.window = [self._summed(*sums)]
        state.targets += count
        self._report_progress()

    def _report_progress(self) -> None:
        now = time.perf_counter()
        speed = (self.progress.targets - self.log_targets) / max(now - self.log_clock, 1e-9)
        self.job.tracker.progress(self.progress.step, self._epoch(), {"targets_per_second": speed})

    def _epoch(self) -> float:
        state = self.progress
        if state.position == 0:
            return float(state.epoch)
        if self.epoch_batches is None:
            self.epoch_batches = self.job.dataset.batch_count(
                "train", seed=self.job.seed, epoch=state.epoch
            )
        return state.epoch + state.position / self.epoch_batches

    def _summed(
        self, total: float, nll: float, count: float
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Numbers as an entry of the window, on the device of those to come."""
        values = torch.tensor([total, nll], dtype=torch.float64, device=self.job.device)
        return values[0], values[1], int(count)

    def _window_values(self) -> list[tuple[float, float, int]]:
        """The losses since the last log as numbers; :class:`TrainingError` at the first bad one."""
        if not self.window:
            return []
        totals = torch.stack([w[0].double() for w in self.window]).tolist()
        nlls = torch.stack([w[1].double() for w in self.window]).tolist()
        first = self.progress.step - len(self.window) + 1
        for offset, total in enumerate(totals):
            if not math.isfinite(total):
                self._stop_at_bad_loss(first + offset, total)
        return [(t, n, w[2]) for t, n, w in zip(totals, nlls, self.window, strict=True)]

    def _stop_at_bad_loss(
        self, step: int, value: float, what: str = "the loss of update {step}"
    ) -> NoReturn:
        factor = self.job.scheduler.factor(step - 1, self.total_steps)
        rate = self.base_rates[0] * factor
        advice = f"Try a lower rate (optimizer.lr={self.base_rates[0] / 10:g})"
        if self.config.clip_norm is None:
            advice += ", clip the gradient (trainer.clip_norm=1.0)"
        if self.dtype != torch.float32:
            advice += ", train in fp32 (trainer.precision=fp32)"
        raise TrainingError(
            f"{what.format(step=step)} is {value}: training cannot go on "
            f"(learning rate there {rate:.3g})",
            f"{advice}, or a longer warm-up. Checkpoints from before are kept.",
        )

    def _log(self) -> None:
        values = self._window_values()
        self.window = []
        if not values:
            return
        state = self.progress
        count = sum(v[2] for v in values)
        scalars = {
            "epoch": self._epoch(),
            "train/loss": sum(v[1] for v in values) / count,
            "train/objective": sum(v[0] for v in values) / count,
            "lr": self.rate,
        }
        if self.gradient_norm is not None:
            scalars["gradient_norm"] = float(self.gradient_norm)
        now = time.perf_counter()
        state.seconds += now - self.clock
        self.clock = now
        timing = {"seconds": state.seconds}
        if state.step > 1:  # one alone would tell how long warming up takes: it counts in the next
            speed = (state.targets - self.log_targets) / max(now - self.log_clock, 1e-9)
            timing["targets_per_second"] = speed
            self.log_clock, self.log_targets = now, state.targets
        self.job.tracker.log(state.step, scalars, timing)

    def _validate(self) -> None:
        """Measure the validation split, keep the best checkpoint, decide on stopping early."""
        self._window_values()
        state = self.progress
        started = time.perf_counter()
        roles = ["last"]
        if "val" in self.job.dataset.splits and self.job.dataset.size("val"):
            with self.average.applied() if self.average else contextlib.nullcontext():
                scalars = self._validation_scalars()
            self.job.tracker.log(state.step, {"epoch": self._epoch(), **scalars}, {})
            if not math.isfinite(scalars["val/loss"]):
                what = "val/loss after update {step}"
                self._stop_at_bad_loss(state.step, scalars["val/loss"], what)
            if state.judge(scalars, self.config, self.job.tracker):
                roles.append("best")
        elif state.finished:
            roles.append("best")
        keep = self.config.keep_every
        if keep and state.step % keep == 0:
            roles.append(f"step-{state.step}")
        self._save(tuple(roles))
        self.log_clock += time.perf_counter() - started

    @torch.no_grad()
    def _validation_scalars(self) -> dict[str, float]:
        self.model.eval()
        job = self.job
        nlls, count = [], 0
        for batch in job.dataset.batches("val", seed=job.seed, epoch=0):
            with autocast(self.job.device, self.dtype):
                loss = job.task.loss(self.model, batch.to(job.device))
            nlls.append(loss.nll.double())
            count += loss.count
        scalars = {"val/loss": float(torch.stack(nlls).sum()) / max(count, 1)}
        if job.validate is not None:
            scalars.update(job.validate())
        return scalars

    def _checkpoint_due(self) -> bool:
        step, c = self.progress.step, self.config
        return bool(
            (c.checkpoint_every and step % c.checkpoint_every == 0)
            or (c.keep_every and step % c.keep_every == 0)
        )

    def _save(self, roles: tuple[str, ...]) -> None:
        """Write a checkpoint; what was logged is brought to disk first, so that they agree."""
        state, job, keep = self.progress, self.job, self.config.keep_every
        if keep and state.step % keep == 0 and f"step-{state.step}" not in roles:
            roles = (*roles, f"step-{state.step}")
        state.window = [list(v) for v in self._window_values()]
        weights = [p.detach() for p in self.parameters]
        norms = torch._foreach_norm(weights, math.inf) if weights else []
        largest = max(map(float, norms), default=0.0)
        if not math.isfinite(largest):  # a checkpoint to go on from must be worth it
            self._stop_at_bad_loss(state.step, largest, "the largest weight after update {step}")
        now = time.perf_counter()
        state.seconds += now - self.clock
        self.clock = now
        job.tracker.flush()
        numbers = {
            **optimizer_tensors(self.optimizer),
            **random_state(),
            **carried_tensors(self.model),
            **(self.average.raw_weights() if self.average else {}),
        }
        record = {
            **dataclasses.asdict(state),
            "metrics_bytes": job.metrics.stat().st_size if job.metrics.exists() else 0,
            "total_steps": self.total_steps,
            "precision": str(self.dtype).removeprefix("torch."),
            "scaler": self.scaler.state_dict(),
            "gradient_norm": None if self.gradient_norm is None else float(self.gradient_norm),
            "spec": job.dataset.spec.as_dict(),
            "base": job.adapted.record(),
        }
        with self.average.applied() if self.average else contextlib.nullcontext():
            content = Checkpoint(job.adapted.state(), numbers, record, job.config)
            save(job.checkpoints, content, roles, self._save_files)

    def _save_files(self, folder: Path) -> None:
        self.job.dataset.save_vocabulary(folder)
        self.job.adapted.save_files(folder)

    def _restore(self, checkpoint: Checkpoint) -> None:
        record = checkpoint.state
        if not all(len(entry) == 3 for entry in record.get("window", ())):
            raise UserError("state.json: state.window holds no losses")
        names = {f.name for f in dataclasses.fields(Progress)}
        self.progress = Progress(**{k: v for k, v in record.items() if k in names})
        self.job.adapted.load(checkpoint.model, self.job.checkpoints)
        if self.average is not None:
            self.average.restore(checkpoint.optimizer)
        before = (checkpoint.config.get("optimizer") or {}).get("name")
        now = (self.job.config.get("optimizer") or {}).get("name")
        if before != now:
            raise UserError(
                f"optimizer: this run was trained with {before} and cannot go on with {now}",
                "Train another run, or leave the optimizer (its options may change).",
            )
        restore_optimizer(self.optimizer, checkpoint.optimizer)
        restore_random_state(checkpoint.optimizer)
        restore_carried(self.model, checkpoint.optimizer)
        if record.get("scaler"):
            self.scaler.load_state_dict(record["scaler"])
        self.window = [self._summed(*entry) for entry in self.progress.window]
        norm = record.get("gradient_norm")
        self.gradient_norm = None if norm is None else torch.tensor(norm)
        if self.progress.finished and self.progress.step < self.total_steps:
            self.progress.finished = self.config.patience is not None
