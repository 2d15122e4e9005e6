"""How a few numbers of a row are multiplied with as many weights, in registers: by floats, or by
bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

from scratchlab.models.compiled import memory as m
from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.loops import (
    f32,
    jit,
    load_bfloat16,
    load_float32,
    load_int8,
)
from scratchlab.models.compiled.operations import INPUTS, SUMS, X


class Multiplication(NamedTuple):
    """How a row is multiplied with weights, ``stretch`` numbers of both at a time.

    ``prepared(op, rows, scratch)`` gives where the rows stand, the bytes of each and where their
    scales are; a stretch of them has ``row_bytes``. ``row`` and ``weights`` load a stretch, ``add``
    adds their product to a sum that begins with ``nothing()``. ``four(op, sums, scales, r, o,
    down)`` makes the totals of four sums: of row r for the outputs from o on, or (``down``) of four
    rows from r on for the output o. A sum takes so many ``registers``.
    """

    stretch: int
    row_bytes: int
    prepared: Any
    row: Any
    weights: Any
    add: Any
    nothing: Any
    four: Any
    registers: int = 1


@jit
def parted(x, to, count):  # type: ignore[no-untyped-def]
    """Of each 32 numbers the even ones, then the odd ones: as pairs of bfloat16 are taken apart."""
    for i in range(0, 4 * count, 128):
        first, last = m.load(x + i), m.load(x + i + 64)
        m.store(to + i, v.evens(first, last))
        m.store(to + i + 64, v.odds(first, last))


@jit
def load_whole(place):  # type: ignore[no-untyped-def]
    return m.load_ints(place)


@jit
def zero():  # type: ignore[no-untyped-def]
    return v.zeros()


@jit
def four_totals(op, sums, scales, r, o, down):  # type: ignore[no-untyped-def]
    return v.four_totals(sums[0], sums[1], sums[2], sums[3])


def in_floats(kind: str) -> Multiplication:
    """Weights become floats as they are loaded."""
    halves = kind == "bfloat16"

    @jit
    def prepared(op, rows, scratch):  # type: ignore[no-untyped-def]
        width, x = m.word(op + INPUTS), m.word(op + X)
        if halves:
            parted(x, scratch, rows * width)
            x = scratch
        return x, 4 * width, 0

    @jit
    def add(sums, row, weights):  # type: ignore[no-untyped-def]
        return v.fma(row[1], weights[1], v.fma(row[0], weights[0], sums))

    load: Any = {"float32": load_float32, "bfloat16": load_bfloat16, "int8": load_int8}[kind]
    return Multiplication(32, 128, prepared, load_float32, load, add, zero, four_totals)


def in_bytes() -> Multiplication:
    """VNNI: each lane adds four products of a byte without a sign and one with a sign, exactly.

    A row is written as integers of 16 bits, x ≈ scale (256 h + l), of which h + 128 and l are such
    bytes: off by at most 1/65,534 of its largest number. ``SUMS`` of the weights take the 128 away.
    """

    @jit
    def prepared(op, rows, scratch):  # type: ignore[no-untyped-def]
        width, x = m.word(op + INPUTS), m.word(op + X)
        scales = scratch + 2 * rows * width
        for r in range(rows):
            tops, sums = v.zeros(), v.zeros()
            for i in range(0, 4 * width, 64):
                number = m.load(x + 4 * r * width + i)
                tops = v.larger(tops, v.larger(number, v.minus(v.zeros(), number)))
                sums = v.plus(sums, v.times(number, v.zeros()))  # 0, or no number
            largest = max(v.largest(tops), f32(1e-30))
            for i in range(0, width, 16):
                number = v.scaled(m.load(x + 4 * (r * width + i)), f32(32767) / largest)
                # 64 times h, then 64 times l
                m.store_digits(scratch + 2 * (r * width + i) - i % 64, number)
            m.put(scales + 4 * r, largest / f32(32767) + v.total(sums))
        return scratch, 2 * width, scales

    @jit
    def row(place):  # type: ignore[no-untyped-def]
        return m.load_ints(place), m.load_ints(place + 64)

    @jit
    def add(sums, row, weights):  # type: ignore[no-untyped-def]
        return v.dot_bytes(sums[0], row[0], weights), v.dot_bytes(sums[1], row[1], weights)

    @jit
    def nothing():  # type: ignore[no-untyped-def]
        return v.whole_zeros(), v.whole_zeros()

    @jit
    def four(op, sums, scales, r, o, down):  # type: ignore[no-untyped-def]
        a, b, c, d = sums
        if down:
            of_weights = v.spread(m.single(m.word(op + SUMS) + 4 * o))
            scale = m.load_four(scales + 4 * r)
        else:
            of_weights = m.load_four(m.word(op + SUMS) + 4 * o)
            scale = v.spread(m.single(scales + 4 * r))
        totals = v.four_totals(
            v.from_digits(a[0], a[1]),
            v.from_digits(b[0], b[1]),
            v.from_digits(c[0], c[1]),
            v.from_digits(d[0], d[1]),
        )
        return v.times(v.fma(of_weights, v.spread(f32(-(2.0**15))), totals), scale)

    return Multiplication(64, 128, prepared, row, load_whole, add, nothing, four, 2)
