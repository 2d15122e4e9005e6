"""Norm, product and attention of a few rows, as one function in machine code that does a list.

The list is an array of :class:`Operation`, the function is given the address of a :class:`Call`.
All that is read and written lies at addresses, of float32 where nothing else is said. Every thread
does its share of an operation and waits for the others before the next.

Shapes: B texts with K newest tokens each (beams; else one), R = B K rows; D = d_model, H heads.
Importing this module compiles nothing; the first :func:`program` of each kind of weights does, in
about a second.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import numba
import numpy as np
from numba import types

from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.threads import WORK

Number = ctypes.c_int64  # addresses are numbers too; 0: there is none


class Call(ctypes.Structure):
    """What is new at each step."""

    _fields_ = [
        (name, Number)
        for name in (
            *("operations", "count", "rows", "beams"),
            *("slots", "places"),  # of the cache in use; where each row goes, int64 [R]
            "seen",  # which slots each row sees, bytes [R, slots]; 0: all
            *("cos", "sin"),  # of rotary positions [R, head_dim], or 0
            *("scratch", "scratch_size"),  # of each thread, and its bytes
            *("number", "threads", "wait"),  # functions, see threads.Team; 0: there is one thread
        )
    ]


class Operation(ctypes.Structure):
    """One of NORM, PRODUCT, OWN and CROSS; each takes what it needs."""

    _fields_ = [
        (name, Number)
        for name in (
            *("kind", "x", "y"),  # rows that are read, rows that are written
            *("inputs", "outputs"),  # numbers in a row of them
            *("weight", "bias", "scale"),  # [outputs, inputs], [outputs], [outputs]
            *("activation", "added"),  # what is done to a product; whether y is increased by it
            *("heads", "room"),  # slots that keys and values have room for, or tokens of the memory
            *("keys", "values"),  # [B, H, room, head_dim]
            "seen",  # of a memory, bytes [B, room]; 0: all
            *("q_gain", "k_gain", "epsilon"),  # QK-norm [head_dim] or 0; where the number stands
        )
    ]


(OPERATIONS, COUNT, ROWS, BEAMS, SLOTS, PLACES, SEEN, COS, SIN, SCRATCH, SCRATCH_SIZE, NUMBER,
 THREADS, WAIT) = (getattr(Call, name).offset for name, *_ in Call._fields_)  # fmt: skip
(KIND, X, Y, INPUTS, OUTPUTS, WEIGHT, BIAS, SCALE, ACTIVATION, ADDED, HEADS, ROOM, KEYS, VALUES,
 SEEN_OF, Q_GAIN, K_GAIN, EPSILON) = (
    getattr(Operation, name).offset for name, *_ in Operation._fields_
)  # fmt: skip
SIZE = ctypes.sizeof(Operation)
NORM, PRODUCT, OWN, CROSS = range(4)
ACTIVATIONS = {"relu": 1, "relu2": 2, "gelu": 3, "gelu_tanh": 4}
RELU, RELU2, GELU, GELU_TANH = ACTIVATIONS.values()
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}  # of a weight, by the kinds there are

f32 = np.float32
_jit = numba.njit(error_model="numpy")


@_jit
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


@_jit
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


@_jit
def finished(op, rows, start, end):  # type: ignore[no-untyped-def]
    """What is done to the products of all rows, of the outputs from start to end."""
    kind, count = v.word(op + ACTIVATION), v.word(op + OUTPUTS)
    if kind:
        for r in range(rows):
            y = v.word(op + Y) + 4 * r * count
            for o in range(4 * start, 4 * end, 64):
                v.store(y + o, activated(v.load(y + o), kind))


@_jit
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


@_jit
def parted(x, to, count):  # type: ignore[no-untyped-def]
    """Of each 32 numbers the even ones, then the odd ones: as pairs of bfloat16 are taken apart."""
    for i in range(0, 4 * count, 128):
        first, last = v.load(x + i), v.load(x + i + 64)
        v.store(to + i, v.evens(first, last))
        v.store(to + i + 64, v.odds(first, last))


@_jit
def load_float32(place):  # type: ignore[no-untyped-def]
    return v.load(place), v.load(place + 64)


@_jit
def load_bfloat16(place):  # type: ignore[no-untyped-def]
    both = v.load_ints(place)
    return v.lower_halves(both), v.upper_halves(both)


@_jit
def load_int8(place):  # type: ignore[no-untyped-def]
    return v.load_signed_bytes(place), v.load_signed_bytes(place + 16)


LOADS = {"float32": load_float32, "bfloat16": load_bfloat16, "int8": load_int8}


def product_of(kind: str) -> Any:
    """The product of all rows with weights of a kind, 32 of which are loaded as two registers."""
    size, load, halves = BYTES[kind], LOADS[kind], kind == "bfloat16"

    @_jit
    def add(sums, p, q, place):  # type: ignore[no-untyped-def]
        s, t = load(place)
        return v.fma(q, t, v.fma(p, s, sums))

    @_jit
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

    @_jit
    def add_four(sums, x, weights):  # type: ignore[no-untyped-def]
        """A row with four rows of weights, which are there already."""
        p, q, (a, b, c, d) = v.load(x), v.load(x + 64), sums
        (s0, t0), (s1, t1), (s2, t2), (s3, t3) = weights
        a, b = v.fma(q, t0, v.fma(p, s0, a)), v.fma(q, t1, v.fma(p, s1, b))
        c, d = v.fma(q, t2, v.fma(p, s2, c)), v.fma(q, t3, v.fma(p, s3, d))
        return a, b, c, d

    @_jit
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

    @_jit
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


@_jit
def normed(x, gain, size, epsilon):  # type: ignore[no-untyped-def]
    """A head's query or key at one length, times its gain, in place."""
    squares = v.zeros()
    for i in range(0, 4 * size, 64):
        squares = v.fma(v.load(x + i), v.load(x + i), squares)
    factor = v.spread(f32(1) / np.sqrt(v.total(squares) / f32(size) + epsilon))
    for i in range(0, 4 * size, 64):
        v.store(x + i, v.times(v.load(x + i), v.times(factor, v.load(gain + i))))


