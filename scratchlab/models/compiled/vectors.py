"""Arithmetic with registers of 16 numbers, as the processor has it."""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types

from scratchlab.models.compiled.intrinsics import (
    FLOATS,
    INT,
    INTS,
    LANES,
    floats,
    fused,
    ints,
    llvm,
    mixed,
    number,
    operation,
    same_floats,
    same_ints,
)  # fmt: skip


@operation(floats)
def zeros(builder: Any) -> Any:
    """16 zeros."""
    return ir.Constant(FLOATS, [0.0] * LANES)


@operation(ints)
def whole_zeros(builder: Any) -> Any:
    """16 zeros, integers."""
    return same_ints(0)


@operation(floats, number)
def spread(builder: Any, value: Any) -> Any:
    """16 times the same number."""
    one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), value, INT(0))
    return builder.shuffle_vector(one, one, same_ints(0))


@operation(floats, floats, floats)
def plus(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b)


@operation(floats, floats, floats)
def minus(builder: Any, a: Any, b: Any) -> Any:
    return builder.fsub(a, b)


@operation(floats, floats, floats)
def times(builder: Any, a: Any, b: Any) -> Any:
    return builder.fmul(a, b)


@operation(floats, floats, floats)
def over(builder: Any, a: Any, b: Any) -> Any:
    return builder.fdiv(a, b)


@operation(floats, floats, floats)
def larger(builder: Any, a: Any, b: Any) -> Any:
    return llvm(builder, "llvm.maxnum.v16f32", FLOATS, a, b)


@operation(types.boolean, floats, number)
def any_above(builder: Any, value: Any, least: Any) -> Any:
    """Whether one of the floats is larger than a number."""
    one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), least, INT(0))
    above = builder.fcmp_ordered(">", value, builder.shuffle_vector(one, one, same_ints(0)))
    bits = builder.bitcast(above, ir.IntType(LANES))
    return builder.icmp_unsigned("!=", bits, bits.type(0))


@operation(floats, floats)
def not_negative(builder: Any, value: Any) -> Any:
    """0 for each float below 0; what is no number stays so."""
    below = builder.fcmp_ordered("<", value, same_floats(0.0))
    return builder.select(below, same_floats(0.0), value)


@operation(floats, floats)
def exponentials(builder: Any, value: Any) -> Any:
    """e to the power of each float: 0 below -87, never more than e to the power of 88.

    With n the nearest integer to x / ln 2, a polynomial of x - n ln 2 (Cephes' expf) times 2ⁿ.
    """
    low = llvm(builder, "llvm.maxnum.v16f32", FLOATS, value, same_floats(-87.0))
    x = llvm(builder, "llvm.minnum.v16f32", FLOATS, low, same_floats(88.0))
    n = llvm(builder, "llvm.rint.v16f32", FLOATS, builder.fmul(x, same_floats(1.44269504088896341)))
    # ln 2 in two parts, the first of few digits
    r = fused(builder, n, same_floats(-0.693359375), x)
    r = fused(builder, n, same_floats(2.12194440e-4), r)
    p = same_floats(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5):
        p = fused(builder, p, r, same_floats(c))
    p = builder.fadd(fused(builder, builder.fmul(r, r), p, r), same_floats(1.0))
    power = builder.shl(builder.fptosi(n, INTS), same_ints(23))
    found = builder.bitcast(builder.add(builder.bitcast(p, INTS), power), FLOATS)
    there = builder.fcmp_ordered(">=", value, same_floats(-87.0))
    return builder.select(there, found, same_floats(0.0))


@operation(number, floats)
def total(builder: Any, value: Any) -> Any:
    """The sum of the 16: halves are added, then their halves, and so on."""
    for distance in (8, 4, 2, 1):
        moved = [i ^ distance for i in range(LANES)]
        value = builder.fadd(value, mixed(builder, value, value, moved))
    return builder.extract_element(value, INT(0))


