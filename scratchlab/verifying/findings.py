"""What a check finds: how far two things are apart that must be equal, and what may explain it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BIT_EQUAL, ROUNDING, NOT_EQUAL = "bit-equal", "within rounding", "not equal"
NO_CASE, FAILED = "does not apply", "failed"
WRONG = (NOT_EQUAL, FAILED)

FACTOR = 8
"""Of a rounding error that is not a sum's: norms, softmax, the way back through a layer."""

BLOCK = 1 << 20  # numbers that are compared at once

SMALL_SHARE = 0.01
"""Of several arrays, none is asked for more digits than this share of the largest one has: what is
zero but for rounding has none."""


class DoesNotApply(Exception):
    """There is nothing to check here, for a reason that is said."""


@dataclass(frozen=True)
class Tolerance:
    """The largest difference, as a share of the largest number, that is none; and why."""

    value: float
    why: str


EXACT = Tolerance(0.0, "the same steps on the same numbers: no bit may differ")


def rounding(added: float, epsilon: float = 2.0**-23, kind: str = "float32") -> Tolerance:
    """Of numbers for which ``added`` products are added up in another order.

    Rounding errors of sums grow like a random walk, with the root of their number (Higham and Mary
    2019, "A new approach to probabilistic rounding error analysis").
    """
    added = max(added, 1)
    return Tolerance(
        FACTOR * epsilon * math.sqrt(added),
        f"{FACTOR} · ε · √n, ε = {epsilon:.2g} of {kind}, n = {added:,.0f} products added up",
    )


@dataclass
class Finding:
    """``what`` had to be equal however it came about (``how``); ``difference`` is the largest, as a
    share of the largest number, and stands in ``where``. ``why``: what the tolerance is made of, or
    why nothing was checked."""

    how: str
    what: str
    result: str
    difference: float | None = None
    tolerance: float | None = None
    where: str = ""
    why: str = ""


@dataclass(frozen=True)
class Gap:
    """How far arrays are apart; ``same_bits`` tells more than a difference of zero."""

    value: float = 0.0
    where: str = ""
    same_bits: bool = True


def judged(how: str, what: str, gap: Gap, tolerance: Tolerance = EXACT) -> Finding:
    """A gap measured with what is allowed."""
    if gap.same_bits:
        result = BIT_EQUAL
    else:
        result = ROUNDING if gap.value <= tolerance.value and tolerance.value else NOT_EQUAL
    return Finding(how, what, result, gap.value, tolerance.value, gap.where, tolerance.why)


def largest(gaps: Iterable[Gap]) -> Gap:
    """The widest of several gaps."""
    return max(gaps, key=lambda g: (g.value, not g.same_bits), default=Gap())


def gap(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Gap:
    """The largest difference of arrays (NumPy's or torch's) of the same names.

    Each is measured by its own largest number, or by a share of the largest of all if that is more.
    What is missing, has another shape or is not finite in one of them is infinitely far.
    """
    names = [*expected, *(name for name in found if name not in expected)]
    missing = [name for name in names if name not in expected or name not in found]
    if missing:
        return Gap(math.inf, f"{missing[0]} is in one of them only", False)
    pairs = {name: (_plain(expected[name]), _plain(found[name])) for name in names}
    floor = SMALL_SHARE * max((_size(a) for a, _ in pairs.values()), default=0.0)
    return largest(_gap_of(name, a, b, floor) for name, (a, b) in pairs.items())


def gap_of(where: str, expected: Any, found: Any) -> Gap:
    """The difference of two arrays or numbers, called ``where``."""
    return gap({where: expected}, {where: found})


def _plain(array: Any) -> np.ndarray:
    """As NumPy's; bfloat16, which it does not have, as float32."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
        return np.asarray(array.numpy())
    return np.asarray(array)


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """All numbers as float64, some at a time."""
    flat = array.reshape(-1)
    for first in range(0, flat.size, BLOCK):
        yield flat[first : first + BLOCK].astype(np.float64)


def _size(array: np.ndarray) -> float:
    """The largest number that is finite, without its sign."""
    finite = (np.abs(block[np.isfinite(block)]) for block in _blocks(array))
    return max((float(block.max()) for block in finite if block.size), default=0.0)


def _gap_of(name: str, a: np.ndarray, b: np.ndarray, floor: float) -> Gap:
    if a.shape != b.shape:
        return Gap(math.inf, f"{name}: {list(a.shape)} against {list(b.shape)}", False)
    if a.dtype == b.dtype and np.array_equal(_bits(a), _bits(b)):
        return Gap(0.0, name)
    widest, at = -1.0, 0
    for number, (x, y) in enumerate(zip(_blocks(a), _blocks(b), strict=True)):
        apart = np.abs(x - y)
        if not np.isfinite(apart).all():
            return Gap(math.inf, f"{name} is not finite", False)
        if apart.max() > widest:
            widest, at = float(apart.max()), number * BLOCK + int(apart.argmax())
    scale = max(_size(a), floor)
    place = np.unravel_index(at, a.shape) if a.shape else ()
    where = f"{name}[{', '.join(map(str, place))}]" if place else name
    return Gap(widest / scale if scale else widest, where, False)


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def texts_gap(expected: Sequence[Sequence[int]], found: Sequence[Sequence[int]], name: str) -> Gap:
    """Of texts as ids: nothing, or infinitely far at the first token that differs."""
    for number, (a, b) in enumerate(zip(expected, found, strict=True), 1):
        if list(a) != list(b):
            place = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            return Gap(math.inf, f"{name} {number}, token {place + 1}", False)
    return Gap()
