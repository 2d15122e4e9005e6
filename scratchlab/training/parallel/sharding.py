"""Several processes that share the weights out too: fully sharded data parallelism (FSDP2).

Of each weight a process keeps some rows, and of their gradients and moments (Rajbhandari et al.
2020, stage 3; Zhao et al. 2023). All rows are brought together only where they are used: those of a
layer while it is computed, forwards and backwards, the others for the whole update. What is
computed is what :class:`torch.nn.parallel.DistributedDataParallel` computes.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from scratchlab.errors import UserError
from scratchlab.models.contract import Model
from scratchlab.models.layers.block import Block
from scratchlab.run.processes import Processes
from scratchlab.training.compiling import compiled
from scratchlab.training.loss_module import LossModule
from scratchlab.training.parallel.batch_statistics import share_batch_statistics
from scratchlab.training.updates.shards import whole

OLDEST = (2, 13)  # torch's; before, gradients of weights that one process alone uses are lost


class Sharded:
    """A model whose weights the processes share out, beside the whole one.

    ``model`` is the one that is trained, ``loss`` the module with it. The one that was given stays
    as it is in process 0, on the CPU: :meth:`gather` fills it, to be measured and saved.
    """

    def __init__(
        self, loss: LossModule, device: torch.device, processes: Processes, compile: bool = False
    ) -> None:
        self.device, self.processes, self.given = device, processes, loss.model
        if processes.rank == 0:
            self.given.to("cpu")
            loss = copy.deepcopy(loss, {id(loss.task): loss.task})
        self.loss: Any = loss
        self.model: Model = loss.model
        share_batch_statistics(loss, processes)
        apart = layers(loss)
        for module in (apart or [loss]) if compile else []:  # what brings weights together is not
            module.forward = compiled(module.forward)
        split(loss, apart, device, processes.count)
        self.parameters = {n: p for n, p in loss.named_parameters() if p.requires_grad}
        self.used: set[str] = set()  # names of those that the loss of this update depends on
        self.always: set[str] = set()
        self.watched = False
        self.loss.register_forward_pre_hook(self._watch)

    def __call__(self, batch: Any) -> Any:
        """The loss of a batch; where it is only measured, nothing stays together afterwards."""
        found = self.loss(batch)
        if not torch.is_grad_enabled():
            self.loss.reshard()
        return found

    def _watch(self, *_: Any) -> None:
        """Once, where the weights are together: notice which of them the loss depends on."""
        if self.watched or not torch.is_grad_enabled():
            return
        self.watched = True
        for name, parameter in self.loss.named_parameters():
            if parameter.requires_grad and not hasattr(parameter, "to_local"):
                parameter.register_post_accumulate_grad_hook(lambda _, n=name: self.used.add(n))
            else:  # of a layer, which uses all that it has
                self.used.add(name)
        self.always = set(self.used)

    def forget_unused(self) -> None:
        """Take the gradients of zeros away from weights that no process has used: an optimizer is
        to leave them alone."""
        names = sorted(set(self.parameters) - self.always)
        if not names:
            return
        used = torch.tensor([name in self.used for name in names], dtype=torch.int64)
        for name, count in zip(names, self.processes.added(used).tolist(), strict=True):
            if not count:
                self.parameters[name].grad = None
        self.used = set(self.always)

    @torch.no_grad()
    def gather(self) -> None:
        """Fill the whole model of process 0 with the weights of now."""
        given = {**dict(self.given.named_parameters()), **dict(self.given.named_buffers())}
        own = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        for name, tensor in own.items():
            if tensor.requires_grad or not isinstance(tensor, nn.Parameter):
                together = whole(tensor)
                if self.processes.rank == 0:
                    given[name].copy_(together)

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Inside, the whole model is where it can be measured."""
        self.gather()
        self.release()
        try:
            yield
        finally:
            if self.processes.rank == 0:
                self.given.to("cpu")

    def release(self) -> None:
        """Leave the whole model on the device of the run."""
        if self.processes.rank == 0:
            self.given.to(self.device)


def split(loss: nn.Module, apart: Sequence[nn.Module], device: torch.device, count: int) -> None:
    """Share the weights of a module out among all processes, on a device: those of each of the
    modules inside that are to be ``apart`` together, and the others."""
    from torch.distributed import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST:
        raise UserError(
            f"trainer.strategy=fsdp: torch {torch.__version__} is too old for it",
            f"It needs {'.'.join(map(str, OLDEST))}; or take trainer.strategy=ddp.",
        )
    for name, parameter in loss.named_parameters():
        if parameter.ndim == 0:
            raise UserError(
                f"trainer.strategy=fsdp: {name} is a single number, which has no rows to share out",
                "Give it one dimension, or take trainer.strategy=ddp.",
            )
    # Nothing here changes what a layer returns in place; the tests compare all kinds of layers.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    mesh = init_device_mesh(device.type, (count,))
    for module in (*apart, loss):
        found: Any = fully_shard(module, mesh=mesh)
    # Rows of a batch may use different weights: what one process does not use, it adds zeros to.
    found.set_reduce_scatter_unused_params(True)


def layers(loss: nn.Module) -> list[nn.Module]:
    """The blocks of a Transformer, the innermost first: each is called whenever it is used, and
    holds weights of its own. Models of transformers say which theirs are."""
    adapted: Any = loss
    if adapted.adapted.penalty() is not None:  # it reads the weights of all layers at once
        return []
    modules = list(loss.modules())
    names = {name for m in modules for name in getattr(m, "_no_split_modules", None) or ()}
    found = [m for m in modules if isinstance(m, Block) or type(m).__name__ in names]
    everywhere = _owners(loss)
    return [m for m in reversed(found) if all(everywhere[i] == n for i, n in _owners(m).items())]


def _owners(module: nn.Module) -> Counter[int]:
    """How many modules inside hold each parameter."""
    return Counter(id(p) for _, p in module.named_parameters(remove_duplicate=False))
