"""Norm and activations of a few rows, and loads. Every thread does its share of an operation.

``op`` is the address of an :class:`~scratchlab.models.compiled.operations.Operation`, ``thread``
which one it is of ``threads``. Importing this module compiles nothing.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from scratchlab.models.compiled import memory as m
from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.operations import (
    ACTIVATION,
    BIAS,
    EPSILON,
    GELU,
    GELU_TANH,
    INPUTS,
    OUTPUTS,
    RELU,
    RELU2,
    WEIGHT,
    X,
    Y,
)  # fmt: skip

f32 = np.float32
jit = numba.njit(error_model="numpy")


@jit
def norm(op, rows, thread, threads):  # type: ignore[no-untyped-def]
    """LayerNorm of the rows of x, which y may be."""
    width, epsilon = m.word(op + INPUTS), m.single(m.word(op + EPSILON))
    gain, shift = m.word(op + WEIGHT), m.word(op + BIAS)
    for r in range(thread, rows, threads):
        x, y = m.word(op + X) + 4 * r * width, m.word(op + Y) + 4 * r * width
        sums = v.zeros()
        for i in range(0, 4 * width, 64):
            sums = v.plus(sums, m.load(x + i))
        mean = v.spread(v.total(sums) / f32(width))
        squares = v.zeros()
        for i in range(0, 4 * width, 64):
            off = v.minus(m.load(x + i), mean)
            squares = v.fma(off, off, squares)
        factor = v.spread(f32(1) / np.sqrt(v.total(squares) / f32(width) + epsilon))
        for i in range(0, 4 * width, 64):
            value = v.times(v.times(v.minus(m.load(x + i), mean), factor), m.load(gain + i))
            if shift:
                value = v.plus(value, m.load(shift + i))
            m.store(y + i, value)


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
    kind, count = m.word(op + ACTIVATION), m.word(op + OUTPUTS)
    if kind:
        for r in range(rows):
            y = m.word(op + Y) + 4 * r * count
            for o in range(4 * start, 4 * end, 64):
                m.store(y + o, activated(m.load(y + o), kind))


@jit
def load_float32(place):  # type: ignore[no-untyped-def]
    return m.load(place), m.load(place + 64)


@jit
def load_bfloat16(place):  # type: ignore[no-untyped-def]
    both = m.load_ints(place)
    return v.lower_halves(both), v.upper_halves(both)


@jit
def load_int8(place):  # type: ignore[no-untyped-def]
    return m.load_signed_bytes(place), m.load_signed_bytes(place + 16)
