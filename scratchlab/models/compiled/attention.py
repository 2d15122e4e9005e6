"""Attention of a few rows to the text so far, and to a memory; each thread takes some heads."""

from __future__ import annotations

import numpy as np

from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.loops import f32, jit
from scratchlab.models.compiled.operations import (
    BEAMS,
    COS,
    EPSILON,
    HEADS,
    INPUTS,
    K_GAIN,
    KEYS,
    PLACES,
    POSITIONS,
    Q_GAIN,
    ROOM,
    SEEN,
    SEEN_OF,
    SEEN_STEP,
    SIN,
    SLOTS,
    VALUES,
    X,
    Y,
)  # fmt: skip


@jit
def normed(x, gain, size, epsilon):  # type: ignore[no-untyped-def]
    """A head's query or key at one length, times its gain, in place."""
    squares = v.zeros()
    for i in range(0, 4 * size, 64):
        squares = v.fma(v.load(x + i), v.load(x + i), squares)
    factor = v.spread(f32(1) / np.sqrt(v.total(squares) / f32(size) + epsilon))
    for i in range(0, 4 * size, 64):
        v.store(x + i, v.times(v.load(x + i), v.times(factor, v.load(gain + i))))


@jit
def turned(x, cos, sin, size):  # type: ignore[no-untyped-def]
    """A head's query or key turned by its position, in place."""
    half = 2 * size  # bytes of half of it
    for i in range(0, half, 64):
        a, b = v.load(x + i), v.load(x + half + i)
        v.store(x + i, v.fma(b, v.load(sin + i), v.times(a, v.load(cos + i))))
        v.store(x + half + i, v.fma(a, v.load(sin + half + i), v.times(b, v.load(cos + half + i))))


@jit
def made_ready(given, op, r, h):  # type: ignore[no-untyped-def]
    """Query and key of a row and head in x [R, 3 D] with their norm and rotation, if they have
    one. Returns where the query stands."""
    width = v.word(op + INPUTS)
    size, epsilon = width // v.word(op + HEADS), v.word(op + EPSILON)
    q = v.word(op + X) + 4 * (3 * width * r + h * size)
    if v.word(op + Q_GAIN):
        normed(q, v.word(op + Q_GAIN), size, v.single(epsilon))
        normed(q + 4 * width, v.word(op + K_GAIN), size, v.single(epsilon))
    if v.word(given + COS):
        place = 4 * v.word(v.word(given + POSITIONS) + 8 * r) * size
        cos, sin = v.word(given + COS) + place, v.word(given + SIN) + place
        turned(q, cos, sin, size)
        turned(q + 4 * width, cos, sin, size)
    return q


@jit
def attend(q, keys, values, step, seen, size, slots, scores, y):  # type: ignore[no-untyped-def]
    """What one query of ``size`` numbers gets of the slots that it sees, ``step`` bytes apart."""
    scale, largest = f32(1) / np.sqrt(f32(size)), f32(-np.inf)
    for s in range(slots):
        dot = f32(-np.inf)
        if seen == 0 or v.byte(seen + s):
            sums = v.zeros()
            for i in range(0, 4 * size, 64):
                sums = v.fma(v.load(q + i), v.load(keys + s * step + i), sums)
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
                found = v.fma(v.spread(p), v.load(values + s * step + i), found)
        v.store(y + i, v.times(found, share))


@jit
def own(given, op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
    """Attention to the text so far: x [R, 3 D] are queries, keys and values of the newest tokens,
    the latter two of which are kept first."""
    width, heads, room = v.word(op + INPUTS), v.word(op + HEADS), v.word(op + ROOM)
    size, slots, seen = width // heads, v.word(given + SLOTS), v.word(given + SEEN)
    for number in range(thread, rows * heads, threads):
        r, h = number // heads, number % heads
        q = made_ready(given, op, r, h)
        k = q + 4 * width
        place = (r // v.word(given + BEAMS) * heads + h) * room
        keys, values = v.word(op + KEYS) + 4 * place * size, v.word(op + VALUES) + 4 * place * size
        newest = 4 * v.word(v.word(given + PLACES) + 8 * r) * size
        for i in range(0, 4 * size, 64):
            v.store(keys + newest + i, v.load(k + i))
            v.store(values + newest + i, v.load(k + 4 * width + i))
        y = v.word(op + Y) + 4 * (width * r + h * size)
        its = seen + r * v.word(given + SEEN_STEP) if seen else 0
        attend(q, keys, values, 4 * size, its, size, slots, scratch, y)


@jit
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
        attend(q, keys, values, 4 * size, its, size, room, scratch, v.word(op + Y) + at)


@jit
def ready(given, op, rows, thread, threads):  # type: ignore[no-untyped-def]
    """Queries and keys get their norm and rotation, all before :func:`whole` looks at them."""
    heads = v.word(op + HEADS)
    for number in range(thread, rows * heads, threads):
        made_ready(given, op, number // heads, number % heads)


@jit
def whole(given, op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
    """Attention among all tokens of each text; x [R, 3 D] are their queries, keys and values."""
    width, heads, length = v.word(op + INPUTS), v.word(op + HEADS), v.word(given + BEAMS)
    size, seen = width // heads, v.word(op + SEEN_OF)
    for number in range(thread, rows * heads, threads):
        r, h = number // heads, number % heads
        text = r // length
        q = v.word(op + X) + 4 * (3 * width * r + h * size)
        keys = v.word(op + X) + 4 * (3 * width * text * length + width + h * size)
        y = v.word(op + Y) + 4 * (width * r + h * size)
        its = seen + text * length if seen else 0
        attend(q, keys, keys + 4 * width, 12 * width, its, size, length, scratch, y)
