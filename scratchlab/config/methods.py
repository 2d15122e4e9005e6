"""Whether methods fit the task, told before anything is loaded or trained.

A method says it in the facts it is registered with: ``tasks`` that it is for, ``names`` (options
that must hold something) and ``only_for`` (values of options that are for one task). What a part
does not say is not held against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scratchlab.config.evaluators import posed_tasks
from scratchlab.errors import Fault
from scratchlab.registry import Part


def method_faults(chosen: Mapping[str, list[Part]], complete: Mapping[str, Any]) -> list[Fault]:
    """What the chosen methods lack, and which of them are for other tasks."""
    dataset = next(iter(chosen["dataset"]), None)
    task = next((part.name for part in chosen["task"]), None)
    posed = posed_tasks(dataset) if dataset else ()
    posed = (str(task),) if task in posed else posed
    faults = []
    for part in chosen["method"]:
        for key, entry in (complete["method"] or {}).items():
            if entry and entry["name"] == part.name:
                faults += _faults(f"method.{key}", entry, part, posed)
    return faults


def _faults(
    where: str, entry: Mapping[str, Any], part: Part, posed: tuple[Any, ...]
) -> list[Fault]:
    found = []
    able = part.facts.get("tasks")
    if posed and able is not None and not set(posed) & set(able):
        problem = f"{part.name} is for {', '.join(able)}, not for {' or '.join(posed)}"
        return [Fault(where, problem, "Leave method=[].", True)]
    for name in part.facts.get("names", ()):
        if not entry[name]:
            meaning = next(o.meaning for o in part.options if o.name == name)
            hint = f"For example {where}.{name}=[outputs/NAME/latest] ({meaning})."
            found.append(Fault(f"{where}.{name}", "is empty", hint, True))
    for name, tasks in part.facts.get("only_for", {}).items():
        task = tasks.get(entry[name])
        if posed and task is not None and task not in posed:
            problem = f"{entry[name]} is for {task}, not for {' or '.join(posed)}"
            others = [c for o in part.options if o.name == name for c in o.limits["choices"]]
            fitting = [c for c in others if tasks.get(c) is None]
            hint = f"Choose {where}.{name}={' or '.join(fitting)}."
            found.append(Fault(f"{where}.{name}", problem, hint, True))
    return found
