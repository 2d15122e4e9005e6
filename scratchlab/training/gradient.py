"""The training loop. There is one; tasks, methods and models plug into it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import nn

from scratchlab.data.contract import Dataset
from scratchlab.errors import Stopped, UserError
from scratchlab.registry import option, register
from scratchlab.run.phases import BACKWARD, BATCHES, FORWARD, LOOP, OPTIMIZER, VALIDATION
from scratchlab.tasks.contract import Loss
from scratchlab.training.contract import Progress, Trainer, TrainingContext, ValidationOptions
from scratchlab.training.memory import memory_advice
from scratchlab.training.parallel.distributed import loss_of_own_rows, rows_of, summing
from scratchlab.training.precision import autocast
from scratchlab.training.stages import check_lengths, cut, mean_accumulate, stage
from scratchlab.training.state import State
from scratchlab.training.target import check_goals, stop_where_reached
from scratchlab.training.updates.shards import whole


@register("trainer", "gradient")
class Gradient(Trainer):
    """Gradient descent for torch modules."""

    @dataclass(frozen=True)
    class Config(ValidationOptions):
        epochs: float = option(10.0, "passes over the training data", above=0)
        max_steps: int | None = option(
            None, "updates in all; overrides epochs; 0 keeps the model as it is", min=0
        )
        accumulate: int = option(1, "batches that make one update", min=1)
        accumulate_stages: list[int] = option(
            [], "the same in equal shares of the updates, such as [1,2,4]", min=1
        )
        length_stages: list[int] = option(
            [], "tokens of a row in equal shares of the updates: blocks of text are cut", min=1
        )
        clip_norm: float | None = option(1.0, "largest norm of the gradient; null: any", above=0)
        precision: str = option(
            "auto",
            "arithmetic of matrix products; auto takes bf16 where a step is 1.3 times as fast",
            choices=("auto", "fp32", "bf16", "fp16"),
        )
        strategy: str = option(
            "ddp",
            "what several processes do: each holds all weights, or they share them out too (fsdp)",
            choices=("ddp", "fsdp"),
        )
        compile: bool = option(False, "compile the loss with torch.compile; no gain on a CPU")
        average: float | None = option(
            None, "decay of a moving average of the weights; null: none", min=0, below=1
        )
        average_last: float | None = option(
            None, "share of the updates, the last ones, whose weights are averaged; null: none",
            above=0, max=1,
        )  # fmt: skip
        log_every: int = option(20, "updates between two logs; the first is always logged", min=1)
        validate_every: int | None = option(
            None, "updates between two validations; null: once an epoch", min=1
        )
        validation_batches: int | None = option(
            None, "batches of the validation split that make val/loss; null: all", min=1
        )
        checkpoint_every: int | None = option(
            None, "updates between two checkpoints beside those at validation", min=1
        )
        keep_every: int | None = option(
            None, "updates between two checkpoints that are kept for good as step-N", min=1
        )
        profile: bool = option(
            False, "time by phase as a table, and a trace of three updates in profile/trace.json"
        )
        RULES: ClassVar = (
            (
                "average is None or average_last is None",
                "average and average_last are two averages",
            ),
            (
                "accumulate == 1 or accumulate_stages == []",
                "accumulate and accumulate_stages say the same twice",
            ),
        )

    def total_steps(self, context: TrainingContext) -> int:
        """Updates from start to end; an epoch counts as long as the first one."""
        if self.config.max_steps == 0:  # nothing is learnt, perhaps since there is nothing to learn
            return 0
        count = context.batch_count(0)
        if count == 0:
            raise UserError("the training split has no batches")
        if self.config.max_steps is not None:
            return int(self.config.max_steps)
        if self.config.accumulate_stages:
            per_epoch: float = count / mean_accumulate(vars(self.config))
        else:
            per_epoch = math.ceil(count / self.config.accumulate)
        return max(1, round(self.config.epochs * per_epoch))

    def check(self, config: Mapping[str, Any], dataset: Dataset) -> None:
        check_goals(config, dataset)
        check_lengths(self.config.length_stages, dataset)

    def train(self, context: TrainingContext) -> Progress:
        state = State(self.config, context, self.total_steps(context))
        try:
            return self._train(state)
        finally:
            state.release()

    def _train(self, state: State) -> Progress:
        at, context, tracker = state.progress, state.context, state.context.tracker
        if at.finished:
            tracker.message(f"training was complete after {at.step:,} updates")
            return at
        tracker.message(f"precision: {state.precision}")
        if state.processes.count > 1:
            shared = "the batches and the weights" if state.sharded else "the batches"
            tracker.message(f"processes: {state.processes.count} share {shared}")
        elif self.config.strategy == "fsdp":
            tracker.message("strategy: fsdp shares nothing out, since this is the only process")
        memory = memory_advice(context.config, lambda: at.step)
        with state.watched() as updated, state.phase(LOOP), state.interrupt, memory:
            if not state.total_steps:
                at.finished = True
                self.validate(state)
                return at
            for group, end_of_epoch in self.groups(state):
                self.update(state, group)
                updated()
                last = at.step >= state.total_steps
                if last or at.step == 1 or _is_due(at.step, self.config.log_every):
                    self.log(state)
                every = self.config.validate_every
                saved = True
                if last or (_is_due(at.step, every) if every else end_of_epoch):
                    at.finished = last
                    self.validate(state)
                elif any(_is_due(at.step, n) for n in self._checkpoints_every):
                    state.save("last")
                else:
                    saved = False
                stop = state.stop if state.processes.count > 1 else state.interrupt.requested
                if stop:
                    if not saved:
                        state.save("last")
                    raise Stopped(stop)
                if at.finished:
                    break
        return at

    @property
    def _checkpoints_every(self) -> tuple[int | None, ...]:
        return self.config.checkpoint_every, self.config.keep_every

    def groups(self, state: State) -> Iterator[tuple[list[Any], bool]]:
        """The batches of each update to come, and whether the epoch ends with it."""
        at, context = state.progress, state.context
        if at.position and at.position >= context.batch_count(at.epoch) > 0:
            at.epoch, at.position = at.epoch + 1, 0  # other batches than before: it is over
        while True:
            with context.phases(BATCHES):
                batches = context.dataset.batches(
                    "train", seed=context.seed, epoch=at.epoch, start=at.position
                )
                upcoming = next(batches, None)
            group: list[Any] = []
            while upcoming is not None:
                group.append(upcoming)
                with context.phases(BATCHES):
                    upcoming = next(batches, None)
                if len(group) == self.accumulated(state) or upcoming is None:
                    at.position += len(group)
                    if upcoming is None:
                        at.epoch, at.position = at.epoch + 1, 0
                    yield group, upcoming is None
                    group = []

    def accumulated(self, state: State) -> int:
        """Batches that make the coming update."""
        c, step = self.config, state.progress.step
        stages: list[int] = c.accumulate_stages
        return stage(stages, step, state.total_steps) if stages else int(c.accumulate)

    def update(self, state: State, group: list[Any]) -> None:
        """One update of the weights from the batches of ``group``.

        The sums are divided by the targets of the first batch (of several processes: its rows),
        which keeps gradients in the range of floats, and the gradients by what that leaves out of
        the targets of all. Several processes sum their gradients with the last batch.
        """
        at, context = state.progress, state.context
        state.rates.set(at.step)
        if lengths := self.config.length_stages:
            group = [cut(batch, stage(lengths, at.step, state.total_steps)) for batch in group]
        state.model.train()
        processes = state.processes
        totals, nlls, count, first = [], [], 0, 0
        if processes.count > 1:
            first, state.rows = rows_of(group[0]), rows_of(group[-1])

        def loss_of(rows: Any) -> Loss:
            return state.loss(rows.to(context.device))

        for number, batch in enumerate(group, 1):
            with summing(state.loss, last=number == len(group)):
                with state.phase(FORWARD), autocast(context.device, state.dtype):
                    loss = loss_of_own_rows(processes, batch, loss_of)
                first = first or max(loss.count, 1)
                # the mean over the processes of N times their sums is the sum
                with state.phase(BACKWARD):
                    state.scaler.scale(loss.total / (first / processes.count)).backward()
            totals.append(loss.total.detach())
            nlls.append(loss.nll.detach())
            count += loss.count
        count = state.agree(count)
        with state.phase(OPTIMIZER):
            if state.sharded:
                state.sharded.forget_unused()
            state.scaler.unscale_(state.optimizer)
            if count != first:
                gradients = [p.grad for p in state.parameters if p.grad is not None]
                torch._foreach_mul_(gradients, first / max(count, 1))
            if self.config.clip_norm is not None:
                norm = nn.utils.clip_grad_norm_(state.parameters, self.config.clip_norm)
                state.gradient_norm = whole(norm)
            with autocast(context.device, state.dtype):  # Muon multiplies matrices
                state.scaler.step(state.optimizer)  # here the weights change
            state.scaler.update()
            state.optimizer.zero_grad(set_to_none=True)
            at.step += 1
            at.targets += count
            if state.average is not None:
                state.average.update(at.step)
        state.window.add(totals, nlls, count)
        if state.window.is_full:
            state.window.fold(state.losses())
        speed = {"targets_per_second": state.clock.speed()}
        context.tracker.progress(at.step, state.epoch, speed)

    def log(self, state: State) -> None:
        """Tell the trackers of the losses since the last log."""
        values = state.losses()
        state.window.clear()
        at, count = state.progress, sum(v[2] for v in values)
        scalars = {
            "epoch": state.epoch,
            "train/loss": sum(v[1] for v in values) / count,
            "train/objective": sum(v[0] for v in values) / count,
            "lr": state.optimizer.param_groups[0]["lr"],
        }
        if state.gradient_norm is not None:
            scalars["gradient_norm"] = float(state.gradient_norm)
        state.clock.tick()
        timing = {"seconds": at.seconds}
        if at.step > 1:  # one alone would tell how long warming up takes: it counts in the next
            timing["targets_per_second"] = state.clock.speed()
            state.clock.logged()
        state.context.tracker.log(at.step, scalars, timing)

    def validate(self, state: State) -> None:
        """Measure the validation split, keep the best checkpoint, decide on stopping early."""
        state.losses()
        at, context = state.progress, state.context
        best = at.finished
        with state.clock.not_training():
            if context.validates:
                with context.phases(VALIDATION), state.averaged():
                    scalars = validation_scalars(state)
                context.tracker.log(at.step, {"epoch": state.epoch, **scalars}, {})
                if not math.isfinite(scalars["val/loss"]):
                    what = f"val/loss after update {at.step}"
                    raise state.diverged(what, scalars["val/loss"])
                best = at.judge(scalars, self.config, context.tracker)
                state.clock.tick()
                stop_where_reached(at, scalars, context)
            state.save("last", *(["best"] if best else []))


@torch.no_grad()
def validation_scalars(state: State) -> dict[str, float]:
    """The loss of the validation split, and what quick evaluators find."""
    state.model.eval()
    context = state.context
    nlls, count = [], 0
    batches = context.dataset.batches("val", seed=context.seed, epoch=0)

    def loss_of(rows: Any) -> Loss:
        rows = rows.to(context.device)
        return state.sharded(rows) if state.sharded else context.task.loss(state.model, rows)

    for batch in islice(batches, state.config.validation_batches):
        with autocast(context.device, state.dtype):
            loss = loss_of_own_rows(state.processes, batch, loss_of)
        nlls.append(loss.nll.double())
        count += loss.count
    total = torch.stack(nlls).sum()
    if state.processes.count > 1:
        own = torch.stack([total, total.new_tensor(count)]).cpu()
        total, all_counts = state.processes.added(own)
        count = int(all_counts)
    scalars = {"val/loss": float(total) / max(count, 1)}
    if (validate := context.validate) is not None:
        with state.whole():
            scalars.update(state.processes.from_first(lambda: dict(validate())))
    return scalars


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
