"""Registers of 16 numbers as values of numba, and what the processor can do with them.

Numba compiles loops over numbers and leaves it to LLVM whether several are computed at once; for
numbers that are looked up in a table it does not. Here a function says so itself: its values are
registers of 512 bits (AVX-512), and memory is read and written at addresses, which are plain
integers (``Tensor.data_ptr``). Nothing checks them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
BYTE, INT, WORD, FLOAT = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)


class _Register(types.Type):
    def __init__(self, kind: ir.VectorType) -> None:
        super().__init__(f"register {kind}")
        self.kind = kind


@register_model(_Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, register: _Register) -> None:
        super().__init__(manager, register, register.kind)


floats, ints = _Register(FLOATS), _Register(INTS)
address, number = types.int64, types.float32


def _operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a function of (builder, values) one that compiled functions can call."""

    def decorate(build: Callable[..., Any]) -> Any:
        def typed(context: Any, *given: Any) -> Any:
            def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                found = build(builder, *values)
                return context.get_dummy_value() if result is types.void else found

            return result(*arguments), lower

        found: Any = typed
        found.__name__, found.__doc__ = build.__name__, build.__doc__
        names = ["context", *list(inspect.signature(build).parameters)[1:]]
        found.__signature__ = inspect.Signature(
            [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        )
        return intrinsic(found)

    return decorate


def _pointer(builder: Any, place: Any, kind: Any) -> Any:
    return builder.inttoptr(place, kind.as_pointer())


def _all(value: int) -> Any:
    return ir.Constant(INTS, [value] * LANES)


def _floats(value: float) -> Any:
    return ir.Constant(FLOATS, [value] * LANES)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, "llvm.fma.v16f32", FLOATS, a, b, c)


def _call(builder: Any, name: str, result: Any, *values: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


@_operation(types.int64, address)
def word(builder: Any, place: Any) -> Any:
    """The 64-bit integer at an address."""
    return builder.load(_pointer(builder, place, WORD), align=8)


@_operation(types.int64, address)
def byte(builder: Any, place: Any) -> Any:
    """The byte at an address."""
    return builder.zext(builder.load(_pointer(builder, place, BYTE), align=1), WORD)


@_operation(number, address)
def single(builder: Any, place: Any) -> Any:
    """The float at an address."""
    return builder.load(_pointer(builder, place, FLOAT), align=4)


@_operation(types.int64, address, types.int64)
def take(builder: Any, place: Any, count: Any) -> Any:
    """Add to the integer at an address and give what it was before; threads take turns."""
    return builder.atomic_rmw("add", _pointer(builder, place, WORD), count, "monotonic")


@_operation(floats, address)
def load(builder: Any, place: Any) -> Any:
    """16 floats at an address."""
    return builder.load(_pointer(builder, place, FLOATS), align=4)


@_operation(ints, address)
def load_ints(builder: Any, place: Any) -> Any:
    """16 integers of 32 bits at an address."""
    return builder.load(_pointer(builder, place, INTS), align=2)


@_operation(ints, address)
def load_bytes(builder: Any, place: Any) -> Any:
    """16 bytes at an address, as integers of 32 bits."""
    kind = ir.VectorType(BYTE, LANES)
    return builder.zext(builder.load(_pointer(builder, place, kind), align=1), INTS)


@_operation(floats, address)
def load_signed_bytes(builder: Any, place: Any) -> Any:
    """16 integers from -128 to 127 at an address, as floats."""
    kind = ir.VectorType(BYTE, LANES)
    whole = builder.sext(builder.load(_pointer(builder, place, kind), align=1), INTS)
    return builder.sitofp(whole, FLOATS)


@_operation(types.void, address, number)
def put(builder: Any, place: Any, value: Any) -> None:
    """Write a float."""
    builder.store(value, _pointer(builder, place, FLOAT), align=4)


@_operation(types.void, address, types.int64)
def put_word(builder: Any, place: Any, value: Any) -> None:
    """Write a 64-bit integer."""
    builder.store(value, _pointer(builder, place, WORD), align=8)


@_operation(types.void, address, floats)
def store(builder: Any, place: Any, value: Any) -> None:
    """Write 16 floats."""
    builder.store(value, _pointer(builder, place, FLOATS), align=4)


@_operation(types.void, address)
def prefetch(builder: Any, place: Any) -> None:
    """Have the line of memory at an address fetched, while other things go on."""
    kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), INT, INT, INT])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [_pointer(builder, place, BYTE), INT(0), INT(3), INT(1)])


