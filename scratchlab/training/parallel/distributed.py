"""One run in several processes: each computes its rows of every batch (data parallelism).

N processes make the very updates that one would make: process r of N takes the rows r, r + N, … of
each batch, gradients are summed over all rows (Li et al. 2020), and divided once by the number of
targets in all of them. So batches, accumulation and plans stay what they are, whatever N is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from scratchlab.errors import UserError
from scratchlab.models.contract import Model
from scratchlab.random_streams import generator
from scratchlab.run.processes import Processes
from scratchlab.run.seeds import random_state
from scratchlab.tasks.contract import Loss
from scratchlab.training.carried import PREFIX, carried_tensors
from scratchlab.training.parallel.batch_statistics import share_batch_statistics

STREAM = 7919  # keeps the random streams of processes apart from those of seeds nearby


def rows_of(batch: Any) -> int:
    """How many rows a batch has: the first length of its first tensor."""
    return len(getattr(batch, dataclasses.fields(batch)[0].name))


def dealt(batch: Any, rank: int, count: int) -> tuple[Any, bool]:
    """The rows of a process, and whether there are any: else row 0, which is not to count.

    What has another length than the rows (``indices`` of packed rows) stays whole.
    """
    rows = rows_of(batch)
    taken = slice(rank, None, count) if rank < rows else slice(1)
    values = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    own = {
        name: value[taken] if isinstance(value, Tensor) and len(value) == rows else value
        for name, value in values.items()
    }
    return dataclasses.replace(batch, **own), rank < rows


def loss_of_own_rows(processes: Processes, batch: Any, loss: Callable[[Any], Loss]) -> Loss:
    """The loss of what this process has of a batch; of all of it where it is the only one."""
    if processes.count == 1:
        return loss(batch)
    own, processes.has_rows = dealt(batch, processes.rank, processes.count)
    found = loss(own)
    if processes.has_rows:
        return found
    return Loss(total=found.total * 0, count=0, nll=found.nll * 0)


def parallel(module: nn.Module, processes: Processes) -> nn.Module:
    """The module whose gradients are the mean over the processes; itself where there is one."""
    if processes.count == 1:
        return module
    share_batch_statistics(module, processes)
    # A weight that a batch does not use must not be waited for; to find none is no mistake.
    warnings.filterwarnings("ignore", message="find_unused_parameters=True")
    warnings.filterwarnings(
        "ignore", message="`broadcast_buffers`"
    )  # the new name is of torch 2.13
    return nn.parallel.DistributedDataParallel(
        module, find_unused_parameters=True, broadcast_buffers=False
    )


def summing(module: Any, last: bool) -> contextlib.AbstractContextManager[None]:
    """Inside, gradients are only added up, unless it is the ``last`` batch of an update."""
    if last or not isinstance(module, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    waiting: contextlib.AbstractContextManager[None] = module.no_sync()
    return waiting


def agreed(processes: Processes, count: int, requested: str | None) -> tuple[int, str | None]:
    """The targets of all processes, and the signal that any of them was sent: all stop at once."""
    if processes.count == 1:
        return count, requested
    numbers = [count, requested == "SIGTERM", requested is not None]
    found = processes.added(torch.tensor(numbers, dtype=torch.int64)).tolist()
    if found[2] and requested is None:
        requested = "SIGTERM" if found[1] else "SIGINT"
    return int(found[0]), requested


def start_random_stream(processes: Processes, seed: int, step: int) -> None:
    """Chance of its own for each process but the first, which goes on as the only one would."""
    if processes.rank:
        stream = generator(STREAM, seed, step, processes.rank)
        torch.manual_seed(int(stream.integers(2**63)))


def random_states(processes: Processes, device: torch.device) -> dict[str, Tensor]:
    """The random states of all processes for a checkpoint: ``rng.…`` of the first, which are those
    of an only one, and ``rank1.rng.…`` of the next."""
    own = random_state()
    if processes.count == 1:
        return own
    mine = _own_states(device)
    found = {name: processes.gathered(state) for name, state in mine.items()}
    for name, states in found.items():
        own |= {f"rank{rank}.{name}": state for rank, state in enumerate(states) if rank}
    return own


def restore_own_random_state(
    processes: Processes, device: torch.device, tensors: Mapping[str, Tensor]
) -> bool:
    """Put back the state of a process that is not the first; whether the checkpoint has it."""
    own = f"rank{processes.rank}."
    states = {n.removeprefix(own): t for n, t in tensors.items() if n.startswith(own)}
    if set(states) != set(_own_states(device)):
        return False
    try:
        torch.set_rng_state(states["rng.cpu"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(states["rng.cuda"], device)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"optimizer.safetensors: {own}rng is no random state") from error
    return True


def _own_states(device: torch.device) -> dict[str, Tensor]:
    states = {"rng.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["rng.cuda"] = torch.cuda.get_rng_state(device)
    return states


def gathered_carried(processes: Processes, model: Model, rows: int) -> dict[str, Tensor]:
    """What all processes carry to the next batch, in the order of the whole batch's ``rows``."""
    own = carried_tensors(model)
    if processes.count == 1 or not own:
        return own
    found: dict[str, Tensor] = {}
    for name, tensor in own.items():
        parts = processes.gathered(tensor)
        whole = parts[0].new_zeros((rows, *parts[0].shape[1:]))
        for rank, part in enumerate(parts[:rows]):
            whole[rank :: processes.count] = part
        found[name] = whole
    return found


def own_carried(processes: Processes, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What this process carries of what a checkpoint holds for all rows."""
    count, rank = processes.count, processes.rank
    carried = {n: t for n, t in tensors.items() if n.startswith(PREFIX)}
    if count == 1:
        return carried
    return {name: tensor[rank::count].contiguous() for name, tensor in carried.items()}


def carried_rows(tensors: Mapping[str, Tensor]) -> int:
    """How many rows the batch had whose states a checkpoint holds; 0 if it holds none."""
    return max((len(t) for n, t in tensors.items() if n.startswith(PREFIX)), default=0)
