"""Attention of a few rows to the text so far, and to a memory; each thread takes some heads."""

from __future__ import annotations

import numpy as np

from scratchlab.models.compiled import memory as m
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
        squares = v.fma(m.load(x + i), m.load(x + i), squares)
    factor = v.spread(f32(1) / np.sqrt(v.total(squares) / f32(size) + epsilon))
    for i in range(0, 4 * size, 64):
        m.store(x + i, v.times(m.load(x + i), v.times(factor, m.load(gain + i))))


@jit
def turned(x, cos, sin, size):  # type: ignore[no-untyped-def]
    """A head's query or key turned by its position, in place."""
    half = 2 * size  # bytes of half of it
    for i in range(0, half, 64):
        a, b = m.load(x + i), m.load(x + half + i)
        m.store(x + i, v.fma(b, m.load(sin + i), v.times(a, m.load(cos + i))))
        m.store(x + half + i, v.fma(a, m.load(sin + half + i), v.times(b, m.load(cos + half + i))))


@jit
def made_ready(given, op, r, h):  # type: ignore[no-untyped-def]
    """Query and key of a row and head in x [R, 3 D] with their norm and rotation, if they have
    one. Returns where the query stands."""
    width = m.word(op + INPUTS)
    size, epsilon = width // m.word(op + HEADS), m.word(op + EPSILON)
    q = m.word(op + X) + 4 * (3 * width * r + h * size)
    if m.word(op + Q_GAIN):
        normed(q, m.word(op + Q_GAIN), size, m.single(epsilon))
        normed(q + 4 * width, m.word(op + K_GAIN), size, m.single(epsilon))
    if m.word(given + COS):
        place = 4 * m.word(m.word(given + POSITIONS) + 8 * r) * size
        cos, sin = m.word(given + COS) + place, m.word(given + SIN) + place
        turned(q, cos, sin, size)
        turned(q + 4 * width, cos, sin, size)
    return q


@jit
def attend(q, keys, values, step, seen, size, slots, scores, y):  # type: ignore[no-untyped-def]
    """What one query of ``size`` numbers gets of the slots that it sees, ``step`` bytes apart."""
    scale, largest = f32(1) / np.sqrt(f32(size)), f32(-np.inf)
    for s in range(slots):
        dot = f32(-np.inf)
        if seen == 0 or m.byte(seen + s):
            sums = v.zeros()
            for i in range(0, 4 * size, 64):
                sums = v.fma(m.load(q + i), m.load(keys + s * step + i), sums)
            dot = v.total(sums) * scale
            largest = max(largest, dot)
        m.put(scores + 4 * s, dot)
    for s in range(slots, slots + 15):
        m.put(scores + 4 * s, f32(-np.inf))
    sums, top = v.zeros(), v.spread(largest)
    for s in range(0, 4 * slots, 64):
        p = v.exponentials(v.minus(m.load(scores + s), top))
        m.store(scores + s, p)
        sums = v.plus(sums, p)
    share = v.spread(f32(1) / v.total(sums))
    for i in range(0, 4 * size, 64):
        found = v.zeros()
        for s in range(slots):
            p = m.single(scores + 4 * s)
            if p > 0:  # what is not seen may hold anything
                found = v.fma(v.spread(p), m.load(values + s * step + i), found)
        m.store(y + i, v.times(found, share))


@jit
def own(given, op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
    """Attention to the text so far: x [R, 3 D] are queries, keys and values of the newest tokens,
    the latter two of which are kept first."""
    width, heads, room = m.word(op + INPUTS), m.word(op + HEADS), m.word(op + ROOM)
    size, slots, seen = width // heads, m.word(given + SLOTS), m.word(given + SEEN)
    for number in range(thread, rows * heads, threads):
        r, h = number // heads, number % heads
        q = made_ready(given, op, r, h)
        k = q + 4 * width
        place = (r // m.word(given + BEAMS) * heads + h) * room
        keys, values = m.word(op + KEYS) + 4 * place * size, m.word(op + VALUES) + 4 * place * size
        newest = 4 * m.word(m.word(given + PLACES) + 8 * r) * size
        for i in range(0, 4 * size, 64):
            m.store(keys + newest + i, m.load(k + i))
            m.store(values + newest + i, m.load(k + 4 * width + i))
        y = m.word(op + Y) + 4 * (width * r + h * size)
        its = seen + r * m.word(given + SEEN_STEP) if seen else 0
        attend(q, keys, values, 4 * size, its, size, slots, scratch, y)


@jit
def cross(given, op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
    """Attention of queries x [R, D] to the keys and values of a memory."""
    width, heads, room = m.word(op + INPUTS), m.word(op + HEADS), m.word(op + ROOM)
    size, seen = width // heads, m.word(op + SEEN_OF)
    for number in range(thread, rows * heads, threads):
        r, h = number // heads, number % heads
        text, at = r // m.word(given + BEAMS), 4 * (width * r + h * size)
        q = m.word(op + X) + at
        if m.word(op + Q_GAIN):
            normed(q, m.word(op + Q_GAIN), size, m.single(m.word(op + EPSILON)))
        place = 4 * (text * heads + h) * room * size
        keys, values = m.word(op + KEYS) + place, m.word(op + VALUES) + place
        its = seen + text * room if seen else 0
        attend(q, keys, values, 4 * size, its, size, room, scratch, m.word(op + Y) + at)


@jit
def ready(given, op, rows, thread, threads):  # type: ignore[no-untyped-def]
    """Queries and keys get their norm and rotation, all before :func:`whole` looks at them."""
    heads = m.word(op + HEADS)
    for number in range(thread, rows * heads, threads):
        made_ready(given, op, number // heads, number % heads)


@jit
def whole(given, op, rows, scratch, thread, threads):  # type: ignore[no-untyped-def]
    """Attention among all tokens of each text; x [R, 3 D] are their queries, keys and values."""
    width, heads, length = m.word(op + INPUTS), m.word(op + HEADS), m.word(given + BEAMS)
    size, seen = width // heads, m.word(op + SEEN_OF)
    for number in range(thread, rows * heads, threads):
        r, h = number // heads, number % heads
        text = r // length
        q = m.word(op + X) + 4 * (3 * width * r + h * size)
        keys = m.word(op + X) + 4 * (3 * width * text * length + width + h * size)
        y = m.word(op + Y) + 4 * (width * r + h * size)
        its = seen + text * length if seen else 0
        attend(q, keys, keys + 4 * width, 12 * width, its, size, length, scratch, y)