@_operation(floats)
def zeros(builder: Any) -> Any:
    """16 zeros."""
    return ir.Constant(FLOATS, [0.0] * LANES)


@_operation(floats, number)
def spread(builder: Any, value: Any) -> Any:
    """16 times the same number."""
    one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), value, INT(0))
    return builder.shuffle_vector(one, one, _all(0))


@_operation(floats, floats, floats)
def plus(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b)


@_operation(floats, floats, floats)
def minus(builder: Any, a: Any, b: Any) -> Any:
    return builder.fsub(a, b)


@_operation(floats, floats, floats)
def times(builder: Any, a: Any, b: Any) -> Any:
    return builder.fmul(a, b)


@_operation(floats, floats, floats)
def over(builder: Any, a: Any, b: Any) -> Any:
    return builder.fdiv(a, b)


@_operation(floats, floats, floats)
def larger(builder: Any, a: Any, b: Any) -> Any:
    return _call(builder, "llvm.maxnum.v16f32", FLOATS, a, b)


@_operation(types.boolean, floats, number)
def any_above(builder: Any, value: Any, least: Any) -> Any:
    """Whether one of the floats is larger than a number."""
    one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), least, INT(0))
    above = builder.fcmp_ordered(">", value, builder.shuffle_vector(one, one, _all(0)))
    bits = builder.bitcast(above, ir.IntType(LANES))
    return builder.icmp_unsigned("!=", bits, bits.type(0))


@_operation(floats, floats)
def not_negative(builder: Any, value: Any) -> Any:
    """0 for each float below 0."""
    return _call(builder, "llvm.maxnum.v16f32", FLOATS, value, _floats(0.0))


@_operation(floats, floats)
def exponentials(builder: Any, value: Any) -> Any:
    """e to the power of each float: 0 below -87, never more than e to the power of 88.

    With n the nearest integer to x / ln 2, a polynomial of x - n ln 2 (Cephes' expf) times 2ⁿ.
    """
    low = _call(builder, "llvm.maxnum.v16f32", FLOATS, value, _floats(-87.0))
    x = _call(builder, "llvm.minnum.v16f32", FLOATS, low, _floats(88.0))
    n = _call(builder, "llvm.rint.v16f32", FLOATS, builder.fmul(x, _floats(1.44269504088896341)))
    r = _fma(builder, n, _floats(-0.693359375), x)  # ln 2 in two parts, the first of few digits
    r = _fma(builder, n, _floats(2.12194440e-4), r)
    p = _floats(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5):
        p = _fma(builder, p, r, _floats(c))
    p = builder.fadd(_fma(builder, builder.fmul(r, r), p, r), _floats(1.0))
    power = builder.shl(builder.fptosi(n, INTS), _all(23))
    found = builder.bitcast(builder.add(builder.bitcast(p, INTS), power), FLOATS)
    there = builder.fcmp_ordered(">=", value, _floats(-87.0))
    return builder.select(there, found, _floats(0.0))


@_operation(number, floats)
def total(builder: Any, value: Any) -> Any:
    """The sum of the 16: halves are added, then their halves, and so on."""
    for distance in (8, 4, 2, 1):
        moved = [i ^ distance for i in range(LANES)]
        value = builder.fadd(value, _mixed(builder, value, value, moved))
    return builder.extract_element(value, INT(0))


@_operation(number, floats, types.int64)
def lane(builder: Any, value: Any, which: Any) -> Any:
    """One of the floats."""
    return builder.extract_element(value, builder.trunc(which, INT))


@_operation(floats, floats, number)
def scaled(builder: Any, value: Any, factor: Any) -> Any:
    """Each float times the same number."""
    one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), factor, INT(0))
    return builder.fmul(value, builder.shuffle_vector(one, one, _all(0)))


