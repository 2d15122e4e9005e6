"""All that a later update depends on: chosen, saved and restored together.

A run that is killed and resumed ends with the same bits as one that was left alone, since
everything of this is in a checkpoint: weights, optimizer moments, random states, the position in
the data, the sums since the last log.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scratchlab.errors import TrainingError, UserError
from scratchlab.run.checkpoint import Checkpoint, save
from scratchlab.run.interrupt import Interrupt
from scratchlab.run.phases import CHECKPOINTS, UPDATES
from scratchlab.run.seeds import restore_random_state
from scratchlab.tasks.contract import Loss
from scratchlab.training.carried import restore_carried
from scratchlab.training.clock import Clock
from scratchlab.training.compiling import check_compiler, compiled
from scratchlab.training.contract import Progress, TrainingContext
from scratchlab.training.loss_module import LossModule
from scratchlab.training.parallel.batch_statistics import part_batch_statistics
from scratchlab.training.parallel.distributed import (
    agreed,
    carried_rows,
    gathered_carried,
    own_carried,
    parallel,
    random_states,
    restore_own_random_state,
    start_random_stream,
)
from scratchlab.training.parallel.sharding import Sharded
from scratchlab.training.precision import choose_precision
from scratchlab.training.target import still_reached
from scratchlab.training.updates.average import WeightAverage
from scratchlab.training.updates.optimizers import (
    NoOptimizer,
    optimizer_tensors,
    restore_optimizer,
)
from scratchlab.training.updates.rates import Rates
from scratchlab.training.updates.shards import local, whole
from scratchlab.training.window import Window


@contextlib.contextmanager
def _unwatched() -> Iterator[Callable[[], None]]:
    yield lambda: None


class State:
    """``config`` has the options of the trainer ``gradient``.

    ``loss`` is what is differentiated, ``dtype`` what matrix products are computed in.
    """

    def __init__(self, config: Any, context: TrainingContext, total_steps: int) -> None:
        self.config, self.context, self.total_steps = config, context, total_steps
        self.processes = context.processes
        self.model = context.model.to(context.device)
        if total_steps and not any(p.requires_grad for p in self.model.parameters()):
            raise context.adapted.untrainable()
        wanted = config.precision if total_steps else "fp32"
        self.dtype, self.precision = choose_precision(context, self.model, wanted)
        if context.resume is not None:
            context.adapted.load(context.resume.model, context.checkpoints)
        self.sharded: Sharded | None = None
        self.loss = self._loss()
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in named]
        self.optimizer: Any = NoOptimizer(context.config)
        if total_steps or context.resume is not None:
            unused = [("unused", nn.Parameter(torch.zeros(1)))]  # optimizers refuse to have nothing
            self.optimizer = context.optimizer.build(named or unused, self.model.tables())
        self.rates = Rates(context, self.optimizer, total_steps)
        start_random_stream(self.processes, context.seed, 0)
        self.interrupt = Interrupt()
        self.stop: str | None = None
        self.rows = 0
        self.scaler = torch.amp.GradScaler(context.device.type, enabled=self.dtype == torch.float16)
        self.average = WeightAverage.of(self.model, config, total_steps)
        self.progress = Progress()
        self.window = Window(context.device, self.processes)
        self.gradient_norm: torch.Tensor | None = None
        if context.resume is not None:
            self._restore(context.resume)
        self.clock = Clock(self.progress)

    def _loss(self) -> Callable[[Any], Loss]:
        """What is differentiated, made for the processes that share the work."""
        module: Any = LossModule(self.context.adapted, self.context.task)
        shared = self.processes.count > 1 and self.total_steps > 0
        if self.config.compile and self.total_steps:
            check_compiler(self.context.device)
        if shared and self.config.strategy == "fsdp":
            device, compile = self.context.device, self.config.compile
            self.sharded = Sharded(module, device, self.processes, compile)
            self.model = self.sharded.model
            return self.sharded
        module = compiled(module) if self.config.compile and self.total_steps else module
        return parallel(module, self.processes) if shared else module

    @property
    def epoch(self) -> float:
        """Passes over the training data so far."""
        at = self.progress
        if at.position == 0:
            return float(at.epoch)
        return at.epoch + at.position / self.context.batch_count(at.epoch)

    def watched(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Inside, calling what this gives tells the profile that is asked for of an update."""
        left = self.total_steps - self.progress.step
        profile = self.context.profile
        return profile.watching(self.context.device, left) if profile else _unwatched()

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the model is what is measured and saved: the average, where one is kept."""
        return self.average.applied() if self.average else contextlib.nullcontext()

    def whole(self) -> contextlib.AbstractContextManager[None]:
        """Inside, process 0 can measure the model of the context."""
        return self.sharded.measured() if self.sharded else contextlib.nullcontext()

    def release(self) -> None:
        """Leave the model of the context as it was found: whole, on its device."""
        part_batch_statistics(self.model)
        if self.sharded:
            self.sharded.release()

    def agree(self, count: int) -> int:
        """The targets of an update in all processes; ``stop`` is then the same in all of them."""
        count, self.stop = agreed(self.processes, count, self.interrupt.requested)
        return count

    def losses(self) -> list[tuple[float, float, int]]:
        """The losses since the last log as numbers; :class:`TrainingError` at the first bad one."""
        values = self.window.values()
        for step, (total, _, _) in enumerate(values, self.progress.step - len(values) + 1):
            if not math.isfinite(total):
                raise self.diverged(f"the loss of update {step}", total, step)
        return values

    def diverged(self, what: str, value: float, step: int | None = None) -> TrainingError:
        """The message where a number is none any more, by update ``step`` (None: the last)."""
        config, step = self.config, step or self.progress.step
        rate, peak = self.rates.at(step - 1), float(self.context.config["optimizer"]["lr"])
        advice = f"Try a lower rate (optimizer.lr={peak / 10:g})"
        if config.clip_norm is None:
            advice += ", clip the gradient (trainer.clip_norm=1.0)"
        if self.dtype != torch.float32:
            advice += ", train in fp32 (trainer.precision=fp32)"
        return TrainingError(
            f"{what} is {value}: training cannot go on (learning rate there {rate:.3g})",
            f"{advice}, or a longer warm-up. Checkpoints from before are kept.",
        )

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """A phase of an update. A GPU computes while this process goes on: unless a profile waits
        for it, how long what takes can only be told of all of them together."""
        apart = self.context.device.type == "cpu" or self.context.profile is not None
        return self.context.phases(name if apart else UPDATES)

    def save(self, *roles: str) -> None:
        """Write a checkpoint; what was logged is brought to disk first, so that they agree."""
        with self.context.phases(CHECKPOINTS):
            self._save(*roles)

    def _save(self, *roles: str) -> None:
        at, context, keep = self.progress, self.context, self.config.keep_every
        if keep and at.step % keep == 0:
            roles = (*roles, f"step-{at.step}")
        at.window = [list(entry) for entry in self.losses()]
        largest = self._largest_weight()
        if not math.isfinite(largest):  # a checkpoint to go on from must be worth it
            raise self.diverged(f"the largest weight after update {at.step}", largest)
        self.clock.tick()
        at.command_seconds = context.command_seconds()
        context.tracker.flush()
        numbers = {
            **self._together(optimizer_tensors(self.optimizer)),
            **random_states(self.processes, context.device),
            **gathered_carried(self.processes, self.model, self.rows),
            **self._together(self.average.raw_weights() if self.average else {}),
        }
        record = {
            **dataclasses.asdict(at),
            "metrics_bytes": context.metrics_bytes,
            "total_steps": self.total_steps,
            "precision": str(self.dtype).removeprefix("torch."),
            "groups": [len(group["params"]) for group in self.optimizer.param_groups],
            "scaler": self.scaler.state_dict(),
            "gradient_norm": None if self.gradient_norm is None else float(self.gradient_norm),
            "spec": context.dataset.spec.as_dict(),
            "base": context.adapted.record(),
        }
        with self.averaged():
            if self.sharded:
                self.sharded.gather()
            if self.processes.rank:
                return
            content = Checkpoint(context.adapted.state(), numbers, record, context.config)
            save(context.checkpoints, content, roles, self._save_files)

    def _largest_weight(self) -> float:
        """The largest absolute value of the weights that are trained, in all processes."""
        weights = [w for w in map(local, self.parameters) if w.numel()]
        norms = torch._foreach_norm(weights, math.inf) if weights else []
        largest = float(torch.stack(list(norms)).max()) if norms else 0.0
        if self.sharded is None:
            return largest
        found = self.processes.gathered(torch.tensor([largest]))
        return float(torch.cat(found).max())

    def _together(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors that the processes share out, whole in process 0."""
        if self.sharded is None:
            return tensors
        first = self.processes.rank == 0
        found = ((name, whole(tensor)) for name, tensor in tensors.items())
        return {name: tensor.cpu() for name, tensor in found if first}

    def _save_files(self, folder: Path) -> None:
        self.context.dataset.save_vocabulary(folder)
        self.context.adapted.save_files(folder)

    def _restore(self, checkpoint: Checkpoint) -> None:
        record, context = checkpoint.state, self.context
        if not all(len(entry) == 3 for entry in record.get("window", ())):
            raise UserError("state.json: state.window holds no losses")
        names = {f.name for f in dataclasses.fields(Progress)}
        self.progress = at = Progress(**{k: v for k, v in record.items() if k in names})
        if self.average is not None:
            self.average.restore(checkpoint.optimizer)
        before = (checkpoint.config.get("optimizer") or {}).get("name")
        now = (context.config.get("optimizer") or {}).get("name")
        if before != now:
            raise UserError(
                f"optimizer: this run was trained with {before} and cannot go on with {now}",
                "Train another run, or leave the optimizer (its options may change).",
            )
        groups = [len(group["params"]) for group in self.optimizer.param_groups]
        if checkpoint.optimizer and record.get("groups", groups) != groups:
            raise UserError(
                "optimizer: this run has trained the weights in other groups than these rates make",
                "Leave optimizer.embedding_rate, output_rate and vector_rate at 1 or not, as then.",
            )
        restore_optimizer(self.optimizer, checkpoint.optimizer)
        if self.processes.rank == 0:
            restore_random_state(checkpoint.optimizer)
        elif not restore_own_random_state(self.processes, context.device, checkpoint.optimizer):
            start_random_stream(self.processes, context.seed, at.step)
        restore_carried(self.model, own_carried(self.processes, checkpoint.optimizer))
        self.rows = carried_rows(checkpoint.optimizer)
        if record.get("scaler"):
            self.scaler.load_state_dict(record["scaler"])
        self.window = Window(context.device, self.processes, at.window)
        norm = record.get("gradient_norm")
        self.gradient_norm = None if norm is None else torch.tensor(norm)
        had_reached = at.reached is not None
        reached = still_reached(at, context.config)
        if at.finished and at.step < self.total_steps:
            at.finished = reached or (self.config.patience is not None and not had_reached)
