"""From tokens to vectors, and from logits to the tokens that may come next; each thread takes some
rows."""

from __future__ import annotations

import math

import numpy as np

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
    width, size = v.word(op + OUTPUTS), v.word(op + BYTES_OF)
    factor = v.single(v.word(op + EPSILON))
    for r in range(thread, rows, threads):
        token = v.word(v.word(given + NEWEST) + 8 * r)
        row, y = v.word(op + WEIGHT) + token * width * size, v.word(op + Y) + 4 * r * width
        for i in range(0, width, 32):
            if size == 2:
                evens, odds = load_bfloat16(row + 2 * i)
                v.store_zipped(y + 4 * i, evens, odds)
            else:
                if size == 4:
                    first, last = load_float32(row + 4 * i)
                else:
                    first, last = load_int8(row + i)
                v.store(y + 4 * i, first)
                v.store(y + 4 * i + 64, last)
        scale, added = f32(1), v.word(op + BIAS)
        if v.word(op + SCALE):
            scale = v.single(v.word(op + SCALE) + 4 * token)
        if added:
            added += 4 * v.word(v.word(given + POSITIONS) + 8 * r) * width
        for i in range(0, 4 * width, 64):
            value = v.scaled(v.scaled(v.load(y + i), scale), factor)
            if added:
                value = v.plus(value, v.load(added + i))
            v.store(y + i, value)


@jit
def normalizer(x, count):  # type: ignore[no-untyped-def]
    """The logarithm of the sum of the exponentials of so many numbers."""
    whole, tops, largest = count // 16 * 64, v.spread(f32(-np.inf)), f32(-np.inf)
    for i in range(0, whole, 64):
        tops = v.larger(tops, v.load(x + i))
    for i in range(16):
        largest = max(largest, v.lane(tops, i))
    for i in range(whole, 4 * count, 4):
        largest = max(largest, v.single(x + i))
    sums, rest, top = v.zeros(), f32(0), v.spread(largest)
    for i in range(0, whole, 64):
        sums = v.plus(sums, v.exponentials(v.minus(v.load(x + i), top)))
    for i in range(whole, 4 * count, 4):
        rest += f32(math.exp(v.single(x + i) - largest))
    return largest + f32(math.log(v.total(sums) + rest))


@jit
def place(log_p, chosen, best, value, token):  # type: ignore[no-untyped-def]
    """Put a token among the ``best`` of a row, behind those that are as probable. Returns what
    another must exceed."""
    at = best - 1
    if value > v.single(log_p + 4 * at):
        while at > 0 and value > v.single(log_p + 4 * (at - 1)):
            v.put(log_p + 4 * at, v.single(log_p + 4 * (at - 1)))
            v.put_word(chosen + 8 * at, v.word(chosen + 8 * (at - 1)))
            at -= 1
        v.put(log_p + 4 * at, value)
        v.put_word(chosen + 8 * at, token)
    return v.single(log_p + 4 * (best - 1))


@jit
def likeliest(given, op, rows, thread, threads):  # type: ignore[no-untyped-def]
    """Of each row's logits x the tokens with the highest, the first of equal ones first, and their
    log-probabilities (-inf where there are no more); x is changed."""
    count, best = v.word(op + INPUTS), v.word(given + BEST)
    for r in range(thread, rows, threads):
        x = v.word(op + X) + 4 * r * count
        log_p, chosen = v.word(given + LOG_P) + 4 * r * best, v.word(given + CHOSEN) + 8 * r * best
        less = normalizer(x, count)
        for i in range(best):
            v.put(log_p + 4 * i, f32(-np.inf))
            v.put_word(chosen + 8 * i, 0)
        only = v.word(v.word(given + ONLY) + 8 * r)
        if only >= 0:
            place(log_p, chosen, best, v.single(x + 4 * only), only)
        else:
            for i in range(v.word(given + BARRED_COUNT)):
                v.put(x + 4 * v.word(v.word(given + BARRED) + 8 * i), f32(-np.inf))
            least = f32(-np.inf)
            for token in range(0, count, 16):
                if token + 16 > count or v.any_above(v.load(x + 4 * token), least):
                    for other in range(token, min(token + 16, count)):
                        least = place(log_p, chosen, best, v.single(x + 4 * other), other)
        for i in range(best):
            v.put(log_p + 4 * i, v.single(log_p + 4 * i) - less)