@_jit
def turned(x, cos, sin, size):  # type: ignore[no-untyped-def]
    """A head's query or key turned by its position, in place."""
    half = 2 * size  # bytes of half of it
    for i in range(0, half, 64):
        a, b = v.load(x + i), v.load(x + half + i)
        v.store(x + i, v.fma(b, v.load(sin + i), v.times(a, v.load(cos + i))))
        v.store(x + half + i, v.fma(a, v.load(sin + half + i), v.times(b, v.load(cos + half + i))))


@_jit
def attend(q, keys, values, seen, size, slots, scores, y):  # type: ignore[no-untyped-def]
    """What one query of ``size`` numbers gets of the slots that it sees."""
    scale, largest = f32(1) / np.sqrt(f32(size)), f32(-np.inf)
    for s in range(slots):
        dot = f32(-np.inf)
        if seen == 0 or v.byte(seen + s):
            sums = v.zeros()
            for i in range(0, 4 * size, 64):
                sums = v.fma(v.load(q + i), v.load(keys + 4 * s * size + i), sums)
            dot = v.total(sums) * scale
            largest = max(largest, dot)
        v.put(scores + 4 * s, dot)
    for s in range(slots, slots + 15):
        v.put(scores + 4 * s, f32(-np.inf))
    sums, top = v.zeros(), v.spread(largest)
    for s in range(0, 4 * slots, 64):
        p = v.exponentials(v.minus(v.load(scores + s), top))
        v.store(scores + s, p)
        sums = v.plus(sums, p)
    share = v.spread(f32(1) / v.total(sums))
    for i in range(0, 4 * size, 64):
        found = v.zeros()
        for s in range(slots):
            p = v.single(scores + 4 * s)
            if p > 0:  # what is not seen may hold anything
                found = v.fma(v.spread(p), v.load(values + 4 * s * size + i), found)
        v.store(y + i, v.times(found, share))


