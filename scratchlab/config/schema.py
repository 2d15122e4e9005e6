"""Checks of values against declared options: type, limits, choices, and rules between options.

Everything works on what :mod:`scratchlab.registry` read from the source (types as written), so a
configuration is checked without importing a model.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scratchlab.errors import Fault, shortened, suggest
from scratchlab.registry import Option

_TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "None": "null",
}


NO_OPTION = "no such option"
MOST = 2**31 - 1
MOST_SEED = 2**63 - 1
MOST_NUMPY_SEED = 2**32 - 1  # of scikit-learn and of NumPy's old generators
MOST_ENTRIES = 100_000
"""Bounds of whole numbers and lists that declare none themselves."""


class Mismatch(Exception):
    """A value does not have the declared type."""


def check_options(
    prefix: str,
    values: Mapping[str, Any],
    options: Sequence[Option],
    rules: Iterable[tuple[str, str]] = (),
    ignore: Sequence[str] = ("name",),
) -> tuple[dict[str, Any], list[Fault]]:
    """Compare ``values`` with the declared ``options``.

    Returns the complete options (defaults filled in, whole numbers turned into floats where a float
    is declared) and all faults found, each with the full key, what is right, and the nearest name.
    """
    known = {o.name: o for o in options}
    dot = f"{prefix}." if prefix else ""
    complete: dict[str, Any] = {}
    faults: list[Fault] = []
    for key in values:
        if key not in known and key not in ignore:
            hint = suggest(str(key), known, "Options") if known else f"{prefix} has no options."
            faults.append(Fault(f"{dot}{key}", NO_OPTION, hint))
    for name, declared in known.items():
        if name not in values:
            if declared.required:
                faults.append(Fault(f"{dot}{name}", f"must be set ({declared.meaning})"))
            complete[name] = declared.default
            continue
        if declared.limits.get("auto") and values[name] == "auto":
            complete[name] = "auto"
            continue
        try:
            complete[name] = coerce(values[name], declared.type)
        except Mismatch as mismatch:
            faults.append(Fault(f"{dot}{name}", f"{mismatch}", _meaning(declared)))
            continue
        problem = limit_problem(complete[name], declared)
        if problem:
            faults.append(Fault(f"{dot}{name}", problem, _meaning(declared)))
    if not faults:
        for rule, message in rules:
            if not holds(rule, complete):
                now = ", ".join(
                    f"{dot}{n}={shortened(complete[n])}" for n in names_in(rule, complete)
                )
                faults.append(Fault(prefix or "configuration", f"{message} (now {now})"))
    return complete, faults


def _meaning(declared: Option) -> str:
    default = "null" if declared.default is None else declared.default
    return f"{declared.name}: {declared.meaning} (default {default})" if declared.meaning else ""


def coerce(value: Any, declared: str) -> Any:
    """``value`` as the declared type, or :class:`Mismatch`. No text is turned into a number."""
    return _coerce(value, ast.parse(declared, mode="eval").body)


def _coerce(value: Any, node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        for side in _alternatives(node):
            try:
                return _coerce(value, side)
            except Mismatch:
                continue
        raise _unlike(value, node)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return _coerce_container(value, node, node.value.id)
    name = ast.unparse(node)
    if name == "None":
        fits = value is None
    elif name == "bool":
        fits = isinstance(value, bool)
    elif name == "int":
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif name == "float":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if fits:
            try:
                value = float(value)
            except OverflowError:
                raise Mismatch(f"{shortened(value)} is too large for a number") from None
    elif name == "str":
        fits = isinstance(value, str)
    elif name == "Any":
        fits = True
    else:
        raise TypeError(f"options of type {name!r} are not supported")
    if not fits:
        raise _unlike(value, node)
    return value


def _coerce_container(value: Any, node: ast.Subscript, kind: str) -> Any:
    if kind == "Literal":
        choices = ast.literal_eval(node.slice)
        choices = choices if isinstance(choices, tuple) else (choices,)
        if value not in choices:
            raise Mismatch(f"{shortened(value)} is not one of {', '.join(map(str, choices))}")
        return value
    if kind == "list":
        if not isinstance(value, list | tuple):
            raise _unlike(value, node)
        return [_coerce(v, node.slice) for v in value]
    if kind == "dict" and isinstance(node.slice, ast.Tuple):
        if not isinstance(value, dict):
            raise _unlike(value, node)
        key, item = node.slice.elts
        return {_coerce(k, key): _coerce(v, item) for k, v in value.items()}
    raise TypeError(f"options of type {ast.unparse(node)!r} are not supported")


def _unlike(value: Any, node: ast.expr) -> Mismatch:
    """That a value has another type; of a thing where a list belongs, how that is written."""
    problem = f"{shortened(value)} is not {describe(node)}"
    if isinstance(value, str | int | float) and len(str(value)) < 60:
        try:
            _coerce([value], node)
        except Mismatch:
            pass
        else:
            problem += f": write [{value}]"
    return Mismatch(problem)


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_alternatives(node.left), *_alternatives(node.right)]
    return [node]


def describe(node: ast.expr) -> str:
    """A declared type in words."""
    if isinstance(node, ast.BinOp):
        return " or ".join(describe(n) for n in _alternatives(node))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id == "list":
            return f"a list (each {describe(node.slice)})"
        if node.value.id == "Literal":
            return f"one of {ast.unparse(node.slice)}"
        return "a mapping"
    return _TYPE_WORDS.get(ast.unparse(node), ast.unparse(node))


def limit_problem(value: Any, declared: Option) -> str | None:
    """What is wrong with a value of the right type, or None."""
    limits = {k: v for k, v in declared.limits.items() if v is not None}
    if isinstance(value, list) and len(value) > MOST_ENTRIES:
        return f"has {len(value):,} entries: at most {MOST_ENTRIES:,}"
    if isinstance(value, list):
        problems = (limit_problem(v, declared) for v in value)
        return next((p for p in problems if p), None)
    if value is None:
        return None
    if "choices" in limits and value not in limits["choices"]:
        hint = suggest(str(value), map(str, limits["choices"]))
        return f"{shortened(value)} is not a choice. {hint}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a number (nan)" if math.isnan(value) else f"{value} is not finite"
    if isinstance(value, int):
        most = _most(declared.name)
        if not limits.keys() & {"max", "below"}:
            limits["max"] = most
        if not limits.keys() & {"min", "above"}:
            limits["min"] = -most
    tests = {
        "min": (operator.ge, "at least"),
        "max": (operator.le, "at most"),
        "above": (operator.gt, "more than"),
        "below": (operator.lt, "less than"),
    }
    wanted = [f"{word} {limits[k]}" for k, (_, word) in tests.items() if k in limits]
    if all(test(value, limits[k]) for k, (test, _) in tests.items() if k in limits):
        return None
    return f"{shortened(value)} is out of range: must be {' and '.join(wanted)}"


def _most(name: str) -> int:
    """The largest whole number of an option that declares no bound."""
    if name in ("random_state", "split_seed"):
        return MOST_NUMPY_SEED
    return MOST_SEED if name.endswith(("seed", "seeds")) else MOST


_BINARY: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type, Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def holds(rule: str, values: Mapping[str, Any]) -> bool:
    """Whether a rule between options holds.

    A rule is an expression of option names, literals, arithmetic, comparisons, and/or/not and
    conditional expressions; it is interpreted here node by node, so nothing else can be in it.
    """
    return bool(_value(ast.parse(rule, mode="eval").body, values))


def names_in(rule: str, values: Mapping[str, Any]) -> list[str]:
    """The options that a rule speaks of, in the order of appearance."""
    nodes = ast.walk(ast.parse(rule, mode="eval"))
    return list(dict.fromkeys(n.id for n in nodes if isinstance(n, ast.Name) and n.id in values))


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Tuple | ast.List):
        return [_value(e, values) for e in node.elts]
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, values)
        return not inner if isinstance(node.op, ast.Not) else -inner
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.BoolOp):
        if isinstance(node.op, ast.And):
            return all(_value(v, values) for v in node.values)
        return any(_value(v, values) for v in node.values)
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, values) else node.orelse, values)
    if isinstance(node, ast.Compare):
        left = _value(node.left, values)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = _value(right_node, values)
            if not _COMPARE[type(op)](left, right):
                return False
            left = right
        return True
    raise TypeError(f"rules cannot hold {type(node).__name__}")
