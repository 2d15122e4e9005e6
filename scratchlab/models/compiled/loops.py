"""Norm and product of a few rows. Every thread does its share of an operation.

``op`` is the address of an :class:`~scratchlab.models.compiled.operations.Operation`, ``thread``
which one it is of ``threads``. Importing this module compiles nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.operations import (
    ACTIVATION,
    ADDED,
    BIAS,
    BYTES,
    EPSILON,
    GELU,
    GELU_TANH,
    INPUTS,
    OUTPUTS,
    RELU,
    RELU2,
    SCALE,
    WEIGHT,
    X,
    Y,
)  # fmt: skip

f32 = np.float32
jit = numba.njit(error_model="numpy")


@jit
def norm(op, rows, thread, threads):  # type: ignore[no-untyped-def]
    """LayerNorm of the rows of x, which y may be."""
    width, epsilon = v.word(op + INPUTS), v.single(v.word(op + EPSILON))
    gain, shift = v.word(op + WEIGHT), v.word(op + BIAS)
    for r in range(thread, rows, threads):
        x, y = v.word(op + X) + 4 * r * width, v.word(op + Y) + 4 * r * width
        sums = v.zeros()
        for i in range(0, 4 * width, 64):
            sums = v.plus(sums, v.load(x + i))
        mean = v.spread(v.total(sums) / f32(width))
        squares = v.zeros()
        for i in range(0, 4 * width, 64):
            off = v.minus(v.load(x + i), mean)
            squares = v.fma(off, off, squares)
        factor = v.spread(f32(1) / np.sqrt(v.total(squares) / f32(width) + epsilon))
        for i in range(0, 4 * width, 64):
            value = v.times(v.times(v.minus(v.load(x + i), mean), factor), v.load(gain + i))
            if shift:
                value = v.plus(value, v.load(shift + i))
            v.store(y + i, value)


@jit
def activated(x, kind):  # type: ignore[no-untyped-def]
    one = v.spread(f32(1))
    if kind == RELU:
        return v.not_negative(x)
    if kind == RELU2:
        return v.times(v.not_negative(x), v.not_negative(x))
    if kind == GELU_TANH:  # x σ(2u), as in layers/gelu.py
        u = v.spread(f32(math.sqrt(8 / math.pi)))
        inner = v.times(v.fma(v.times(v.times(x, x), u), v.spread(f32(0.044715)), u), x)
        return v.over(x, v.plus(one, v.exponentials(v.minus(v.zeros(), inner))))
    if kind == GELU:  # x (1 + erf(x / √2)) / 2, erf within 1.5e-7 (Abramowitz & Stegun 7.1.26)
        negative = v.minus(v.zeros(), x)
        z = v.times(v.plus(v.not_negative(x), v.not_negative(negative)), v.spread(f32(0.5**0.5)))
        t = v.over(one, v.fma(z, v.spread(f32(0.3275911)), one))
        p = v.fma(t, v.spread(f32(1.061405429)), v.spread(f32(-1.453152027)))
        p = v.fma(p, t, v.spread(f32(1.421413741)))
        p = v.fma(p, t, v.spread(f32(-0.284496736)))
        p = v.fma(p, t, v.spread(f32(0.254829592)))
        tail = v.times(v.times(p, t), v.exponentials(v.minus(v.zeros(), v.times(z, z))))
        # of |x|: |x| - |x| tail / 2; of -|x|: -|x| tail / 2
        half = v.times(v.times(z, v.spread(f32(0.5**0.5))), tail)
        return v.minus(v.not_negative(x), half)
    return x


@jit
def finished(op, rows, start, end):  # type: ignore[no-untyped-def]
    """What is done to the products of all rows, of the outputs from start to end."""
    kind, count = v.word(op + ACTIVATION), v.word(op + OUTPUTS)
    if kind:
        for r in range(rows):
            y = v.word(op + Y) + 4 * r * count
            for o in range(4 * start, 4 * end, 64):
                v.store(y + o, activated(v.load(y + o), kind))


@jit
def write(op, sums, r, o, down):  # type: ignore[no-untyped-def]
    """Four sums, in the lanes 0, 4, 8 and 12: of row r to its outputs from o on, or (``down``) of
    four rows from r on to their output o."""
    scale, bias, count = v.word(op + SCALE), v.word(op + BIAS), v.word(op + OUTPUTS)
    y = v.word(op + Y) + 4 * (r * count + o)
    for i in range(4):
        value = v.lane(sums, 4 * i)
        if scale:
            value = value * v.single(scale + 4 * o)
        if bias:
            value = value + v.single(bias + 4 * o)
        if v.word(op + ADDED):
            value = value + v.single(y)
        v.put(y, value)
        if down:
            y += 4 * count
        else:
            y += 4
            o += 1


@jit
def parted(x, to, count):  # type: ignore[no-untyped-def]
    """Of each 32 numbers the even ones, then the odd ones: as pairs of bfloat16 are taken apart."""
    for i in range(0, 4 * count, 128):
        first, last = v.load(x + i), v.load(x + i + 64)
        v.store(to + i, v.evens(first, last))
        v.store(to + i + 64, v.odds(first, last))


@jit
def load_float32(place):  # type: ignore[no-untyped-def]
    return v.load(place), v.load(place + 64)


@jit
def load_bfloat16(place):  # type: ignore[no-untyped-def]
    both = v.load_ints(place)
    return v.lower_halves(both), v.upper_halves(both)


@jit
def load_int8(place):  # type: ignore[no-untyped-def]
    return v.load_signed_bytes(place), v.load_signed_bytes(place + 16)


LOADS = {"float32": load_float32, "bfloat16": load_bfloat16, "int8": load_int8}


def product_of(kind: str) -> Any:
    """The product of all rows with weights of a kind, 32 of which are loaded as two registers."""
    size, load, halves = BYTES[kind], LOADS[kind], kind == "bfloat16"

    @jit
    def add(sums, p, q, place):  # type: ignore[no-untyped-def]
        s, t = load(place)
        return v.fma(q, t, v.fma(p, s, sums))

    @jit
    def fetch(place):  # type: ignore[no-untyped-def]
        """Have 32 weights fetched that come later."""
        v.prefetch(place)
        if size == 4:
            v.prefetch(place + 64)

    @jit
    def one_row(op, x, w, width, r, o):  # type: ignore[no-untyped-def]
        """Eight outputs of a row."""
        a, b, c, d = v.zeros(), v.zeros(), v.zeros(), v.zeros()
        e, f, g, h = v.zeros(), v.zeros(), v.zeros(), v.zeros()
        step = size * width
        for i in range(0, width, 32):
            p, q, at = v.load(x + 4 * i), v.load(x + 4 * i + 64), w + size * i
            for k in range(8, 16):
                fetch(at + k * step)
            a, b = add(a, p, q, at), add(b, p, q, at + step)
            c, d = add(c, p, q, at + 2 * step), add(d, p, q, at + 3 * step)
            e, f = add(e, p, q, at + 4 * step), add(f, p, q, at + 5 * step)
            g, h = add(g, p, q, at + 6 * step), add(h, p, q, at + 7 * step)
        write(op, v.four_totals(a, b, c, d), r, o, False)
        write(op, v.four_totals(e, f, g, h), r, o + 4, False)

    @jit
    def add_rows(sums, x, step, s, t):  # type: ignore[no-untyped-def]
        """Four rows with 32 weights."""
        a, b, c, d = sums
        a = v.fma(v.load(x + 64), t, v.fma(v.load(x), s, a))
        b = v.fma(v.load(x + step + 64), t, v.fma(v.load(x + step), s, b))
        x += 2 * step
        c = v.fma(v.load(x + 64), t, v.fma(v.load(x), s, c))
        d = v.fma(v.load(x + step + 64), t, v.fma(v.load(x + step), s, d))
        return a, b, c, d

    @jit
    def eight_rows(op, x, w, width, r, o):  # type: ignore[no-untyped-def]
        """Two outputs of 8 rows: 16 sums are under way, each weight is read once for all."""
        nothing = v.zeros(), v.zeros(), v.zeros(), v.zeros()
        a, b, c, d = nothing, nothing, nothing, nothing
        for i in range(0, width, 32):
            at, row, step = w + size * i, x + 4 * i, 4 * width
            fetch(at + 2 * size * width)
            s, t = load(at)
            a, b = add_rows(a, row, step, s, t), add_rows(b, row + 4 * step, step, s, t)
            fetch(at + 3 * size * width)
            s, t = load(at + size * width)
            c, d = add_rows(c, row, step, s, t), add_rows(d, row + 4 * step, step, s, t)
        write(op, v.four_totals(a[0], a[1], a[2], a[3]), r, o, True)
        write(op, v.four_totals(b[0], b[1], b[2], b[3]), r + 4, o, True)
        write(op, v.four_totals(c[0], c[1], c[2], c[3]), r, o + 1, True)
        write(op, v.four_totals(d[0], d[1], d[2], d[3]), r + 4, o + 1, True)

    @jit
    def four_rows(op, x, w, width, r, o):  # type: ignore[no-untyped-def]
        """Four outputs of 4 rows."""
        nothing = v.zeros(), v.zeros(), v.zeros(), v.zeros()
        a, b, c, d = nothing, nothing, nothing, nothing
        for i in range(0, width, 32):
            at, row, step = w + size * i, x + 4 * i, 4 * width
            s, t = load(at)
            a = add_rows(a, row, step, s, t)
            s, t = load(at + size * width)
            b = add_rows(b, row, step, s, t)
            s, t = load(at + 2 * size * width)
            c = add_rows(c, row, step, s, t)
            s, t = load(at + 3 * size * width)
            d = add_rows(d, row, step, s, t)
        write(op, v.four_totals(a[0], a[1], a[2], a[3]), r, o, True)
        write(op, v.four_totals(b[0], b[1], b[2], b[3]), r, o + 1, True)
        write(op, v.four_totals(c[0], c[1], c[2], c[3]), r, o + 2, True)
        write(op, v.four_totals(d[0], d[1], d[2], d[3]), r, o + 3, True)

    @jit
    def product(op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
        """x Wᵀ of all rows; a thread takes some sixteens of outputs."""
        width, count, x = v.word(op + INPUTS), v.word(op + OUTPUTS), v.word(op + X)
        if halves:
            parted(x, scratch, rows * width)
            x = scratch
        start = count // 16 * thread // threads * 16
        end = count // 16 * (thread + 1) // threads * 16
        last = end + 16 if thread == threads - 1 and count % 16 else end
        for place in range(start, last, 8):
            o = place if place < end else count - 16 + place - end  # those left over, with others
            w = v.word(op + WEIGHT) + size * o * width
            r = 0
            while r + 8 <= rows:
                for i in range(0, 8, 2):
                    eight_rows(op, x + 4 * r * width, w + size * i * width, width, r, o + i)
                r += 8
            while r + 4 <= rows:
                for i in range(0, 8, 4):
                    four_rows(op, x + 4 * r * width, w + size * i * width, width, r, o + i)
                r += 4
            while r < rows:
                one_row(op, x + 4 * r * width, w, width, r, o)
                r += 1
        finished(op, rows, start, end)

    return product
