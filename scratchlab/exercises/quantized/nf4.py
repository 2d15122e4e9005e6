"""Exercise: 4-bit NormalFloat."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from scratchlab.exercises.contract import (
    Case,
    Exercise,
    Functions,
    Mistake,
    Replacement,
    Timed,
)
from scratchlab.exercises.looking import case
from scratchlab.registry import register

START = '''\
"""Exercise nf4: weights as 4-bit NormalFloat.

Dettmers et al. 2023, "QLoRA", section 3 and appendix E. Sixteen values from -1 to 1 stand where
normally distributed weights are: each is a quantile of the normal distribution,

    8 positive: Φ⁻¹ at 8 points, evenly spaced from 0.9677083 down towards 0.5 (left out),
    0,
    7 negative: -Φ⁻¹ at 7 points, evenly spaced from 0.9677083 down towards 0.5 (left out),

all divided by the largest. A matrix is cut into blocks of 64 numbers; each is divided by its
largest absolute value and becomes the number (code) of the nearest of the 16 values.
"""

from statistics import NormalDist

import numpy as np

BLOCK = 64


def table():
    """→ the 16 values, ascending. NormalDist().inv_cdf is Φ⁻¹."""
    raise NotImplementedError


def quantize(weight):
    """weight: floats of any shape, an even number of them → (codes, maxima).

    codes uint8 [numbers / 2]: two 4-bit codes a byte, the first one in the upper half. maxima: the
    largest absolute value of each block; the last block may be shorter than 64, and a block may be
    all zeros.
    """
    raise NotImplementedError


def dequantize(codes, maxima, shape):
    """What quantize returned, and the shape of the weights → floats of that shape."""
    raise NotImplementedError
'''

OFFSET = 0.9677083
PUBLISHED = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip
"""QLoRA, appendix E."""


def plain_table(wrong: frozenset[str]) -> Any:
    if "evenly spaced" in wrong:
        return np.linspace(-1, 1, 16)
    inverse = NormalDist().inv_cdf
    above, below = (8, 8) if "no zero" in wrong else (9, 8)
    if "no zero" in wrong:
        points = np.linspace(OFFSET, 0.5, 17)[:-1:2]
        half = [inverse(p) for p in points]
        values = [*half, *(-v for v in half)]
    else:
        positive = [inverse(p) for p in np.linspace(OFFSET, 0.5, above)[:-1]]
        negative = [-inverse(p) for p in np.linspace(OFFSET, 0.5, below)[:-1]]
        if "seven positive values" in wrong:
            positive, negative = [-v for v in negative], [-v for v in positive]
        values = [*positive, 0.0, *negative]
    found = np.sort(values)
    return found if "not divided by the largest" in wrong else found / np.abs(found).max()


def plain_quantize(wrong: frozenset[str], weight: Any) -> tuple[Any, Any]:
    values = plain_table(frozenset())
    flat = np.asarray(weight, dtype=np.float64).reshape(-1)
    blocks = np.pad(flat, (0, -len(flat) % 64)).reshape(-1, 64)
    maxima = np.abs(blocks).max(1)
    if "the largest in place of the largest size" in wrong:
        maxima = blocks.max(1)
    if "one maximum for all" in wrong:
        maxima = np.full_like(maxima, maxima.max())
    scaled = blocks / np.where(maxima == 0, 1.0, maxima)[:, None]
    if "the next lower value" in wrong:
        index = np.searchsorted(values, scaled, side="right") - 1
    else:
        index = np.abs(scaled[..., None] - values).argmin(-1)
    index = index.reshape(-1)[: len(flat)].clip(0, 15).astype(np.uint8)
    first, second = index[0::2], index[1::2]
    if "first code in the lower half" in wrong:
        first, second = second, first
    return (first << 4) | second, maxima


def plain_dequantize(wrong: frozenset[str], codes: Any, maxima: Any, shape: Any) -> Any:
    pair = [codes >> 4, codes & 15]
    if "first code in the lower half" in wrong:
        pair.reverse()
    if "upper half not shifted" in wrong:
        pair[0] = (codes & 240) % 16
    index = np.stack(pair, 1).reshape(-1)
    if "halves one after the other" in wrong:
        index = np.concatenate(pair)
    values = plain_table(frozenset())[index]
    if "not multiplied by the maxima" not in wrong:
        values = values * np.repeat(maxima, 64)[: len(values)]
    return values.reshape(shape)


def published() -> Any:
    return np.array(PUBLISHED)


def one_by_one(weight: Any) -> tuple[Any, Any]:
    """Number by number, with the table as it was published."""
    middles = [(a + b) / 2 for a, b in pairwise(PUBLISHED)]
    flat = weight.reshape(-1).tolist()
    maxima = [max(map(abs, flat[i : i + 64])) for i in range(0, len(flat), 64)]
    index = [bisect.bisect_left(middles, w / (maxima[i // 64] or 1.0)) for i, w in enumerate(flat)]
    codes = [16 * a + b for a, b in zip(index[::2], index[1::2])]
    return np.array(codes, dtype=np.uint8), np.array(maxima)


def one_by_one_back(codes: Any, maxima: Any, shape: Any) -> Any:
    index = [half for byte in codes.tolist() for half in divmod(byte, 16)]
    found = [PUBLISHED[code] * maxima[i // 64] for i, code in enumerate(index)]
    return np.array(found).reshape(shape)


@register(
    "exercise",
    "nf4",
    paper="Dettmers et al. 2023",
    with_torch=False,
    use="eval RUN method=nf4 method.nf4.double=false method.nf4.path=reference",
)
class NormalFloat(Exercise):
    """Weights as 4-bit NormalFloat (NF4)."""

    START = START
    HINTS = (
        "np.linspace(0.9677083, 0.5, 9)[:-1] are the eight points of the positive side; with 8 in "
        "place of 9 the seven of the negative one.",
        "Pad the flat weights with zeros to a multiple of 64 and reshape to [-1, 64]; cut the "
        "codes to the real number afterwards.",
        "The nearest value: np.abs(scaled[..., None] - table()).argmin(-1), or np.searchsorted in "
        "the middles between neighbours.",
        "Two codes in a byte: (index[0::2] << 4) | index[1::2], all uint8. Back: codes >> 4 and "
        "codes & 15.",
    )
    MISTAKES = (
        Mistake(
            "evenly spaced",
            "table",
            "the values are evenly spaced (that is int4). They are quantiles of a normal "
            "distribution: dense near 0.",
        ),
        Mistake(
            "no zero",
            "table",
            "eight positive and eight negative values, and no zero. Zero must be exact, so the "
            "negative side has one value less.",
        ),
        Mistake(
            "not divided by the largest",
            "table",
            "the values do not end at -1 and 1. Divide by the largest.",
        ),
        Mistake(
            "seven positive values",
            "table",
            "the sides are swapped: eight values are positive, seven negative.",
        ),
        Mistake(
            "one maximum for all",
            "quantize",
            "the whole matrix has one maximum. Each block of 64 has its own.",
        ),
        Mistake(
            "the next lower value",
            "quantize",
            "the code is that of the next lower value, not of the nearest.",
        ),
        Mistake(
            "first code in the lower half",
            "quantize",
            "the first code of a byte stands in its lower half. It stands in the upper one.",
        ),
        Mistake(
            "the largest in place of the largest size",
            "quantize",
            "max w in place of max|w|: negative weights come out beyond -1.",
        ),
        Mistake(
            "first code in the lower half",
            "dequantize",
            "the first code of a byte stands in its lower half. It stands in the upper one.",
        ),
        Mistake(
            "halves one after the other",
            "dequantize",
            "all upper halves come before all lower ones. The two codes of a byte are neighbours.",
        ),
        Mistake(
            "upper half not shifted",
            "dequantize",
            "the upper half is not shifted down by 4 bits.",
        ),
        Mistake(
            "not multiplied by the maxima",
            "dequantize",
            "the values lie between -1 and 1. Multiply by the maximum of each block.",
        ),
    )
    LIBRARY = ("bitsandbytes", "quantize_4bit", "quantize_nf4")
    BESIDE = "plain NumPy"

    def reference(self) -> Functions:
        return {"table": published, "quantize": one_by_one, "dequantize": one_by_one_back}

    def fast(self) -> Functions:
        return self.plain(frozenset())

    def plain(self, wrong: frozenset[str]) -> Functions:
        return {
            "table": lambda: plain_table(wrong),
            "quantize": lambda *a: plain_quantize(wrong, *a),
            "dequantize": lambda *a: plain_dequantize(wrong, *a),
        }

    def cases(self) -> list[Case]:
        rng = np.random.default_rng(18)

        def there(name: str, weight: Any) -> Case:
            given = (np.asarray(weight, dtype=np.float64),)
            results = ("codes", "maxima")
            return case("quantize", name, ("weight",), given, results=results)

        def back(name: str, weight: Any) -> Case:
            given = (*one_by_one(np.asarray(weight, dtype=np.float64)), np.shape(weight))
            names = ("codes", "maxima", "shape")
            results = ("the weights",)
            return case("dequantize", name, names, given, results=results, tolerance=1e-5)

        drawn = rng.normal(size=(4, 64))
        uneven = drawn * np.array([[1.0], [100.0], [0.01], [3.0]])
        weights = {
            "four blocks": drawn,
            "blocks of unlike size": uneven,
            "a short last block": rng.normal(size=(5, 30)),
            "a block of zeros": np.vstack([np.zeros(64), drawn[:1]]),
            "all below 0": -np.abs(drawn),
            "two numbers": [[0.3, -0.7]],
            "not contiguous": rng.normal(size=(64, 3)).T,
        }
        return [
            case("table", "the 16 values", (), (), results=("the table",), tolerance=1e-5,
                 show=lambda seen: {n: np.asarray(v, dtype=float) for n, v in seen.items()}),
            *(there(name, weight) for name, weight in weights.items()),
            *(back(name, weight) for name, weight in weights.items()),
        ]  # fmt: skip

    def timed(self) -> Timed:
        weight = np.random.default_rng(0).normal(size=(256, 256))
        return Timed("[256, 256]", lambda f: f["quantize"](weight))

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        method = config["method"].get("nf4")
        if method is None:
            return "nothing is quantized; add method=nf4"
        if method["double"]:
            return "it keeps its maxima as they are; set method.nf4.double=false"
        if method["path"] != "reference":
            return "the compiled loops read the codes themselves; set method.nf4.path=reference"
        return None

    def replacements(self, functions: Functions) -> Iterator[Replacement]:
        """Codes of a matrix and the way back, in method=nf4 (the table is used by both)."""
        import torch

        from scratchlab.methods import nf4 as built_in

        def quantize(weight: Any, double: bool) -> built_in.NF4:
            codes, maxima = functions["quantize"](weight.detach().double().cpu().numpy())
            stored = torch.from_numpy(np.asarray(codes, dtype=np.uint8))
            largest = torch.from_numpy(np.asarray(maxima, dtype=np.float32))
            return built_in.NF4(stored.to(weight.device), largest.to(weight.device), None, None)

        def dequantize(stored: built_in.NF4, shape: Any) -> Any:
            codes, maxima = (t.cpu().numpy() for t in (stored.codes, stored.maxima))
            floats = functions["dequantize"](codes, maxima.astype(np.float64), tuple(shape))
            found = torch.from_numpy(np.asarray(floats, dtype=np.float32))
            return found.to(stored.codes.device)

        yield Replacement(built_in, "quantize_nf4", quantize)
        yield Replacement(built_in, "dequantize_nf4", dequantize)
