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
def write(op, sums, r, o):  # type: ignore[no-untyped-def]
    """Four sums of row r, in the lanes 0, 4, 8 and 12, to its outputs from o on."""
    scale, bias = v.word(op + SCALE), v.word(op + BIAS)
    y = v.word(op + Y) + 4 * (r * v.word(op + OUTPUTS) + o)
    for i in range(4):
        value = v.lane(sums, 4 * i)
        if scale:
            value = value * v.single(scale + 4 * (o + i))
        if bias:
            value = value + v.single(bias + 4 * (o + i))
        if v.word(op + ADDED):
            value = value + v.single(y + 4 * i)
        v.put(y + 4 * i, value)


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
    def one_row(x, w, width):  # type: ignore[no-untyped-def]
        """The sums of a row with 8 rows of weights."""
        a, b, c, d = v.zeros(), v.zeros(), v.zeros(), v.zeros()
        e, f, g, h = v.zeros(), v.zeros(), v.zeros(), v.zeros()
        step = size * width
        for i in range(0, width, 32):
            p, q, at = v.load(x + 4 * i), v.load(x + 4 * i + 64), w + size * i
            a, b = add(a, p, q, at), add(b, p, q, at + step)
            c, d = add(c, p, q, at + 2 * step), add(d, p, q, at + 3 * step)
            e, f = add(e, p, q, at + 4 * step), add(f, p, q, at + 5 * step)
            g, h = add(g, p, q, at + 6 * step), add(h, p, q, at + 7 * step)
        return v.four_totals(a, b, c, d), v.four_totals(e, f, g, h)

    @jit
    def add_four(sums, x, weights):  # type: ignore[no-untyped-def]
        """A row with four rows of weights, which are there already."""
        p, q, (a, b, c, d) = v.load(x), v.load(x + 64), sums
        (s0, t0), (s1, t1), (s2, t2), (s3, t3) = weights
        a, b = v.fma(q, t0, v.fma(p, s0, a)), v.fma(q, t1, v.fma(p, s1, b))
        c, d = v.fma(q, t2, v.fma(p, s2, c)), v.fma(q, t3, v.fma(p, s3, d))
        return a, b, c, d

    @jit
    def four_rows(x, w, width):  # type: ignore[no-untyped-def]
        """The sums of 4 rows with 4 rows of weights, each of which is read once for all."""
        zeros = v.zeros(), v.zeros(), v.zeros(), v.zeros()
        a, b, c, d = zeros, zeros, zeros, zeros
        step = size * width
        for i in range(0, width, 32):
            at, row = w + size * i, x + 4 * i
            some = load(at), load(at + step), load(at + 2 * step), load(at + 3 * step)
            a, b = add_four(a, row, some), add_four(b, row + 4 * width, some)
            c, d = add_four(c, row + 8 * width, some), add_four(d, row + 12 * width, some)
        return (
            v.four_totals(a[0], a[1], a[2], a[3]),
            v.four_totals(b[0], b[1], b[2], b[3]),
            v.four_totals(c[0], c[1], c[2], c[3]),
            v.four_totals(d[0], d[1], d[2], d[3]),
        )

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
            while r + 4 <= rows:
                for half in range(0, 8, 4):
                    a, b, c, d = four_rows(x + 4 * r * width, w + size * half * width, width)
                    write(op, a, r, o + half)
                    write(op, b, r + 1, o + half)
                    write(op, c, r + 2, o + half)
                    write(op, d, r + 3, o + half)
                r += 4
            while r < rows:
                a, b = one_row(x + 4 * r * width, w, width)
                write(op, a, r, o)
                write(op, b, r, o + 4)
                r += 1
        finished(op, rows, start, end)

    return product
