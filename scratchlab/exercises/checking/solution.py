"""A person's file: read, recognised, its functions found."""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from scratchlab.errors import UserError, nearest, shortened, suggest
from scratchlab.exercises.contract import Exercise
from scratchlab.registry import Part, parts
from scratchlab.regular_files import expanded, read_regular

LARGEST = 1 << 20  # bytes of a file
NAMED = re.compile(r"Exercise (\w+)")


@dataclass(frozen=True)
class Solution:
    """A file by its content: what was read is what runs, whatever becomes of the file."""

    path: Path
    source: str
    sha256: str
    exercise: str


def exercise_parts() -> dict[str, Part]:
    """All exercises by name, read without importing them."""
    return parts("exercise")


def find_exercise(name: str) -> Part:
    """UserError with the nearest name where there is none of this one."""
    known = exercise_parts()
    if name not in known:
        hint = suggest(name, known, "Exercises")
        raise UserError(f"there is no exercise {shortened(name)}", hint)
    return known[name]


def load_exercise(name: str) -> Exercise:
    found: Exercise = find_exercise(name).load()()
    return found


def read_solution(given: str) -> Solution:
    """The file that a person names.

    Its docstring begins with the exercise's name; where that is gone, the file's own name tells.

    Raises:
        UserError: there is no such file, it is no Python, or belongs to no exercise.
    """
    path = expanded(given)
    content = read_regular(path, LARGEST)
    try:
        source = importlib.util.decode_source(content)
        tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        line = (error.text or "").strip()
        shown = f": {line}" if line else ""
        raise UserError(f"{path}, line {error.lineno}: {error.msg}{shown}") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path} is no Python file: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: its expressions are nested too deeply") from error
    named = NAMED.match(ast.get_docstring(tree) or "")
    known = exercise_parts()
    name = named[1] if named else path.stem
    if name not in known:
        where = "its first line names" if named else "its first line names no exercise, and it is"
        guess = suggest(name, known, "Exercises")
        raise UserError(
            f"{path}: {where} {name!r}",
            f'The file begins with """Exercise NAME: … {guess}',
        )
    return Solution(path, source, hashlib.sha256(content).hexdigest(), name)


class _Given(importlib.abc.InspectLoader):
    """Makes a module of a source that was read before; leaves no compiled file behind."""

    def __init__(self, solution: Solution) -> None:
        self.solution = solution

    def get_source(self, fullname: str) -> str:
        return self.solution.source

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.solution.source, str(self.solution.path))


def run_module(solution: Solution) -> ModuleType:
    """Run the file itself; whatever it raises comes out."""
    spec = importlib.util.spec_from_loader(f"solution_{solution.exercise}", _Given(solution))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def signatures(start: str) -> dict[str, str]:
    """The functions of a start file with their parameters: ``attention(q, k, v, mask=None)``."""
    return {
        node.name: f"{node.name}({ast.unparse(_untyped(node.args))})"
        for node in ast.parse(start).body
        if isinstance(node, ast.FunctionDef)
    }


def _untyped(arguments: ast.arguments) -> ast.arguments:
    for argument in arguments.args:
        argument.annotation = None
    return arguments


def functions_of(module: ModuleType, exercise: Exercise, path: Path) -> dict[str, Any]:
    """The exercise's functions in a person's module.

    Raises:
        UserError: everything that is missing or cannot be called as is asked, together.
    """
    found: dict[str, Callable[..., Any]] = {}
    faults: list[str] = []
    own = {n: v for n, v in vars(module).items() if callable(v) and not n.startswith("__")}
    for name, wanted in signatures(exercise.START).items():
        if name not in own:
            guess = nearest(name, [n for n in own if n not in signatures(exercise.START)])
            faults.append(
                f"there is no function {wanted}"
                + (f"; is {guess} meant to be it?" if guess else "")
            )
        elif fault := _misfit(own[name], wanted):
            faults.append(f"{fault}; it must be {wanted}")
        else:
            found[name] = own[name]
    if faults:
        raise UserError("\n".join(f"{path}: {fault}" for fault in faults))
    return found


def _misfit(function: Callable[..., Any], wanted: str) -> str | None:
    """What is wrong with the parameters of a function; None: it takes what it will be given."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    call = ast.parse(f"def {wanted}: pass").body[0]
    assert isinstance(call, ast.FunctionDef)
    names = [a.arg for a in call.args.args]
    optional = len(call.args.defaults)
    try:
        signature.bind(*names)
        signature.bind(*names[: len(names) - optional])
    except TypeError:
        return f"{getattr(function, '__name__', 'a function')}{signature} does not fit"
    positional = [
        p.name
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    known = [n for n in positional if n in names]
    if known != [n for n in names if n in known]:  # the same names in another order
        return f"{getattr(function, '__name__', 'a function')}{signature} has another order"
    return None


def not_from_scratch(solution: Solution, exercise: Exercise) -> list[str]:
    """The library's own functions that a solution calls, which would do the whole work."""
    used: Mapping[str, None] = dict.fromkeys(
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(ast.parse(solution.source))
        if isinstance(node, ast.Attribute | ast.Name)
    )
    return [name for name in used if name in exercise.LIBRARY]
