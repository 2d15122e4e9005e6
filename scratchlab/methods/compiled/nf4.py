"""Products with a matrix of 4-bit codes, whose 16 values stand in one register.

The formulas of :mod:`scratchlab.methods.nf4`. A block of 64 weights has its own table, the values
times the maximum of the block, in which its codes are looked up: these are the weights of
``dequantize_nf4``, bit for bit. For a few rows the product takes them as they are looked up, and of
the matrix only its codes travel; for many the matrix is written once, in the type of the input, and
multiplied by torch. A row's result depends neither on the rows beside it nor on the threads.

Importing this module compiles nothing; the first call of each loop does.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numba
import torch
from numba import types
from torch import Tensor

from scratchlab.models.compiled import memory as m
from scratchlab.models.compiled import vectors as v
from scratchlab.models.compiled.threads import WORK, run

BLOCK = 64
OUTPUTS = 48  # that a thread takes at a time: whole lines of memory, in many matrices a divisor
AHEAD = 3072  # bytes before they are met that codes are fetched
BLOCKS = 256  # that a thread takes at a time
WORTH = 1 << 17  # weights times rows from which more than one thread is used
# Where the arguments stand, in the order of Arguments' fields.
LEVELS, CODES, MAXIMA, SECOND, MEAN, TABLE, TAKEN, SLOTS = range(0, 64, 8)
OUT, COUNT, X, SCRATCH, ROWS, WIDTH, HALF = range(64, 120, 8)
_jit = numba.njit(error_model="numpy")


@_jit
def maxima(given):  # type: ignore[no-untyped-def]
    """Where the maxima of the blocks stand, and if they have 8 bits each: what is made of those."""
    return (
        m.word(given + MAXIMA),
        m.word(given + SECOND),
        m.word(given + MEAN),
        m.word(given + TABLE),
    )


@_jit
def own_table(levels, block, stored):  # type: ignore[no-untyped-def]
    """The 16 values times the maximum of a block."""
    place, second, mean, table = stored
    if second == 0:
        return v.scaled(levels, m.single(place + 4 * block))
    value = m.single(table + 4 * m.byte(place + block)) * m.single(second + 4 * (block >> 8))
    return v.scaled(levels, value + m.single(mean))


@_jit
def write_weights(given):  # type: ignore[no-untyped-def]
    """The weights of COUNT blocks to OUT, as floats of 32 bits or (HALF) as bfloat16."""
    codes, levels, stored = m.word(given + CODES), m.load(m.word(given + LEVELS)), maxima(given)
    out, count, half = m.word(given + OUT), m.word(given + COUNT), m.word(given + HALF)
    while True:
        start = m.take(given + TAKEN, BLOCKS)
        if start >= count:
            return
        for block in range(start, min(start + BLOCKS, count)):
            table = own_table(levels, block, stored)
            if half:
                table = v.rounded_halves(table)
            for place in range(32 * block, 32 * block + 32, 16):
                even, odd = weights(table, codes + place)
                if half:
                    m.store_pairs(out + 4 * place, even, odd)
                else:
                    m.store_zipped(out + 8 * place, even, odd)


@_jit
def part_rows(x, to, rows, width, half):  # type: ignore[no-untyped-def]
    """Some rows as they are met by codes: of each 32 numbers the even ones, then the odd ones, and
    those of the next row beside them."""
    for row in range(rows):
        for at in range(0, width, 32):
            place = to + 4 * (at * rows + 32 * row)
            if half:
                pairs = m.load_ints(x + 2 * (row * width + at))
                m.store(place, v.lower_halves(pairs))
                m.store(place + 64, v.upper_halves(pairs))
            else:
                first, last = (
                    m.load(x + 4 * (row * width + at)),
                    m.load(x + 4 * (row * width + at) + 64),
                )
                m.store(place, v.evens(first, last))
                m.store(place + 64, v.odds(first, last))


@_jit
def weights(table, place):  # type: ignore[no-untyped-def]
    """The 32 weights of 16 bytes: the even ones, the odd ones."""
    pairs = m.load_bytes(place)
    return v.looked_up(table, v.upper_codes(pairs)), v.looked_up(table, pairs)


@_jit
def add_row(total, parts, even, odd):  # type: ignore[no-untyped-def]
    """Add 32 products of one row."""
    return v.fma(parts[1], odd, v.fma(parts[0], even, total))


@_jit
def add_rows(totals, parts, x):  # type: ignore[no-untyped-def]
    """Add 32 products of each of four rows."""
    return (
        add_row(totals[0], parts, m.load(x), m.load(x + 64)),
        add_row(totals[1], parts, m.load(x + 128), m.load(x + 192)),
        add_row(totals[2], parts, m.load(x + 256), m.load(x + 320)),
        add_row(totals[3], parts, m.load(x + 384), m.load(x + 448)),
    )


@_jit
def put_sums(out, step, totals):  # type: ignore[no-untyped-def]
    """Write the sums of four registers, ``step`` bytes apart."""
    m.put_four(out, step, v.four_totals(totals[0], totals[1], totals[2], totals[3]))


@_jit
def fetch(place, half):  # type: ignore[no-untyped-def]
    """Have the codes of a block fetched that are met a little later, and those of the next row."""
    m.prefetch(place + AHEAD)
    m.prefetch(place + half + AHEAD)


@_jit
def eight_rows(x, out, o, codes, levels, stored, count, width):  # type: ignore[no-untyped-def]
    """Two outputs of eight rows: 16 sums are under way, each in a register of its own."""
    blocks, half, step = width // BLOCK, width // 2, 4 * count
    nothing = (v.zeros(), v.zeros(), v.zeros(), v.zeros())
    a, b, c, d = nothing, nothing, nothing, nothing
    for block in range(blocks):
        one = own_table(levels, o * blocks + block, stored)
        other = own_table(levels, (o + 1) * blocks + block, stored)
        for place in range(32 * block, 32 * block + 32, 16):
            at = x + 64 * place
            parts = weights(one, codes + o * half + place)
            a, b = add_rows(a, parts, at), add_rows(b, parts, at + 512)
            parts = weights(other, codes + (o + 1) * half + place)
            c, d = add_rows(c, parts, at), add_rows(d, parts, at + 512)
        fetch(codes + o * half + 32 * block, half)
    put_sums(out + 4 * o, step, a)
    put_sums(out + 4 * o + 4 * step, step, b)
    put_sums(out + 4 * o + 4, step, c)
    put_sums(out + 4 * o + 4 + 4 * step, step, d)


@_jit
def four_rows(x, out, o, codes, levels, stored, count, width):  # type: ignore[no-untyped-def]
    """Two outputs of four rows."""
    blocks, half = width // BLOCK, width // 2
    nothing = (v.zeros(), v.zeros(), v.zeros(), v.zeros())
    a, b = nothing, nothing
    for block in range(blocks):
        one = own_table(levels, o * blocks + block, stored)
        other = own_table(levels, (o + 1) * blocks + block, stored)
        for place in range(32 * block, 32 * block + 32, 16):
            at = x + 32 * place
            a = add_rows(a, weights(one, codes + o * half + place), at)
            b = add_rows(b, weights(other, codes + (o + 1) * half + place), at)
        fetch(codes + o * half + 32 * block, half)
    put_sums(out + 4 * o, 4 * count, a)
    put_sums(out + 4 * o + 4, 4 * count, b)


@_jit
def one_row(x, out, o, codes, levels, stored, width):  # type: ignore[no-untyped-def]
    """Four outputs of one row."""
    blocks, half = width // BLOCK, width // 2
    a, b, c, d = v.zeros(), v.zeros(), v.zeros(), v.zeros()
    for block in range(blocks):
        own = o * blocks + block
        t, u = own_table(levels, own, stored), own_table(levels, own + blocks, stored)
        own += 2 * blocks
        w, z = own_table(levels, own, stored), own_table(levels, own + blocks, stored)
        for part in range(2):
            at = x + 256 * block + 128 * part
            even, odd = m.load(at), m.load(at + 64)
            place = codes + o * half + 32 * block + 16 * part
            a = add_row(a, weights(t, place), even, odd)
            b = add_row(b, weights(u, place + half), even, odd)
            c = add_row(c, weights(w, place + 2 * half), even, odd)
            d = add_row(d, weights(z, place + 3 * half), even, odd)
        fetch(codes + o * half + 32 * block, half)
        fetch(codes + (o + 2) * half + 32 * block, half)
    put_sums(out + 4 * o, 4, (a, b, c, d))


@_jit
def multiply(given):  # type: ignore[no-untyped-def]
    """X [ROWS, WIDTH] times the weights [COUNT, WIDTH] to OUT, float32 [ROWS, COUNT].

    COUNT must be a multiple of four.
    """
    codes, levels, stored = m.word(given + CODES), m.load(m.word(given + LEVELS)), maxima(given)
    count, rows, width = m.word(given + COUNT), m.word(given + ROWS), m.word(given + WIDTH)
    out, half = m.word(given + OUT), m.word(given + HALF)
    x = m.word(given + SCRATCH) + m.take(given + SLOTS, 1) * rows * 4 * width
    eights, fours = rows - rows % 8, rows - rows % 4  # where rows begin that are taken by fewer
    i = 0
    while i < rows:
        size = 8 if i < eights else 4 if i < fours else 1
        at = m.word(given + X) + (2 if half else 4) * i * width
        part_rows(at, x + 4 * i * width, size, width, half)
        i += size
    while True:
        start = m.take(given + TAKEN, OUTPUTS)
        if start >= count:
            return
        for o in range(start, min(start + OUTPUTS, count), 4):
            i = 0
            while i < rows:
                at, to = x + 4 * i * width, out + 4 * i * count
                if i < eights:
                    eight_rows(at, to, o, codes, levels, stored, count, width)
                    eight_rows(at, to, o + 2, codes, levels, stored, count, width)
                    i += 8
                elif i < fours:
                    four_rows(at, to, o, codes, levels, stored, count, width)
                    four_rows(at, to, o + 2, codes, levels, stored, count, width)
                    i += 4
                else:
                    one_row(at, to, o, codes, levels, stored, width)
                    i += 1


@functools.cache
def compiled(loop: Any) -> Any:
    """A loop as a function of one address, in machine code."""
    found = numba.cfunc(types.void(types.int64))(loop.py_func)
    work: Any = WORK(found.address or 0)
    work.code = found  # which lives as long
    return work


class Arguments(ctypes.Structure):
    """What a loop is given: addresses and numbers, 8 bytes each."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *("levels", "codes", "maxima", "second", "mean", "table", "taken", "slots"),
            *("out", "count", "x", "scratch", "rows", "width", "half"),
        )
    ]


