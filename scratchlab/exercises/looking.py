"""Cases of functions that take tensors or arrays: results, gradients, arguments left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scratchlab.exercises.contract import Case, Complaint, Functions, Seen


def case(
    function: str,
    name: str,
    names: Sequence[str],
    arguments: Sequence[Any],
    *,
    results: Sequence[str] = ("the result",),
    gradients: Sequence[str] = (),
    changes: Sequence[str] = (),
    tolerance: float = 1e-8,
    show: Callable[[Seen], Seen] | None = None,
) -> Case:
    """A case that calls one function with ``arguments``, whose ``names`` are those of the start
    file.

    ``results`` names what it returns. ``gradients``: the arguments that the results are
    differentiated by, each number of a result weighted by a fixed one. ``changes``: the arguments
    that it changes in place, which are seen as their differences from before; all others must be
    left alone. ``show`` turns what is seen into what can be compared.
    """

    def observe(functions: Functions) -> Seen:
        given = {n: fresh(a, n in gradients) for n, a in zip(names, arguments, strict=True)}
        before = {n: fresh(a) for n, a in given.items()}
        returned = functions[function](*given.values())
        seen = named_results(function, returned, results)
        for label, argument in given.items():
            was = before[label]
            if label in changes:
                seen[f"the change of {label}"] = argument - was
            elif not unchanged(argument, was):
                raise Complaint(f"{function} changes its argument {label}; it must leave it alone")
        if gradients:
            seen |= gradients_of(function, seen, {name: given[name] for name in gradients})
        return show(seen) if show else seen

    return Case(function, name, observe, tolerance)


def named_results(function: str, returned: Any, results: Sequence[str]) -> Seen:
    """What a function returned, by name; a complaint where it is not as many things."""
    if not results:
        return {}
    if len(results) == 1:
        if returned is None:
            raise Complaint(f"{function} returns nothing (None); it is to return {results[0]}")
        return {results[0]: returned}
    expected = ", ".join(results)
    if not isinstance(returned, tuple | list):
        kind = type(returned).__name__
        raise Complaint(f"{function} returns one {kind}; it is to return {expected}")
    if len(returned) != len(results):
        raise Complaint(f"{function} returns {len(returned)} things; it is to return {expected}")
    return dict(zip(results, returned, strict=True))


def fresh(value: Any, differentiated: bool = False) -> Any:
    """A copy with the same memory layout, which nothing else refers to."""
    if is_tensor(value):
        import torch

        source = value.detach()
        copied = torch.empty_strided(source.shape, source.stride(), dtype=source.dtype)
        copied.copy_(source)
        return copied.requires_grad_() if differentiated else copied
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if isinstance(value, list | tuple):
        return type(value)(fresh(v) for v in value)
    return value if callable(value) else copy.deepcopy(value)


def unchanged(now: Any, before: Any) -> bool:
    """Whether an argument still has the content it had."""
    if is_tensor(now):
        return now.shape == before.shape and bool(_same(now.detach().numpy(), before.numpy()))
    if isinstance(now, np.ndarray):
        return now.shape == before.shape and _same(now, before)
    if isinstance(now, list | tuple):
        return len(now) == len(before) and all(map(unchanged, now, before))
    return callable(now) or bool(now == before)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def gradients_of(function: str, seen: Seen, chosen: dict[str, Any]) -> Seen:
    """The gradients of all floating results, weighted, by the chosen tensors."""
    import torch

    total = None
    for number, value in enumerate(v for v in seen.values() if is_tensor(v)):
        if value.requires_grad:
            weights = torch.linspace(-1.0, 2.0, value.numel(), dtype=value.dtype)
            part = (torch.cos(weights * (3 + number)) * value.reshape(-1)).sum()
            total = part if total is None else total + part
    if total is None:
        raise Complaint(cut_off(function, next(iter(chosen))))
    found = torch.autograd.grad(total, list(chosen.values()), allow_unused=True)
    for name, gradient in zip(chosen, found, strict=True):
        if gradient is None:
            raise Complaint(cut_off(function, name))
    return {f"the gradient by {n}": g for n, g in zip(chosen, found, strict=True)}


def cut_off(function: str, name: str) -> str:
    return (
        f"no gradient of what {function} returns reaches {name}: detach(), .data, .item(), "
        "torch.tensor() or NumPy on the way cut it off"
    )


def is_tensor(value: Any) -> bool:
    """Whether a value is torch's (which is not imported for the question)."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "requires_grad")
