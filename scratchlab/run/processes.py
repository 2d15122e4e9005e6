"""The processes that share one run (torchrun starts them), and which of them speaks.

Each is told by its environment which of how many it is. Process 0 writes the run folder and speaks
for all. What goes wrong in all of them is said by process 0; what goes wrong in one of them is said
by that one, and the others end without a word of their own.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from scratchlab.errors import Stopped, TrainingError, UserError

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")

WORDS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = 1.0  # seconds in which process 0 says what has gone wrong in all of them
LONGEST_START = 20.0  # seconds until process 0 has said what was wrong with the command
LONGEST_WAIT = datetime.timedelta(days=1)  # while process 0 measures; who dies is noticed at once
FAILED = "scratchlab/failed"


@dataclass(frozen=True)
class Place:
    """Which process of how many this is; ``local``: which of those on this machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    def __str__(self) -> str:
        return f"process {self.rank} of {self.count}"


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """What torchrun says; the only process where nothing is said.

    Raises:
        UserError: what is said makes no sense.
    """
    if not all(environment.get(word) for word in WORDS):
        return Place()
    words = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    said = [environment.get(word) or environment["RANK"] for word in words]
    if not all(text.isdecimal() and len(text) < 7 for text in said):
        told = " ".join(f"{word}={text}" for word, text in zip(words, said, strict=True))
        raise UserError(f"{told}: not the number of a process", "Start it with torchrun.")
    rank, count, local = map(int, said)
    if rank >= count:
        raise UserError(f"RANK={rank} WORLD_SIZE={count}: processes are counted from 0")
    return Place(rank, count, local)