@_jit
def own(given, op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
    """Attention to the text so far: x [R, 3 D] are queries, keys and values of the newest tokens,
    the latter two of which are kept first."""
    width, heads, room = v.word(op + INPUTS), v.word(op + HEADS), v.word(op + ROOM)
    size, slots, seen = width // heads, v.word(given + SLOTS), v.word(given + SEEN)
    epsilon = v.word(op + EPSILON)
    for number in range(thread, rows * heads, threads):
        r, h = number // heads, number % heads
        q = v.word(op + X) + 4 * (3 * width * r + h * size)
        k = q + 4 * width
        if v.word(op + Q_GAIN):
            normed(q, v.word(op + Q_GAIN), size, v.single(epsilon))
            normed(k, v.word(op + K_GAIN), size, v.single(epsilon))
        if v.word(given + COS):
            cos, sin = v.word(given + COS) + 4 * r * size, v.word(given + SIN) + 4 * r * size
            turned(q, cos, sin, size)
            turned(k, cos, sin, size)
        place = (r // v.word(given + BEAMS) * heads + h) * room
        keys, values = v.word(op + KEYS) + 4 * place * size, v.word(op + VALUES) + 4 * place * size
        newest = 4 * v.word(v.word(given + PLACES) + 8 * r) * size
        for i in range(0, 4 * size, 64):
            v.store(keys + newest + i, v.load(k + i))
            v.store(values + newest + i, v.load(k + 4 * width + i))
        y = v.word(op + Y) + 4 * (width * r + h * size)
        its = seen + r * slots if seen else 0
        attend(q, keys, values, its, size, slots, scratch, y)


@_jit
def cross(given, op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
    """Attention of queries x [R, D] to the keys and values of a memory."""
    width, heads, room = v.word(op + INPUTS), v.word(op + HEADS), v.word(op + ROOM)
    size, seen = width // heads, v.word(op + SEEN_OF)
    for number in range(thread, rows * heads, threads):
        r, h = number // heads, number % heads
        text, at = r // v.word(given + BEAMS), 4 * (width * r + h * size)
        q = v.word(op + X) + at
        if v.word(op + Q_GAIN):
            normed(q, v.word(op + Q_GAIN), size, v.single(v.word(op + EPSILON)))
        place = 4 * (text * heads + h) * room * size
        keys, values = v.word(op + KEYS) + place, v.word(op + VALUES) + place
        its = seen + text * room if seen else 0
        attend(q, keys, values, its, size, room, scratch, v.word(op + Y) + at)


@functools.cache
def program(kind: str) -> Any:
    """The function that does a list of operations with weights of a kind, in machine code."""
    product = product_of(kind)

    @_jit
    def work(given):  # type: ignore[no-untyped-def]
        rows, wait, thread, threads = v.word(given + ROWS), v.word(given + WAIT), 0, 1
        if wait:
            thread, threads = v.answer(v.word(given + NUMBER)), v.answer(v.word(given + THREADS))
        scratch = v.word(given + SCRATCH) + thread * v.word(given + SCRATCH_SIZE)
        for number in range(v.word(given + COUNT)):
            op = v.word(given + OPERATIONS) + number * SIZE
            kind = v.word(op + KIND)
            if kind == NORM:
                norm(op, rows, thread, threads)
            elif kind == PRODUCT:
                product(op, rows, scratch, thread, threads)
            elif kind == OWN:
                own(given, op, rows, scratch, thread, threads)
            else:
                cross(given, op, rows, scratch, thread, threads)
            if wait:
                v.call(wait)

    found = numba.cfunc(types.void(types.int64))(work.py_func)
    made: Any = WORK(found.address or 0)
    made.code = found  # which lives as long
    return made
