"""The first difference between what a person's function shows and what is right, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchlab.errors import number_of, shortened
from scratchlab.exercises.contract import Seen
from scratchlab.exercises.looking import is_tensor

SMALL = 1e-3
"""Where all numbers are smaller, what is left of sums that vanish is not looked at so closely."""


def difference(theirs: Seen, right: Seen, tolerance: float) -> str | None:
    """What differs first, and where; None if nothing does.

    Not-a-numbers and infinities are equal to each other: only mistakes lead to them.
    """
    for name, value in right.items():
        if name not in theirs:
            return f"{name} is missing"
        found = _differs(theirs[name], value, tolerance)
        if found:
            return f"{name} {found}"
    return None


def _differs(theirs: Any, right: Any, tolerance: float) -> str | None:
    theirs, right = _plain(theirs), _plain(right)
    if isinstance(right, np.ndarray):
        return _array_differs(theirs, right, tolerance)
    if isinstance(right, list | tuple):
        return _list_differs(theirs, right, tolerance)
    if isinstance(right, dict):
        return _dict_differs(theirs, right, tolerance)
    if type(theirs) is not type(right) or theirs != right:
        return f"is {shortened(theirs)}, right is {shortened(right)}"
    return None


def _plain(value: Any) -> Any:
    """Tensors and numbers as arrays."""
    if is_tensor(value):
        return value.detach().cpu().numpy()
    if isinstance(value, int | float | np.generic) and not isinstance(value, bool):
        return np.asarray(value)
    return value


def _array_differs(theirs: Any, right: np.ndarray, tolerance: float) -> str | None:
    if not isinstance(theirs, np.ndarray):
        try:
            theirs = np.asarray(theirs)
        except ValueError:  # rows of unequal lengths
            theirs = np.asarray(None)
        if theirs.dtype.kind not in "biuf":
            return f"is no {'array' if right.ndim else 'number'} of numbers"
    if theirs.shape != right.shape:
        return f"has the shape {list(theirs.shape)}, right is {list(right.shape)}"
    if _kind(theirs) != _kind(right):
        return f"holds {_kind(theirs)}, right is {_kind(right)}"
    if right.dtype.kind == "f" and right.ndim and theirs.dtype != right.dtype:
        return f"is {theirs.dtype}, right is {right.dtype}"
    return _values_differ(theirs, right, tolerance)


def _kind(values: np.ndarray) -> str:
    return {"b": "truth values", "f": "floats"}.get(values.dtype.kind, "whole numbers")


def _values_differ(theirs: np.ndarray, right: np.ndarray, tolerance: float) -> str | None:
    a, b = theirs.astype(np.float64), right.astype(np.float64)
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    atol = tolerance * max(scale, SMALL if scale else 1.0)
    with np.errstate(invalid="ignore"):
        equal = (np.abs(a - b) <= atol) | ~(np.isfinite(a) | np.isfinite(b))
    if equal.all():
        return None
    wrong = np.argwhere(~equal)
    first = tuple(wrong[0])
    place = f" at {[int(i) for i in first]}" if right.ndim else ""
    text = f"differs{place}: yours is {_number(a[first])}, right is {_number(b[first])}"
    if right.size == 1:
        return text
    gaps = np.abs(a - b)[~equal]
    by = f" by up to {_number(gaps.max())}" if np.isfinite(gaps).all() else ""
    return f"{text} ({len(wrong):,} of {number_of(right.size, 'number')} differ{by})"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _list_differs(theirs: Any, right: Any, tolerance: float) -> str | None:
    if not isinstance(theirs, list | tuple):
        return f"is {_shown(theirs)}, right is a list of {len(right)}"
    for place, (a, b) in enumerate(zip(theirs, right)):
        found = _differs(a, b, tolerance)
        if found:
            return f"[{place}] {found}"
    if len(theirs) != len(right):
        more = right[len(theirs)] if len(theirs) < len(right) else theirs[len(right)]
        word = "lacks" if len(theirs) < len(right) else "has in excess"
        return f"has {len(theirs)} entries, right is {len(right)}; it {word} {_shown(more)}"
    return None


def _dict_differs(theirs: Any, right: dict[Any, Any], tolerance: float) -> str | None:
    if not isinstance(theirs, dict):
        return f"is {_shown(theirs)}, right is a dictionary"
    for key, value in right.items():
        if key not in theirs:
            return f"lacks {_shown(key)}"
        found = _differs(theirs[key], value, tolerance)
        if found:
            return f"[{_shown(key)}] {found}"
    for key in theirs:
        if key not in right:
            return f"has {_shown(key)}, which it is not to have"
    return None


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray) or is_tensor(value):
        return f"an array of shape {list(value.shape)}"
    return shortened(value)
