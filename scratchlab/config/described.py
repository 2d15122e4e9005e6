"""Options whose values describe parts, as the members of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scratchlab.config.schema import check_options
from scratchlab.errors import Fault, shortened, suggest
from scratchlab.registry import Part, parts


def described_faults(prefix: str, values: Mapping[str, Any], owner: Part) -> list[Fault]:
    """Faults in the descriptions among the ``values`` of ``owner``'s options (full key
    ``prefix.OPTION``): parts that do not exist or are for other tasks, and their options."""
    found: list[Fault] = []
    for option in owner.options:
        kind = option.limits.get("describes")
        if kind is not None and values.get(option.name) is not None:
            key = f"{prefix}.{option.name}" if prefix else option.name
            found += _faults(key, values[option.name], kind, owner)
    return found


def _faults(key: str, value: Any, kind: str, owner: Part) -> list[Fault]:
    if not isinstance(value, Mapping):
        hint = "Write {name: NAME, OPTION: VALUE, …}."
        return [Fault(key, f"{shortened(value)} describes no {kind}", hint)]
    if "name" not in value:
        if not value or not all(isinstance(v, Mapping) for v in value.values()):
            hint = "Write {name: NAME, OPTION: VALUE, …}."
            return [Fault(key, f"{shortened(dict(value))} describes no {kind}", hint)]
        return [f for label, v in value.items() for f in _faults(f"{key}.{label}", v, kind, owner)]
    tasks = set(owner.facts.get("tasks", ()))
    known = {n: p for n, p in parts(kind).items() if tasks & set(p.facts.get("tasks", ()))}
    name = value["name"]
    if name not in known:
        problem = f"{shortened(name)} is no {kind} for {' or '.join(sorted(tasks))}"
        return [Fault(f"{key}.name", problem, suggest(str(name), known))]
    complete, found = check_options(key, value, known[name].options, known[name].rules)
    return found or described_faults(key, complete, known[name])
