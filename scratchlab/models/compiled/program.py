"""The function that does a list of operations, in machine code."""

from __future__ import annotations

import functools
from typing import Any

import numba
from numba import types

from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.attention import cross, own, ready, whole
from scratchlab.models.compiled.loops import jit, norm, product_of
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
from scratchlab.models.compiled.threads import WORK
from scratchlab.models.compiled.tokens import embed, likeliest


@functools.cache
def program(kind: str) -> Any:
    """For weights of a kind, a ``WORK`` that is given the address of a ``Call``.

    The first call for each kind compiles it, in a second or two. Threads wait for each other after
    each operation.
    """
    product = product_of(kind)

    @jit
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
                v.call(wait)

    found = numba.cfunc(types.void(types.int64))(work.py_func)
    made: Any = WORK(found.address or 0)
    made.code = found  # which lives as long
    return made
