"""A person's solution in the place of the built-in part, for as long as a command runs."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from scratchlab.errors import UserError
from scratchlab.exercises.checking.judging import where
from scratchlab.exercises.checking.solution import Solution, functions_of, run_module
from scratchlab.exercises.contract import Exercise, Functions
from scratchlab.run import own_part
from scratchlab.run.decisions import cache_folder
from scratchlab.run.own_part import OwnPart

CACHE = "SCRATCHLAB_CACHE"


@dataclass
class Used:
    """How often the solution was called."""

    calls: int = 0


@contextmanager
def in_place(solution: Solution, exercise: Exercise, right: bool) -> Iterator[Used]:
    """Inside, the program calls the solution; every manifest and checkpoint tells of it.

    Prepared data are kept in a folder of their own, since a solution may have made them.
    """
    used = Used()
    functions = watched(functions_of(run_module(solution), exercise, solution.path), solution, used)
    path = str(solution.path)
    part = OwnPart(solution.exercise, solution.path.name, solution.sha256, right, path)
    before: list[tuple[Any, str, Any]] = []
    cache = os.environ.get(CACHE)
    with own_part.in_place(part):
        try:
            os.environ[CACHE] = str(cache_folder({}) / f"exercise-{solution.sha256[:16]}")
            for owner, name, value in exercise.replacements(functions):
                before.append((owner, name, getattr(owner, name)))
                setattr(owner, name, value)
            yield used
        finally:
            for owner, name, value in reversed(before):
                setattr(owner, name, value)
            os.environ.pop(CACHE)
            if cache is not None:
                os.environ[CACHE] = cache


def watched(functions: Functions, solution: Solution, used: Used) -> Functions:
    """The functions, counted, whose exceptions are told as mistakes in the person's file."""

    def watch(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            used.calls += 1
            try:
                return function(*arguments)
            except Exception as error:
                line = where(error.__traceback__, solution) or function.__name__
                said = (str(error).strip().splitlines() or [""])[0]
                text = f"{solution.path}, {line}\n    {type(error).__name__}: {said}"
                raise UserError(text) from error

        return call

    return {name: watch(function) for name, function in functions.items()}


def refused(solution: Solution, exercise: Exercise, config: Mapping[str, Any]) -> str | None:
    """Why a run of a configuration would not use a solution, in a line."""
    reason = exercise.refusal(config)
    return None if reason is None else f"{solution.path} ({solution.exercise}): {reason}"