def product(x: Tensor, stored: Any, tables: tuple[Tensor, Tensor], outputs: int) -> Tensor:
    """x [rows, in], float32 or bfloat16, with the matrix [outputs, in] → float32 [rows, outputs].

    ``stored``: an ``NF4`` whose rows are whole blocks; ``tables``: the 16 values, those of maxima.
    """
    x = x.contiguous()
    rows, width = x.shape
    out = torch.empty(rows, outputs)
    scratch = torch.empty(torch.get_num_threads() * rows * width)
    given = _arguments(stored, tables)
    given.out, given.x, given.scratch = out.data_ptr(), x.data_ptr(), scratch.data_ptr()
    given.count, given.rows, given.width = outputs, rows, width
    given.half = x.dtype == torch.bfloat16
    run(compiled(multiply), given, rows * outputs * width > WORTH)
    return out


def matrix(stored: Any, tables: tuple[Tensor, Tensor], dtype: torch.dtype) -> Tensor:
    """All weights [numbers] as float32 or bfloat16; their number must be one of whole blocks."""
    out = torch.empty(2 * len(stored.codes), dtype=dtype)
    given = _arguments(stored, tables)
    given.out, given.count = out.data_ptr(), len(out) // BLOCK
    given.half = dtype == torch.bfloat16
    run(compiled(write_weights), given, len(out) > WORTH)
    return out


def _arguments(stored: Any, tables: tuple[Tensor, Tensor]) -> Arguments:
    given = Arguments(
        levels=tables[0].data_ptr(), codes=stored.codes.data_ptr(), maxima=stored.maxima.data_ptr()
    )
    if stored.second is not None:
        given.second, given.mean = stored.second.data_ptr(), stored.mean.data_ptr()
        given.table = tables[1].data_ptr()
    return given
