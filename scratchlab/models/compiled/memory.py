"""What lies at addresses: numbers and registers are read and written.

Addresses are plain integers (``Tensor.data_ptr``). Nothing checks them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from scratchlab.models.compiled.intrinsics import (
    BYTE,
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    WORD,
    address,
    floats,
    ints,
    llvm,
    mixed,
    number,
    operation,
    pointer,
    same_ints,
)  # fmt: skip


@operation(types.int64, address)
def word(builder: Any, place: Any) -> Any:
    """The 64-bit integer at an address."""
    return builder.load(pointer(builder, place, WORD), align=8)


@operation(types.int64, address)
def byte(builder: Any, place: Any) -> Any:
    """The byte at an address."""
    return builder.zext(builder.load(pointer(builder, place, BYTE), align=1), WORD)


@operation(number, address)
def single(builder: Any, place: Any) -> Any:
    """The float at an address."""
    return builder.load(pointer(builder, place, FLOAT), align=4)


@operation(types.int64, address, types.int64)
def take(builder: Any, place: Any, count: Any) -> Any:
    """Add to the integer at an address and give what it was before; threads take turns."""
    return builder.atomic_rmw("add", pointer(builder, place, WORD), count, "monotonic")


@operation(floats, address)
def load(builder: Any, place: Any) -> Any:
    """16 floats at an address."""
    return builder.load(pointer(builder, place, FLOATS), align=4)


@operation(ints, address)
def load_ints(builder: Any, place: Any) -> Any:
    """16 integers of 32 bits at an address."""
    return builder.load(pointer(builder, place, INTS), align=2)


@operation(ints, address)
def load_bytes(builder: Any, place: Any) -> Any:
    """16 bytes at an address, as integers of 32 bits."""
    kind = ir.VectorType(BYTE, LANES)
    return builder.zext(builder.load(pointer(builder, place, kind), align=1), INTS)


@operation(floats, address)
def load_signed_bytes(builder: Any, place: Any) -> Any:
    """16 integers from -128 to 127 at an address, as floats."""
    kind = ir.VectorType(BYTE, LANES)
    whole = builder.sext(builder.load(pointer(builder, place, kind), align=1), INTS)
    return builder.sitofp(whole, FLOATS)


@operation(types.void, address, number)
def put(builder: Any, place: Any, value: Any) -> None:
    """Write a float."""
    builder.store(value, pointer(builder, place, FLOAT), align=4)


@operation(types.void, address, types.int64)
def put_word(builder: Any, place: Any, value: Any) -> None:
    """Write a 64-bit integer."""
    builder.store(value, pointer(builder, place, WORD), align=8)


@operation(types.void, address, floats)
def store(builder: Any, place: Any, value: Any) -> None:
    """Write 16 floats."""
    builder.store(value, pointer(builder, place, FLOATS), align=4)


@operation(types.void, address)
def prefetch(builder: Any, place: Any) -> None:
    """Have the line of memory at an address fetched, while other things go on."""
    line = pointer(builder, place, BYTE)
    llvm(builder, "llvm.prefetch.p0", ir.VoidType(), line, INT(0), INT(3), INT(1))


@operation(types.void, address, floats)
def store_digits(builder: Any, place: Any, value: Any) -> None:
    """Write each float, rounded to an integer of 16 bits 256 h + l, as bytes: 16 times h + 128, and
    64 bytes further 16 times l."""
    kind = ir.VectorType(BYTE, LANES)
    q = builder.fptosi(llvm(builder, "llvm.rint.v16f32", FLOATS, value), INTS)
    high = builder.trunc(builder.add(builder.ashr(q, same_ints(8)), same_ints(128)), kind)
    builder.store(high, pointer(builder, place, kind), align=1)
    further = builder.add(place, WORD(64))
    builder.store(builder.trunc(q, kind), pointer(builder, further, kind), align=1)


@operation(types.void, address, floats, floats)
def store_pairs(builder: Any, place: Any, a: Any, b: Any) -> None:
    """Write a₀ b₀ a₁ b₁ … as bfloat16; their lower halves are dropped."""
    low = builder.lshr(builder.bitcast(a, INTS), same_ints(16))
    high = builder.and_(builder.bitcast(b, INTS), same_ints(0xFFFF0000))
    builder.store(builder.or_(low, high), pointer(builder, place, INTS), align=2)


@operation(types.void, address, floats, floats)
def store_zipped(builder: Any, place: Any, a: Any, b: Any) -> None:
    """Write a₀ b₀ a₁ b₁ …, 32 floats."""
    to = pointer(builder, place, FLOATS)
    for part in range(2):
        order = [8 * part + i // 2 + LANES * (i % 2) for i in range(LANES)]
        builder.store(mixed(builder, a, b, order), builder.gep(to, [INT(part)]), align=4)


@operation(types.void, address, types.int64, floats)
def put_four(builder: Any, place: Any, step: Any, value: Any) -> None:
    """Write the first four lanes, ``step`` bytes apart."""
    for lane in range(4):
        one = builder.extract_element(value, INT(lane))
        builder.store(one, pointer(builder, place, FLOAT), align=4)
        place = builder.add(place, step)


@operation(floats, address)
def load_four(builder: Any, place: Any) -> Any:
    """Four floats at an address, as the first lanes."""
    four = builder.load(pointer(builder, place, ir.VectorType(FLOAT, 4)), align=4)
    return mixed(builder, four, four, list(range(4)) * 4)


@operation(floats, address, types.int64)
def take_four(builder: Any, place: Any, step: Any) -> Any:
    """Four floats, ``step`` bytes apart, as the first lanes."""
    found = ir.Constant(FLOATS, ir.Undefined)
    for lane in range(4):
        one = builder.load(pointer(builder, place, FLOAT), align=4)
        found = builder.insert_element(found, one, INT(lane))
        place = builder.add(place, step)
    return found


@operation(types.void, address, floats)
def store_four(builder: Any, place: Any, value: Any) -> None:
    """Write the first four lanes."""
    kind = ir.VectorType(FLOAT, 4)
    four = builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(INT, 4), [0, 1, 2, 3]))
    builder.store(four, pointer(builder, place, kind), align=4)


@operation(types.int64, types.int64)
def answer(builder: Any, function: Any) -> Any:
    """What the C function ``int f(void)`` at an address returns."""
    kind = ir.FunctionType(INT, [])
    return builder.sext(builder.call(pointer(builder, function, kind), []), WORD)


@operation(types.void, types.int64)
def call(builder: Any, function: Any) -> None:
    """Call the C function ``void f(void)`` at an address."""
    kind = ir.FunctionType(ir.VoidType(), [])
    builder.call(pointer(builder, function, kind), [])