@operation(number, floats)
def largest(builder: Any, value: Any) -> Any:
    """The largest of the 16."""
    for distance in (8, 4, 2, 1):
        moved = mixed(builder, value, value, [i ^ distance for i in range(LANES)])
        value = llvm(builder, "llvm.maxnum.v16f32", FLOATS, value, moved)
    return builder.extract_element(value, INT(0))


@operation(floats, floats, number)
def scaled(builder: Any, value: Any, factor: Any) -> Any:
    """Each float times the same number."""
    one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), factor, INT(0))
    return builder.fmul(value, builder.shuffle_vector(one, one, same_ints(0)))


@operation(floats, floats, floats, floats)
def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once."""
    return fused(builder, a, b, c)


@operation(floats, floats, ints)
def looked_up(builder: Any, table: Any, index: Any) -> Any:
    """For each integer the float of the table that its lowest four bits name."""
    return llvm(builder, "llvm.x86.avx512.permvar.sf.512", FLOATS, table, index)


@operation(ints, ints)
def upper_codes(builder: Any, value: Any) -> Any:
    """Each integer without its lowest four bits."""
    return builder.lshr(value, same_ints(4))


@operation(floats, floats)
def rounded_halves(builder: Any, value: Any) -> Any:
    """Each float rounded to bfloat16 (a tie to even): its lower half is 0."""
    bits = builder.bitcast(value, INTS)
    odd = builder.and_(builder.lshr(bits, same_ints(16)), same_ints(1))
    up = builder.add(builder.add(bits, same_ints(0x7FFF)), odd)
    return builder.bitcast(builder.and_(up, same_ints(0xFFFF0000)), FLOATS)


@operation(ints, ints, ints, ints)
def dot_bytes(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    """To each integer four products are added, of bytes of a, 0 to 255, and of b, -128 to 127
    (VNNI). LLVM's name for the instruction, and the types that it wants, differ from version to
    version; the processor's own do not."""
    binding.initialize_native_asmparser()
    code = ir.InlineAsm(ir.FunctionType(INTS, [INTS] * 3), "vpdpbusd $3, $2, $0", "=v,0,v,v")
    return builder.call(code, [sums, a, b])


@operation(floats, ints)
def lower_halves(builder: Any, value: Any) -> Any:
    """The lower of two bfloat16 in each 32 bits, as a float."""
    return builder.bitcast(builder.shl(value, same_ints(16)), FLOATS)


@operation(floats, ints)
def upper_halves(builder: Any, value: Any) -> Any:
    """The upper of two bfloat16 in each 32 bits, as a float."""
    return builder.bitcast(builder.and_(value, same_ints(0xFFFF0000)), FLOATS)


@operation(floats, floats, floats)
def evens(builder: Any, a: Any, b: Any) -> Any:
    """Of 32 numbers the first, third, ..."""
    return mixed(builder, a, b, list(range(0, 32, 2)))


@operation(floats, floats, floats)
def odds(builder: Any, a: Any, b: Any) -> Any:
    """Of 32 numbers the second, fourth, ..."""
    return mixed(builder, a, b, list(range(1, 32, 2)))


@operation(floats, floats, floats, floats, floats)
def four_totals(builder: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """The sums of the floats of four registers, in the first four lanes."""

    # of each the halves are added, then their halves, and so on; several at once
    def halves_added(first: Any, second: Any, size: int) -> Any:
        low, high = (
            [i + half for i in range(2 * LANES) if i % (2 * size) < size] for half in (0, size)
        )
        return builder.fadd(mixed(builder, first, second, low), mixed(builder, first, second, high))

    fours = halves_added(halves_added(a, b, 8), halves_added(c, d, 8), 4)
    for distance in (2, 1):
        moved = [i ^ distance for i in range(LANES)]
        fours = builder.fadd(fours, mixed(builder, fours, fours, moved))
    return mixed(builder, fours, fours, [0, 4, 8, 12] * 4)


@operation(floats, ints, ints)
def from_digits(builder: Any, high: Any, low: Any) -> Any:
    """256 high + low, less than 2³¹, as floats."""
    return builder.sitofp(builder.add(builder.shl(high, same_ints(8)), low), FLOATS)