class OtherFailed(UserError):
    """Another process of the run has failed, and says why."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Lost(TrainingError):
    """Another process is gone."""

    told_first = True


class Processes:
    """All processes of a run, seen from this one. This class: it is the only one.

    ``has_rows``: whether there is a row of the present batch for this process.
    """

    place = Place()
    has_rows = True

    @property
    def count(self) -> int:
        return self.place.count

    @property
    def rank(self) -> int:
        return self.place.rank

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What ``make`` gives in process 0 (of JSON's types), in all of them; only it calls it."""
        return make()

    def added(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum of the tensors that the processes give, in all of them."""
        return numbers

    def gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all processes, by rank, on the CPU; they differ in their first length."""
        return [tensor]

    def as_one(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the first failure ends all: the other processes get :class:`OtherFailed`."""
        return contextlib.nullcontext()

    def failed_first(self, error: BaseException) -> bool:
        """Whether no other process has failed before this one."""
        return True

    def leave(self) -> None:
        """From here on each process is on its own."""


class Group(Processes):
    """Several processes, through torch.distributed: gloo on the CPU, NCCL between GPUs."""

    def __init__(self, here: Place, store: Any) -> None:
        self.place, self.store = here, store

    def from_first(self, make: Callable[[], Value]) -> Value:
        import torch
        from torch import distributed

        text = json.dumps(make()).encode() if self.rank == 0 else b""
        size = torch.tensor([len(text)])
        distributed.broadcast(size, 0)
        content = torch.empty(int(size), dtype=torch.uint8)
        if self.rank == 0:
            content.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        distributed.broadcast(content, 0)
        value: Value = json.loads(bytes(content.tolist()))
        return value

    def added(self, numbers: torch.Tensor) -> torch.Tensor:
        from torch import distributed

        total = numbers.clone()
        distributed.all_reduce(total)
        return total

    def gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        import torch
        from torch import distributed

        own = tensor.detach().cpu().contiguous()
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        distributed.all_gather(lengths, torch.tensor([len(own)]))
        longest = max(map(int, lengths))
        padded = own.new_zeros((longest, *own.shape[1:]))
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in lengths]
        distributed.all_gather(found, padded)
        return [one[: int(length)] for one, length in zip(found, lengths, strict=True)]

    @contextlib.contextmanager
    def as_one(self) -> Iterator[None]:
        try:
            yield
        except OtherFailed:
            raise
        except (Stopped, KeyboardInterrupt) as error:  # perhaps only since another has failed
            failure = self.failure()
            if failure is None:
                raise
            raise failure from error
        except Exception as error:
            if not self.failed_first(error):
                raise self.failure() or OtherFailed("another process has failed", 1) from error
            if _is_of_the_connection(error):
                problem = "another process of this run has ended without a word"
                raise Lost(f"{problem} (killed, or out of memory)") from error
            raise

    def leave(self) -> None:
        from torch import distributed

        if distributed.is_initialized():
            self.added(_nothing())  # nobody leaves while another still waits for it
            distributed.destroy_process_group()

    def failed_first(self, error: BaseException) -> bool:
        """Whether this process is the first to fail; what all find wrong, process 0 finds."""
        message = _first_line(error)
        if getattr(error, "told_first", False):
            return True
        own = json.dumps([self.rank, message, getattr(error, "exit_code", 1)])
        ends = time.monotonic() + (PATIENCE if self.rank else 0)
        while time.monotonic() < ends and self.failure() is None:
            time.sleep(0.02)
        try:
            first = bool(self.store.compare_set(FAILED, "", own).decode() == own)
        except RuntimeError:  # the store went with the process that kept it, which has spoken
            return False
        error.told_first = first  # type: ignore[attr-defined]
        return first

    def failure(self) -> OtherFailed | None:
        """What the first process that failed has said."""
        try:
            if not self.store.check([FAILED]):
                return None
            rank, message, code = json.loads(self.store.get(FAILED))
        except RuntimeError:
            return OtherFailed("another process has failed", 1)
        return OtherFailed(f"process {rank} of {self.count}: {message}", code)


def _nothing() -> torch.Tensor:
    import torch

    return torch.zeros(1)


def _first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Inside, this process is one of those that torchrun has started for a run on a ``device``.

    The first failure ends all: where another process has failed, :class:`OtherFailed` is raised.
    """
    here = place()
    if here.count == 1:
        yield Processes()
        return
    group = Group(here, meet(here, device))
    with group.as_one():
        yield group
    group.leave()


def meet(here: Place, device: str) -> Any:
    """Form the group; returns the store in which the processes leave notes."""
    import torch
    from torch import distributed

    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if device == "mps":
        raise UserError("device=mps: a run on it has one process", "Start it without torchrun.")
    if cuda and torch.cuda.is_available():
        if here.local >= torch.cuda.device_count():
            there = torch.cuda.device_count()
            raise UserError(
                f"device: this machine has {there} GPUs for more than {here.local} processes",
                f"Start at most so many (--nproc-per-node {there}), or choose device=cpu.",
            )
        torch.cuda.set_device(here.local)
    store, rank, count = next(distributed.rendezvous("env://", timeout=LONGEST_WAIT))
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    notes = distributed.PrefixStore("group", store)
    distributed.init_process_group(
        backend, store=notes, rank=rank, world_size=count, timeout=LONGEST_WAIT
    )
    return distributed.PrefixStore("notes", store)


def _is_of_the_connection(error: BaseException) -> bool:
    """Whether a collective failed since another process is not there any more."""
    texts = ("closed by peer", "reset by peer", "Broken pipe", "NCCL", "gloo")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


@functools.cache
def _standard_error() -> TextIO:
    return sys.stderr


@contextlib.contextmanager
def only_first_speaks(here: Place) -> Iterator[None]:
    """Inside, all processes but process 0 write nothing to standard output and error.

    Nor does torch, which reads this before it is imported: who failed is said in other words.
    """
    if here.count > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if here.rank == 0:
        yield
        return
    _standard_error()
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,  # noqa: PTH123
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


@contextlib.contextmanager
def as_one_voice(here: Place, error: BaseException) -> Iterator[None]:
    """Inside, standard error is heard of the one process that is to tell of a failure."""
    if isinstance(error, OtherFailed):
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123
            yield
    elif here.rank == 0 or isinstance(error, (Stopped, KeyboardInterrupt)):
        yield
    else:
        if not getattr(error, "told_first", False):
            # Process 0 finds the same mistake, and who has started all then ends this one.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(LONGEST_START)
        with contextlib.redirect_stderr(_standard_error()):
            sys.stderr.write(f"{here}: ")
            yield
            sys.stderr.flush()
        _hang_up()


def _hang_up() -> None:
    """Tell the others by a closed connection, and leave process 0 the time to write down how the
    run has ended, before who has started all sees this process end and ends the others."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the exit code is to be that of the failure
        if distributed.get_backend() == "gloo":  # NCCL may wait for what others never send
            distributed.destroy_process_group()
        time.sleep(PATIENCE)
