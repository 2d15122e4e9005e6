"""The function that does a list of operations, in machine code."""

from __future__ import annotations

import functools
from typing import Any

import numba
from numba import types

from scratchlab.models.compiled import memory as m
from scratchlab.models.compiled.attention import cross, own, ready, whole
from scratchlab.models.compiled.loops import jit, norm
from scratchlab.models.compiled.operations import (
    COUNT,
    CROSS,
    EMBED,
    KIND,
    LIKELIEST,
    NORM,
    NUMBER,
    OPERATIONS,
    OWN,
    PRODUCT,
    READY,
    ROWS,
    SCRATCH,
    SCRATCH_SIZE,
    SIZE,
    THREADS,
    WAIT,
    WHOLE,
)  # fmt: skip
from scratchlab.models.compiled.products import product_of
from scratchlab.models.compiled.threads import WORK
from scratchlab.models.compiled.tokens import embed, likeliest


@functools.cache
def program(kind: str, dots: bool = False) -> Any:
    """For weights of a kind, a ``WORK`` that is given the address of a ``Call``; ``dots``: see
    :func:`~scratchlab.models.compiled.products.product_of`.

    The first call for each kind compiles it, in a second or two. Threads wait for each other after
    each operation.
    """
    product = product_of(kind, dots)

    @jit
    def work(given):  # type: ignore[no-untyped-def]
        rows, wait, thread, threads = m.word(given + ROWS), m.word(given + WAIT), 0, 1
        if wait:
            thread, threads = m.answer(m.word(given + NUMBER)), m.answer(m.word(given + THREADS))
        scratch = m.word(given + SCRATCH) + thread * m.word(given + SCRATCH_SIZE)
        for number in range(m.word(given + COUNT)):
            op = m.word(given + OPERATIONS) + number * SIZE
            kind = m.word(op + KIND)
            if kind == NORM:
                norm(op, rows, thread, threads)
            elif kind == PRODUCT:
                product(op, rows, scratch, thread, threads)
            elif kind == OWN:
                own(given, op, rows, scratch, thread, threads)
            elif kind == CROSS:
                cross(given, op, rows, scratch, thread, threads)
            elif kind == READY:
                ready(given, op, rows, thread, threads)
            elif kind == WHOLE:
                whole(given, op, rows, scratch, thread, threads)
            elif kind == EMBED:
                embed(given, op, rows, thread, threads)
            elif kind == LIKELIEST:
                likeliest(given, op, rows, thread, threads)
            if wait:
                m.call(wait)

    found = numba.cfunc(types.void(types.int64))(work.py_func)
    made: Any = WORK(found.address or 0)
    made.code = found  # which lives as long
    return made
