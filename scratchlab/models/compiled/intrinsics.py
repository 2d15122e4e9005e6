"""How functions of numba say what they do with registers: types, and operations in LLVM's words.

Numba compiles loops over numbers and leaves it to LLVM whether several are computed at once; for
numbers that are looked up in a table it does not. Here a function says so itself: its values are
registers of 512 bits (AVX-512), of 16 numbers each.
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


class Register(types.Type):
    def __init__(self, kind: ir.VectorType) -> None:
        super().__init__(f"register {kind}")
        self.kind = kind


@register_model(Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, register: Register) -> None:
        super().__init__(manager, register, register.kind)


floats, ints = Register(FLOATS), Register(INTS)
address, number = types.int64, types.float32


def operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
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


def pointer(builder: Any, place: Any, kind: Any) -> Any:
    return builder.inttoptr(place, kind.as_pointer())


def same_ints(value: int) -> Any:
    return ir.Constant(INTS, [value] * LANES)


def same_floats(value: float) -> Any:
    return ir.Constant(FLOATS, [value] * LANES)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return llvm(builder, "llvm.fma.v16f32", FLOATS, a, b, c)


def llvm(builder: Any, name: str, result: Any, *values: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def mixed(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(INTS, order))
