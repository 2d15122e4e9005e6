"""What rows cost, and which of them nothing beats in a figure and a cost at once."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scratchlab.config.reading import read_json
from scratchlab.errors import UserError
from scratchlab.registry import section_parts
from scratchlab.reporting.compare.runs import Row, Run

TRAINING = ("training_time", "peak_memory")
PARAMETERS, TARGETS = "parameters", "targets_read"
DOUBLES = ("trainable_parameters", "checkpoint_size")  # beside parameters and memory_size


@dataclass(frozen=True)
class Cost:
    """A cost over the rows: None where a row does not tell."""

    name: str
    unit: str
    better: str
    values: tuple[float | None, ...]


def cost_metrics() -> list[str]:
    """The figures that evaluators of costs measure, and what training takes."""
    parts = section_parts("evaluator").values()
    found = [n for part in parts if part.facts.get("cost") for n in part.facts["measures"]]
    return list(dict.fromkeys((*TRAINING, *found)))


def costs_of(rows: Sequence[Row]) -> list[Cost]:
    """Time, memory, parameters and targets read in training, then what else was measured of costs;
    each a mean over a row's runs. What no row tells is left out."""
    names = [*TRAINING, PARAMETERS, TARGETS, *cost_metrics()]
    found = []
    for name in dict.fromkeys(n for n in names if n not in DOUBLES):
        told = [_of_row(row, name) for row in rows]
        first = next((one for one in told if one is not None), None)
        if first is not None:
            values = tuple(None if one is None else one[0] for one in told)
            found.append(Cost(name, first[1], first[2], values))
    return found


def _of_row(row: Row, name: str) -> tuple[float, str, str] | None:
    told = [one for run in row.runs if (one := _of_run(run, name)) is not None]
    if len(told) < len(row.runs):
        return None
    return statistics.fmean(value for value, _, _ in told), told[0][1], told[0][2]


def _of_run(run: Run, name: str) -> tuple[float, str, str] | None:
    """The cost with its unit and the way it improves."""
    if name in run.figures:
        one = run.figures[name][1]
        return (float(one.value), one.unit, one.better) if math.isfinite(one.value) else None
    if name == PARAMETERS:
        count = run.manifest.get(PARAMETERS)
        return (float(count), "", "lower") if isinstance(count, int) else None
    if name == TARGETS:
        read = targets_read(run)
        return None if not read else (float(read), "", "lower")
    return None


def targets_read(run: Run) -> int | None:
    """How many targets the run was trained on, repeats counted, as its last checkpoint has it."""
    try:
        state: Any = read_json(run.path / "checkpoints" / "last" / "state.json")["state"]
        return int(state["targets"])
    except (UserError, KeyError, TypeError, ValueError):
        return None


def fronts(
    values: Sequence[float | None], better: str, costs: Sequence[Cost]
) -> Mapping[str, list[bool]]:
    """For each cost which rows lie on its Pareto front: no other one is as good in figure and cost
    and better in one of them."""
    return {
        cost.name: front(list(zip(_rising(values, better), _rising(cost.values, cost.better))))
        for cost in costs
        if cost.better and sum(v is not None for v in cost.values) > 1
    }


def _rising(values: Sequence[float | None], better: str) -> list[float | None]:
    sign = 1 if better == "higher" else -1
    return [None if v is None or not math.isfinite(v) else sign * v for v in values]


def front(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """Which points (more is better in both) are not beaten; one without a place never is."""
    whole = [(a, b) for a, b in points if a is not None and b is not None]

    def beaten(a: float, b: float) -> bool:
        return any(x >= a and y >= b and (x > a or y > b) for x, y in whole)

    return [a is not None and b is not None and not beaten(a, b) for a, b in points]
