"""Exercise: weights as 8-bit integers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Seen,
    Timed,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise int8: weights as 8-bit integers, absmax and zero-point.

Jacob et al. 2018; Dettmers et al. 2022, "LLM.int8()". Each row of a matrix has a scale of its own.

    absmax        w ≈ scale · q          scale = max|w| / 127,          q = round(w / scale)
    zero-point    w ≈ scale · (q - z)    scale = (high - low) / 255,    q = round(w / scale) + z
                  low = min(0, min w), high = max(0, max w): zero itself must be exact;
                  z = -128 - round(low / scale)

Rounding is np.round's; q of the zero-point form is kept within -128 … 127. The scale of a row of
zeros is 1.
"""

import numpy as np


def absmax(weight):
    """weight [rows, columns], floats → (q int8 [rows, columns], scale [rows])."""
    raise NotImplementedError


def zero_point(weight):
    """weight [rows, columns], floats → (q int8 [rows, columns], scale [rows], z int32 [rows])."""
    raise NotImplementedError


def dequantize(q, scale, z):
    """q int8 [rows, columns], scale [rows], z int32 [rows] (0 for absmax) → floats."""
    raise NotImplementedError
'''


def as_int8(values: Any, wrong: frozenset[str]) -> Any:
    """Rounded, within the range, unless a mistake says otherwise."""
    values = np.trunc(values) if "cut off in place of rounded" in wrong else np.round(values)
    if "not kept in range" in wrong:
        return values.astype(np.int64).astype(np.int8)
    return values.clip(-128, 127).astype(np.int8)


def plain_absmax(wrong: frozenset[str], weight: Any) -> tuple[Any, Any]:
    largest = np.abs(weight).max(1)
    if "the largest in place of the largest size" in wrong:
        largest = weight.max(1)
    if "one scale for all rows" in wrong:
        largest = np.full_like(largest, largest.max())
    scale = largest / (128 if "divided by 128" in wrong else 127)
    scale = np.where(largest == 0, 1.0, scale)
    if "multiplied by the scale" in wrong:
        return as_int8(weight * scale[:, None], wrong), scale
    keeps = wrong - {"not kept in range"}
    if "divided by 128" in wrong or "the largest in place of the largest size" in wrong:
        keeps = wrong | {"not kept in range"}
    return as_int8(weight / scale[:, None], keeps), scale


def plain_zero_point(wrong: frozenset[str], weight: Any) -> tuple[Any, Any, Any]:
    low, high = weight.min(1), weight.max(1)
    if "zero is not exact" not in wrong:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    if "one scale for all rows" in wrong:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    scale = (high - low) / (256 if "divided by 256" in wrong else 255)
    scale = np.where(scale == 0, 1.0, scale)
    z = -128 - np.round(low / scale)
    if "0 … 255" in wrong:
        z = -np.round(low / scale)
        q = (np.round(weight / scale[:, None]) + z[:, None]).astype(np.int64).astype(np.int8)
        return q, scale, z.astype(np.int32)
    q = as_int8(np.round(weight / scale[:, None]) + z[:, None], wrong)
    if "cut off in place of rounded" in wrong:
        q = as_int8(np.trunc(weight / scale[:, None]) + z[:, None], wrong)
    return q, scale, z.astype(np.int32)


def plain_dequantize(wrong: frozenset[str], q: Any, scale: Any, z: Any) -> Any:
    if "differences within int8" in wrong:
        return (q - z[:, None].astype(np.int8)) * scale[:, None]
    if "scaled before the zero point" in wrong:
        return q * scale[:, None] - z[:, None]
    shift = z[:, None] if "zero point added" in wrong else -z[:, None]
    return (q.astype(np.int64) + shift) * scale[:, None]


def one_by_one_absmax(weight: Any) -> tuple[Any, Any]:
    q, scales = [], []
    for row in weight.tolist():
        scale = max(map(abs, row)) / 127 or 1.0
        q.append([round(w / scale) for w in row])
        scales.append(scale)
    return np.array(q, dtype=np.int8), np.array(scales)


def one_by_one_zero_point(weight: Any) -> tuple[Any, Any, Any]:
    q, scales, zeros = [], [], []
    for row in weight.tolist():
        low, high = min(0.0, *row), max(0.0, *row)
        scale = (high - low) / 255 or 1.0
        z = -128 - round(low / scale)
        q.append([max(-128, min(127, round(w / scale) + z)) for w in row])
        scales.append(scale)
        zeros.append(z)
    return np.array(q, dtype=np.int8), np.array(scales), np.array(zeros, dtype=np.int32)


def one_by_one_dequantize(q: Any, scale: Any, z: Any) -> Any:
    rows = zip(q.tolist(), scale.tolist(), z.tolist())
    return np.array([[s * (n - zero) for n in row] for row, s, zero in rows])


@register(
    "exercise",
    "int8",
    paper="Dettmers et al. 2022",
    with_torch=False,
    use="eval RUN method=int8 method.int8.path=reference",
)
class Int8Weights(Exercise):
    """Weights as 8-bit integers: absmax and zero-point."""

    START = START
    HINTS = (
        "np.abs(weight).max(1) is a number a row; scale[:, None] makes a column of it that divides "
        "every row.",
        "A row of zeros would be divided by 0: np.where(largest == 0, 1.0, largest / 127).",
        "astype(np.int8) cuts off what stands behind the point, and wraps what is too large: round "
        "and clip before.",
        "dequantize: an int8 minus an int8 overflows. Make floats of q first.",
    )
    MISTAKES = (
        Mistake(
            "divided by 128",
            "absmax",
            "the scale is max|w| / 128, so the largest weight becomes 128, which is no int8. "
            "Divide by 127.",
        ),
        Mistake(
            "cut off in place of rounded",
            "absmax",
            "astype(np.int8) cuts off: 2.9 becomes 2. Round first.",
        ),
        Mistake(
            "one scale for all rows",
            "absmax",
            "the whole matrix has one scale. Each row has its own, or one outlier spoils them all.",
        ),
        Mistake(
            "the largest in place of the largest size",
            "absmax",
            "max w in place of max|w|: rows whose largest weight is negative overflow.",
        ),
        Mistake("multiplied by the scale", "absmax", "q = round(w · scale). It is divided by it."),
        Mistake(
            "zero is not exact",
            "zero_point",
            "low and high are those of the weights alone. They take in 0, so that 0 is one of the "
            "values.",
        ),
        Mistake(
            "0 … 255",
            "zero_point",
            "q lies between 0 and 255 and wraps around as int8. It begins at -128.",
        ),
        Mistake("divided by 256", "zero_point", "256 values have 255 steps between them."),
        Mistake(
            "cut off in place of rounded",
            "zero_point",
            "w / scale is cut off in place of rounded.",
        ),
        Mistake("one scale for all rows", "zero_point", "the whole matrix has one scale."),
        Mistake("zero point added", "dequantize", "z is added. It is subtracted: scale · (q - z)."),
        Mistake(
            "scaled before the zero point",
            "dequantize",
            "z is subtracted after scaling: scale · q - z. It is scale · (q - z).",
        ),
        Mistake(
            "differences within int8",
            "dequantize",
            "q - z is computed in int8, where 100 - (-100) is -56. Make floats (or int32) of q "
            "first.",
        ),
    )
    LIBRARY = ("quantize_per_channel", "quantize_per_tensor", "bitsandbytes")
    BESIDE = "plain NumPy"

    def reference(self) -> Functions:
        return {
            "absmax": one_by_one_absmax,
            "zero_point": one_by_one_zero_point,
            "dequantize": one_by_one_dequantize,
        }

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {
            "absmax": lambda *a: plain_absmax(wrong, *a),
            "zero_point": lambda *a: plain_zero_point(wrong, *a),
            "dequantize": lambda *a: plain_dequantize(wrong, *a),
        }

    def cases(self) -> list[Case]:
        rng = np.random.default_rng(17)

        def both(name: str, weight: Any) -> list[Case]:
            given = (np.asarray(weight, dtype=np.float64),)
            results = ("q", "scale", "z")
            return [
                case("absmax", name, ("weight",), given, results=results[:2]),
                case("zero_point", name, ("weight",), given, results=results, show=_zero_as_number),
            ]

        def back(name: str, q: list[list[int]], scale: list[float], z: list[int]) -> Case:
            given = (np.array(q, np.int8), np.array(scale), np.array(z, np.int32))
            return case("dequantize", name, ("q", "scale", "z"), given, results=("the weights",))

        drawn = rng.normal(size=(4, 9))
        pairs = [
            both("a matrix of 4 × 9", drawn),
            both("a row of outliers", drawn * np.array([[1.0], [50.0], [0.01], [1.0]])),
            both("all weights above 0", np.abs(drawn) + 2),
            both("all weights below 0", -np.abs(drawn) - 2),
            both("a row of zeros", np.vstack([np.zeros(5), rng.normal(size=5)])),
            both("one weight", [[-0.3]]),
            both("not contiguous", rng.normal(size=(6, 3)).T),
            both("the ends of the range", [[-127.0, 126.6, 0.4, 0.6, -3.5]]),
        ]
        return [
            *(pair[0] for pair in pairs),
            *(pair[1] for pair in pairs),
            back("without a zero point", [[-127, 0, 64], [5, 1, -1]], [0.5, 0.01], [0, 0]),
            back("with a zero point", [[-128, 0, 127], [5, 1, -1]], [0.5, 0.02], [-100, 90]),
            back("one row", [[100]], [2.0], [-100]),
        ]

    def timed(self) -> Timed:
        weight = np.random.default_rng(0).normal(size=(512, 512))
        return Timed("[512, 512]", lambda f: f["absmax"](weight))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        method = config["method"].get("int8")
        if method is None:
            return "nothing is quantized; add method=int8"
        if method["path"] != "reference":
            return "the fast products read the integers themselves; set method.int8.path=reference"
        return None

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """Making integers of a matrix and floats of them, in method=int8."""
        import torch

        from scratchlab.methods import int8 as built_in

        def quantize(weight: Any, scheme: str, per_channel: bool) -> built_in.Quantized:
            matrix = weight.detach().double().cpu().numpy()
            rows = matrix if per_channel else matrix.reshape(1, -1)
            q, scale, *z = functions["absmax" if scheme == "absmax" else "zero_point"](rows)
            values = torch.from_numpy(np.ascontiguousarray(q).reshape(matrix.shape))
            column = torch.from_numpy(np.asarray(scale, dtype=np.float32))[:, None]
            zero = torch.from_numpy(np.asarray(z[0], dtype=np.int32))[:, None] if z else None
            at = weight.device
            return built_in.Quantized(
                values.to(at), column.to(at), None if zero is None else zero.to(at)
            )

        def dequantize(self: Any) -> Any:
            values = self.values.cpu().numpy()
            rows = values if len(self.scale) > 1 else values.reshape(1, -1)
            scale = self.scale[:, 0].double().cpu().numpy()
            zero = np.zeros(len(scale), np.int32)
            if self.zero_point is not None:
                zero = self.zero_point[:, 0].cpu().numpy()
            floats = np.asarray(functions["dequantize"](rows, scale, zero), dtype=np.float32)
            return torch.from_numpy(floats.reshape(values.shape)).to(self.values.device)

        yield Replacement(built_in, "quantize", quantize)
        yield Replacement(built_in.Int8Weight, "dequantize", dequantize)


def _zero_as_number(seen: Seen) -> Seen:
    """z may be any whole numbers."""
    z = np.asarray(seen["z"])
    return {**seen, "z": z.astype(np.int64) if z.dtype.kind in "iu" else z}
