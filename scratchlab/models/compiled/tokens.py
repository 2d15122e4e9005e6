"""From tokens to vectors, and from logits to the tokens that may come next; each thread takes some
rows."""

from __future__ import annotations

import math

import numpy as np

from scratchlab.models.compiled import memory as m
from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.loops import (
    f32,
    jit,
    load_bfloat16,
    load_float32,
    load_int8,
)
from scratchlab.models.compiled.operations import (
    BARRED,
    BARRED_COUNT,
    BEST,
    BIAS,
    BYTES_OF,
    CHOSEN,
    EPSILON,
    INPUTS,
    LOG_P,
    NEWEST,
    ONLY,
    OUTPUTS,
    POSITIONS,
    SCALE,
    WEIGHT,
    X,
    Y,
)  # fmt: skip


@jit
def embed(given, op, rows, thread, threads):  # type: ignore[no-untyped-def]
    """The newest tokens' rows of a table, each times its scale and all times a factor; the rows of
    their positions are added."""
    width, size = m.word(op + OUTPUTS), m.word(op + BYTES_OF)
    factor = m.single(m.word(op + EPSILON))
    for r in range(thread, rows, threads):
        token = m.word(m.word(given + NEWEST) + 8 * r)
        row, y = m.word(op + WEIGHT) + token * width * size, m.word(op + Y) + 4 * r * width
        for i in range(0, width, 32):
            if size == 2:
                evens, odds = load_bfloat16(row + 2 * i)
                m.store_zipped(y + 4 * i, evens, odds)
            else:
                if size == 4:
                    first, last = load_float32(row + 4 * i)
                else:
                    first, last = load_int8(row + i)
                m.store(y + 4 * i, first)
                m.store(y + 4 * i + 64, last)
        scale, added = f32(1), m.word(op + BIAS)
        if m.word(op + SCALE):
            scale = m.single(m.word(op + SCALE) + 4 * token)
        if added:
            added += 4 * m.word(m.word(given + POSITIONS) + 8 * r) * width
        for i in range(0, 4 * width, 64):
            value = v.scaled(v.scaled(m.load(y + i), scale), factor)
            if added:
                value = v.plus(value, m.load(added + i))
            m.store(y + i, value)


@jit
def normalizer(x, count):  # type: ignore[no-untyped-def]
    """The logarithm of the sum of the exponentials of so many numbers."""
    whole, tops = count // 16 * 64, v.spread(f32(-np.inf))
    for i in range(0, whole, 64):
        tops = v.larger(tops, m.load(x + i))
    largest = v.largest(tops)
    for i in range(whole, 4 * count, 4):
        largest = max(largest, m.single(x + i))
    sums, rest, top = v.zeros(), f32(0), v.spread(largest)
    for i in range(0, whole, 64):
        sums = v.plus(sums, v.exponentials(v.minus(m.load(x + i), top)))
    for i in range(whole, 4 * count, 4):
        rest += f32(math.exp(m.single(x + i) - largest))
    return largest + f32(math.log(v.total(sums) + rest))


@jit
def place(log_p, chosen, best, value, token):  # type: ignore[no-untyped-def]
    """Put a token among the ``best`` of a row, behind those that are as probable. Returns what
    another must exceed."""
    at = best - 1
    if value > m.single(log_p + 4 * at):
        while at > 0 and value > m.single(log_p + 4 * (at - 1)):
            m.put(log_p + 4 * at, m.single(log_p + 4 * (at - 1)))
            m.put_word(chosen + 8 * at, m.word(chosen + 8 * (at - 1)))
            at -= 1
        m.put(log_p + 4 * at, value)
        m.put_word(chosen + 8 * at, token)
    return m.single(log_p + 4 * (best - 1))


@jit
def likeliest(given, op, rows, thread, threads):  # type: ignore[no-untyped-def]
    """Of each row's logits x the tokens with the highest, the first of equal ones first, and their
    log-probabilities (-inf where there are no more); x is changed."""
    count, best = m.word(op + INPUTS), m.word(given + BEST)
    for r in range(thread, rows, threads):
        x = m.word(op + X) + 4 * r * count
        log_p, chosen = m.word(given + LOG_P) + 4 * r * best, m.word(given + CHOSEN) + 8 * r * best
        less = normalizer(x, count)
        for i in range(best):
            m.put(log_p + 4 * i, f32(-np.inf))
            m.put_word(chosen + 8 * i, 0)
        only = m.word(m.word(given + ONLY) + 8 * r)
        if only >= 0:
            place(log_p, chosen, best, m.single(x + 4 * only), only)
        else:
            for i in range(m.word(given + BARRED_COUNT)):
                m.put(x + 4 * m.word(m.word(given + BARRED) + 8 * i), f32(-np.inf))
            least = f32(-np.inf)
            for token in range(0, count, 16):
                if token + 16 > count or v.any_above(m.load(x + 4 * token), least):
                    for other in range(token, min(token + 16, count)):
                        least = place(log_p, chosen, best, m.single(x + 4 * other), other)
        for i in range(best):
            m.put(log_p + 4 * i, m.single(log_p + 4 * i) - less)