@_operation(floats, floats, floats, floats)
def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once."""
    return _fma(builder, a, b, c)


@_operation(floats, floats, ints)
def looked_up(builder: Any, table: Any, index: Any) -> Any:
    """For each integer the float of the table that its lowest four bits name."""
    return _call(builder, "llvm.x86.avx512.permvar.sf.512", FLOATS, table, index)


@_operation(ints, ints)
def upper_codes(builder: Any, value: Any) -> Any:
    """Each integer without its lowest four bits."""
    return builder.lshr(value, _all(4))


@_operation(floats, floats)
def rounded_halves(builder: Any, value: Any) -> Any:
    """Each float rounded to bfloat16 (a tie to even): its lower half is 0."""
    bits = builder.bitcast(value, INTS)
    odd = builder.and_(builder.lshr(bits, _all(16)), _all(1))
    up = builder.add(builder.add(bits, _all(0x7FFF)), odd)
    return builder.bitcast(builder.and_(up, _all(0xFFFF0000)), FLOATS)


@_operation(floats, ints)
def lower_halves(builder: Any, value: Any) -> Any:
    """The lower of two bfloat16 in each 32 bits, as a float."""
    return builder.bitcast(builder.shl(value, _all(16)), FLOATS)


@_operation(floats, ints)
def upper_halves(builder: Any, value: Any) -> Any:
    """The upper of two bfloat16 in each 32 bits, as a float."""
    return builder.bitcast(builder.and_(value, _all(0xFFFF0000)), FLOATS)


@_operation(types.void, address, floats, floats)
def store_pairs(builder: Any, place: Any, a: Any, b: Any) -> None:
    """Write a₀ b₀ a₁ b₁ … as bfloat16; their lower halves are dropped."""
    low = builder.lshr(builder.bitcast(a, INTS), _all(16))
    high = builder.and_(builder.bitcast(b, INTS), _all(0xFFFF0000))
    builder.store(builder.or_(low, high), _pointer(builder, place, INTS), align=2)


def _mixed(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(INTS, order))


@_operation(floats, floats, floats)
def evens(builder: Any, a: Any, b: Any) -> Any:
    """Of 32 numbers the first, third, ..."""
    return _mixed(builder, a, b, list(range(0, 32, 2)))


@_operation(floats, floats, floats)
def odds(builder: Any, a: Any, b: Any) -> Any:
    """Of 32 numbers the second, fourth, ..."""
    return _mixed(builder, a, b, list(range(1, 32, 2)))


@_operation(types.void, address, floats, floats)
def store_zipped(builder: Any, place: Any, a: Any, b: Any) -> None:
    """Write a₀ b₀ a₁ b₁ …, 32 floats."""
    to = _pointer(builder, place, FLOATS)
    for part in range(2):
        order = [8 * part + i // 2 + LANES * (i % 2) for i in range(LANES)]
        builder.store(_mixed(builder, a, b, order), builder.gep(to, [INT(part)]), align=4)


@_operation(floats, floats, floats, floats, floats)
def four_totals(builder: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """The sums of the floats of four registers, in the lanes 0, 4, 8 and 12.

    Of each register the halves are added, then their halves, and so on; several at once.
    """

    def halves_added(first: Any, second: Any, size: int) -> Any:
        low, high = (
            [i + half for i in range(2 * LANES) if i % (2 * size) < size] for half in (0, size)
        )
        return builder.fadd(
            _mixed(builder, first, second, low), _mixed(builder, first, second, high)
        )

    fours = halves_added(halves_added(a, b, 8), halves_added(c, d, 8), 4)
    for distance in (2, 1):
        moved = [i ^ distance for i in range(LANES)]
        fours = builder.fadd(fours, _mixed(builder, fours, fours, moved))
    return fours


@_operation(types.void, address, types.int64, floats)
def put_four(builder: Any, place: Any, step: Any, value: Any) -> None:
    """Write the lanes 0, 4, 8 and 12, ``step`` bytes apart."""
    for lane in range(4):
        one = builder.extract_element(value, INT(4 * lane))
        builder.store(one, _pointer(builder, place, FLOAT), align=4)
        place = builder.add(place, step)


@_operation(types.int64, types.int64)
def answer(builder: Any, function: Any) -> Any:
    """What the C function ``int f(void)`` at an address returns."""
    kind = ir.FunctionType(INT, [])
    return builder.sext(builder.call(_pointer(builder, function, kind), []), WORD)


@_operation(types.void, types.int64)
def call(builder: Any, function: Any) -> None:
    """Call the C function ``void f(void)`` at an address."""
    kind = ir.FunctionType(ir.VoidType(), [])
    builder.call(_pointer(builder, function, kind), [])
