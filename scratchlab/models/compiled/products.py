"""Products of a few rows with weights as they are kept: read once, multiplied in registers.

``multiplications.py`` says how numbers of a kind are multiplied, ``product_of`` does it for all
rows: eight or four rows at a time share what they read of the weights.
"""

from __future__ import annotations

from typing import Any

from scratchlab.models.compiled import memory as m
from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.loops import finished, jit
from scratchlab.models.compiled.multiplications import in_bytes, in_floats
from scratchlab.models.compiled.operations import (
    ADDED,
    BIAS,
    BYTES,
    INPUTS,
    OUTPUTS,
    SCALE,
    WEIGHT,
    Y,
)  # fmt: skip


def product_of(kind: str, dots: bool) -> Any:
    """The product of all rows with weights of a kind. ``dots``: int8 by VNNI, with rows of 16
    bits."""
    how = in_bytes() if dots else in_floats(kind)
    stretch, row_bytes, prepared, row, weights, add, nothing, four, registers = how
    size = BYTES[kind]
    weight_bytes = size * stretch

    @jit
    def across(op, a, b, c, d, scales, r, o):  # type: ignore[no-untyped-def]
        """Write four sums of row r to its outputs from o on."""
        found = four(op, (a, b, c, d), scales, r, o, False)
        if m.word(op + SCALE):
            found = v.times(found, m.load_four(m.word(op + SCALE) + 4 * o))
        if m.word(op + BIAS):
            found = v.plus(found, m.load_four(m.word(op + BIAS) + 4 * o))
        y = m.word(op + Y) + 4 * (r * m.word(op + OUTPUTS) + o)
        if m.word(op + ADDED):
            found = v.plus(found, m.load_four(y))
        m.store_four(y, found)

    @jit
    def down(op, sums, scales, r, o):  # type: ignore[no-untyped-def]
        """Write a sum of each of four rows from r on to their output o."""
        found = four(op, sums, scales, r, o, True)
        if m.word(op + SCALE):
            found = v.scaled(found, m.single(m.word(op + SCALE) + 4 * o))
        if m.word(op + BIAS):
            found = v.plus(found, v.spread(m.single(m.word(op + BIAS) + 4 * o)))
        step = 4 * m.word(op + OUTPUTS)
        y = m.word(op + Y) + r * step + 4 * o
        if m.word(op + ADDED):
            found = v.plus(found, m.take_four(y, step))
        m.put_four(y, step, found)

    @jit
    def fetch(place):  # type: ignore[no-untyped-def]
        """Have a stretch of weights fetched that come later."""
        m.prefetch(place)
        if weight_bytes == 128:
            m.prefetch(place + 64)

    @jit
    def one_row(op, x, w, width, scales, r, o):  # type: ignore[no-untyped-def]
        """Eight outputs of a row."""
        a, b, c, d = nothing(), nothing(), nothing(), nothing()
        e, f, g, h = nothing(), nothing(), nothing(), nothing()
        step = size * width
        for i in range(width // stretch):
            its, at = row(x + i * row_bytes), w + i * weight_bytes
            for k in range(8, 16):
                fetch(at + k * step)
            a, b = add(a, its, weights(at)), add(b, its, weights(at + step))
            c, d = add(c, its, weights(at + 2 * step)), add(d, its, weights(at + 3 * step))
            e, f = add(e, its, weights(at + 4 * step)), add(f, its, weights(at + 5 * step))
            g, h = add(g, its, weights(at + 6 * step)), add(h, its, weights(at + 7 * step))
        across(op, a, b, c, d, scales, r, o)
        across(op, e, f, g, h, scales, r, o + 4)

    @jit
    def add_rows(sums, x, step, some):  # type: ignore[no-untyped-def]
        """Four rows with a stretch of weights."""
        a, b, c, d = sums
        a, b = add(a, row(x), some), add(b, row(x + step), some)
        x += 2 * step
        return a, b, add(c, row(x), some), add(d, row(x + step), some)

    @jit
    def two_of_four_rows(op, x, w, width, step, scales, r, o):  # type: ignore[no-untyped-def]
        """Two outputs of 4 rows."""
        a = nothing(), nothing(), nothing(), nothing()
        b = a
        for i in range(width // stretch):
            its, at = x + i * row_bytes, w + i * weight_bytes
            fetch(at + 2 * size * width)
            fetch(at + 3 * size * width)  # before all loads: LLVM does not move them across
            a = add_rows(a, its, step, weights(at))
            b = add_rows(b, its, step, weights(at + size * width))
        down(op, a, scales, r, o)
        down(op, b, scales, r, o + 1)

    @jit
    def four_of_four_rows(op, x, w, width, step, scales, r, o):  # type: ignore[no-untyped-def]
        """Four outputs of 4 rows."""
        a = nothing(), nothing(), nothing(), nothing()
        b, c, d = a, a, a
        for i in range(width // stretch):
            its, at = x + i * row_bytes, w + i * weight_bytes
            a = add_rows(a, its, step, weights(at))
            b = add_rows(b, its, step, weights(at + size * width))
            c = add_rows(c, its, step, weights(at + 2 * size * width))
            d = add_rows(d, its, step, weights(at + 3 * size * width))
        down(op, a, scales, r, o)
        down(op, b, scales, r, o + 1)
        down(op, c, scales, r, o + 2)
        down(op, d, scales, r, o + 3)

    @jit
    def two_of_eight_rows(op, x, w, width, step, scales, r, o):  # type: ignore[no-untyped-def]
        """Two outputs of 8 rows: each weight is read once for all."""
        a = nothing(), nothing(), nothing(), nothing()
        b, c, d = a, a, a
        for i in range(width // stretch):
            its, at = x + i * row_bytes, w + i * weight_bytes
            fetch(at + 2 * size * width)
            fetch(at + 3 * size * width)
            some = weights(at)
            a, b = add_rows(a, its, step, some), add_rows(b, its + 4 * step, step, some)
            some = weights(at + size * width)
            c, d = add_rows(c, its, step, some), add_rows(d, its + 4 * step, step, some)
        down(op, a, scales, r, o)
        down(op, b, scales, r + 4, o)
        down(op, c, scales, r, o + 1)
        down(op, d, scales, r + 4, o + 1)

    # sixteen sums, or registers of them, are under way at a time
    eight, four_rows, of_four = two_of_eight_rows, four_of_four_rows, 4
    if registers == 2:
        eight, four_rows, of_four = two_of_four_rows, two_of_four_rows, 2
    most = 8 // registers

    @jit
    def product(op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
        """x Wᵀ of all rows; a thread takes some sixteens of outputs."""
        width, count = m.word(op + INPUTS), m.word(op + OUTPUTS)
        x, step, scales = prepared(op, rows, scratch)
        start = count // 16 * thread // threads * 16
        end = count // 16 * (thread + 1) // threads * 16
        last = end + 16 if thread == threads - 1 and count % 16 else end
        for place in range(start, last, 8):
            o = place if place < end else count - 16 + place - end  # those left over, with others
            w = m.word(op + WEIGHT) + size * o * width
            r = 0
            while r + most <= rows:
                for i in range(0, 8, 2):
                    at = w + size * i * width
                    eight(op, x + r * step, at, width, step, scales, r, o + i)
                r += most
            while r + 4 <= rows:
                for i in range(0, 8, of_four):
                    at = w + size * i * width
                    four_rows(op, x + r * step, at, width, step, scales, r, o + i)
                r += 4
            while r < rows:
                one_row(op, x + r * step, w, width, scales, r, o)
                r += 1
        finished(op, rows, start, end)

    return product
