"""Whether a model fits the machine, told from its shapes before any memory is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from scratchlab.errors import UserError
from scratchlab.evaluation.cost.anatomy import optimizer_bytes
from scratchlab.models.contract import Model
from scratchlab.regular_files import machine_memory

Built = TypeVar("Built")
PLENTY = 8
"""The memory for this many times the weights is enough: no optimizer keeps more than seven."""
MAKING = ("empty", "zeros", "ones", "full", "rand", "randn")


class TooLarge(Exception):
    """More memory is asked for than was allowed."""


def built_within(build: Callable[[], Built], size: int) -> Built | None:
    """What ``build`` makes, if all the tensors that it makes on its way take at most so many bytes
    (of eight a number); None, before it is asked for, where more memory would be needed."""
    from torch.overrides import TorchFunctionMode

    class Counting(TorchFunctionMode):
        left = size // 8  # numbers

        def __torch_function__(self, function, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
            named = named or {}
            self.left -= _asked_for(getattr(function, "__name__", ""), arguments, named)
            if self.left < 0:
                raise TooLarge
            return function(*arguments, **named)

    try:
        with Counting():
            return build()
    except TooLarge:
        return None


def _asked_for(function: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> int:
    """How many numbers the tensor has that one of torch's functions is asked to make."""
    if function == "arange":
        return int(max((abs(n) for n in arguments), default=0))
    if function == "eye":
        return int(max(arguments, default=0)) ** 2
    if function not in MAKING:
        return 0
    sizes = arguments or (named.get("size", ()),)
    sizes = sizes if isinstance(sizes[0], int) else sizes[0]
    return math.prod(n for n in sizes if isinstance(n, int))


def shapes_of(build: Callable[[], Built]) -> Built | None:
    """What ``build`` makes, on device ``meta``: shapes without content; None if it cannot be made
    there (a model of the user's own that looks at its numbers, say).

    Raises:
        UserError: even the shapes are too large to be counted.
    """
    import torch

    with countable():
        try:
            with torch.device("meta"):
                return build()
        except (RuntimeError, NotImplementedError) as error:
            if is_overflow(error):
                raise
            return None


def is_overflow(error: BaseException) -> bool:
    """Whether a number of bytes or elements did not fit into 64 bits."""
    texts = ("overflow", "too large", "Overflow")
    return isinstance(error, OverflowError) or any(text in str(error) for text in texts)


@contextmanager
def countable() -> Iterator[None]:
    """Inside, sizes beyond 64 bits are a UserError."""
    try:
        yield
    except (RuntimeError, OverflowError) as error:
        if not is_overflow(error):
            raise
        problem = "model: it has more numbers than can be counted"
        raise UserError(problem, "Make it smaller (model.d_model and the like).") from error


def require_room(model: Model, optimizer: Any | None, config: Mapping[str, Any]) -> None:
    """UserError if a model (its shapes, on ``meta``) takes more memory than the machine has, with
    the gradients and the state of its ``optimizer`` where it is trained."""
    import torch

    stored = {id(t): t for t in (*model.parameters(), *model.buffers())}
    weights = needed = sum(t.numel() * t.element_size() for t in stored.values())
    there = machine_memory()
    if optimizer is not None and there // PLENTY < weights <= there:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
                needed += parameter.numel() * parameter.element_size()
        needed += optimizer_bytes(model, optimizer)
    if needed > there:
        size = sum(p.numel() for p in model.parameters())
        what = "its weights" if needed == weights else "weights, gradients and the optimizer"
        raise UserError(
            f"model: {config['model']['name']} of this size ({size:,} parameters) takes "
            f"{gigabytes(needed)} for {what}; this machine has {gigabytes(there)}",
            "Make it smaller (model.d_model, model.n_layers, dataset.vocab_size); "
            "`scratchlab inspect` shows what takes how much.",
        )


def gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
