"""A comparison as tables for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from scratchlab.errors import UserError
from scratchlab.formatting import (
    ARROWS,
    decimals_of,
    format_measurement,
    title_of,
)
from scratchlab.reporting.compare.comparing import Comparison
from scratchlab.reporting.compare.differences import Figure
from scratchlab.reporting.compare.runs import ABSENT
from scratchlab.reporting.search import shown_value
from scratchlab.reporting.tables import csv_text, markdown
from scratchlab.run.atomic import write_json, write_text

MOST_OPTIONS = 24  # of what differs, in a table; the JSON file has all
LONGEST = 48  # characters of an option's value
CSV_COLUMNS = (
    *("run", "metric", "unit", "better", "value", "low", "high", "interval", "n", "values", "std"),
    *("base", "difference", "difference_low", "difference_high", "difference_interval"),
    *("p", "test", "p_holm", "over", "runs_low", "runs_high", "runs_interval", "runs_p"),
    *("runs_test", "runs_p_holm", "note"),
)
ENDINGS = (".csv", ".md", ".json")


class Shown(NamedTuple):
    """A table with its title, and what stands below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def tables(found: Comparison) -> list[Shown]:
    """What differs, the figures with their differences, the costs; what is empty is left out."""
    shown = [options_table(found), figures_table(found), costs_table(found)]
    return [table for table in shown if table.rows]


def options_table(found: Comparison, most: int = MOST_OPTIONS) -> Shown:
    """The options that differ: a line for each row, or for each option where those are more."""
    keys = list(found.differing)[:most]
    left = len(found.differing) - len(keys)
    notes = [f"and {left:,} more options, which --out FILE.json has"] if left else []
    labels = [row.label for row in found.rows]
    cells = {key: [_option(value) for value in found.differing[key]] for key in keys}
    if len(keys) > len(labels):
        rows = [[key, *cells[key]] for key in keys]
        return Shown("What differs", ["option", *labels], rows, notes)
    rows = [[label, *(cells[key][i] for key in keys)] for i, label in enumerate(labels)]
    return Shown("What differs", ["run", *keys], rows if keys else [], notes)


def _option(value: Any) -> str:
    text = value if value == ABSENT else shown_value(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def differences_table(found: Comparison) -> Shown:
    """The figures' table without what a table of the figures themselves has."""
    title, columns, rows, notes = figures_table(found)
    kept = [i for i, name in enumerate(columns) if name != "value" and not name.startswith("±")]
    lines = [[row[i] for i in kept] for row in rows if row[1] != found.base.label]
    named = ""
    for line, metric in zip(lines, _metrics_of(rows, found.base.label), strict=True):
        line[0], named = (metric if metric != named else ""), metric
    about = [note for note in notes if not note.startswith("[ ] 95")]
    title = f"Paired differences to {found.base.label}"
    return Shown(title, [columns[i] for i in kept], lines, about)


def _metrics_of(rows: Sequence[Sequence[str]], base: str) -> list[str]:
    """The metric of each row but those of the base; it stands in the first row of its own only."""
    found, metric = [], ""
    for row in rows:
        metric = row[0] or metric
        if row[1] != base:
            found.append(metric)
    return found


def figures_table(found: Comparison) -> Shown:
    """Metric by metric a line for each row."""
    base = found.base.label
    holm = any(f.examples.corrected != f.examples.p for f in found.figures)
    seeds = any(f.std is not None for f in found.figures)
    tested = any(f.runs.test for f in found.figures)
    over = {f.over for f in found.figures if len(f.values) > 1}
    what = over.pop() if len(over) == 1 else "runs"
    columns = ["metric", "run", "value", f"difference to {base}", "p"]
    columns += ["p (Holm)"] if holm else []
    columns += [f"± over {what}"] if seeds else []
    columns += [f"difference over {what}", f"p over {what}"] if tested else []
    holm_runs = tested and any(f.runs.corrected != f.runs.p for f in found.figures)
    columns += [f"p over {what} (Holm)"] if holm_runs else []
    rows = []
    for metric in found.metrics:
        figures = [f for f in found.figures if f.metric == metric]
        places, apart = _decimals(figures)
        for place, one in enumerate(figures):
            unit = f" ({one.unit})" if one.unit else ""
            name = f"{title_of(metric)}{unit} {ARROWS[one.better]}".rstrip()
            cells = [name if place == 0 else "", one.row, _value(one, places)]
            cells += [_difference(one, apart, one.examples), chance(one.examples.p)]
            cells += [chance(one.examples.corrected)] if holm else []
            cells += [_std(one, places)] if seeds else []
            if tested:
                has = one.runs.low is not None
                cells += [_difference(one, apart, one.runs) if has else "", chance(one.runs.p)]
            cells += [chance(one.runs.corrected)] if holm_runs else []
            rows.append(cells)
    return Shown(f"Figures, and paired differences to {base}", columns, rows, found.notes)


def _decimals(figures: Sequence[Figure]) -> tuple[int | None, int | None]:
    """How many decimals a metric's values are shown with, and its differences."""
    values = [v for f in figures for v in (f.value, f.low, f.high) if v is not None]
    places = decimals_of(values)
    ends = [
        abs(v)
        for f in figures
        for v in (f.difference, f.examples.low, f.examples.high, f.runs.low, f.runs.high)
        if v is not None and math.isfinite(v) and v
    ]
    if places is None or not ends:
        return places, places
    wanted = 1 - math.floor(math.log10(max(ends)))  # two digits of the largest
    return places, min(6, max(places, wanted))


def _value(one: Figure, places: int | None) -> str:
    ends = None if one.low is None or one.high is None else (one.low, one.high)
    value, unit = format_measurement(one.value, None, one.unit, ends, places)
    return f"{value} {unit}" if one.unit == "bytes" else value


def _std(one: Figure, places: int | None) -> str:
    if one.std is None:
        return ""
    return format_measurement(one.value, one.std, "", None, places)[0].partition(" ± ")[2]


def _difference(one: Figure, places: int | None, tested: Any) -> str:
    if one.difference is None:
        return ""
    ends = None if tested.low is None or tested.high is None else (tested.low, tested.high)
    text = format_measurement(one.difference, None, "", ends, places)[0]
    return text if text.startswith("-") else f"+{text}"


def chance(p: float | None) -> str:
    """A p for people."""
    if p is None:
        return ""
    if p < 0.0001:
        return "<0.0001"
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def costs_table(found: Comparison) -> Shown:
    """What the rows took, and the costs in which each lies on the front of the first metric."""
    columns = ["run"]
    cells: list[list[str]] = [[row.label] for row in found.rows]
    for cost in found.costs:
        columns.append(_heading(cost.name, cost.unit, cost.better))
        places = decimals_of(v for v in cost.values if v is not None)
        for line, value in zip(cells, cost.values, strict=True):
            line.append("" if value is None else _cost(value, cost.unit, places))
    metric = next(iter(found.fronts), None)
    if metric is None or not found.costs or len(found.rows) < 2:
        return Shown("Costs", columns, cells if found.costs else [])
    columns.append(f"on the Pareto front of {title_of(metric)} and")
    for place, line in enumerate(cells):
        on = [title_of(name) for name, front in found.fronts[metric].items() if front[place]]
        line.append(", ".join(on))
    note = "on a front: no other row is as good in both and better in one; times were measured once"
    return Shown("Costs", columns, cells, [note])


def _heading(name: str, unit: str, better: str) -> str:
    shown = f" ({unit})" if unit and unit != "bytes" else ""
    return f"{title_of(name)}{shown} {ARROWS[better]}".rstrip()


def _cost(value: float, unit: str, places: int | None) -> str:
    if unit == "bytes":
        return " ".join(format_measurement(value, None, unit))
    return format_measurement(value, None, unit, None, places)[0] if value else "0"


def as_csv(found: Comparison) -> str:
    """A line for each row and metric, nothing rounded."""
    lines = []
    for f in found.figures:
        e, r = f.examples, f.runs
        lines.append(
            [
                *(f.row, f.metric, f.unit, f.better, f.value, f.low, f.high, f.interval, f.n),
                *(" ".join(map(repr, f.values)), f.std, found.base.label, f.difference),
                *(e.low, e.high, e.interval, e.p, e.test, e.corrected, f.over, r.low, r.high),
                *(r.interval, r.p, r.test, r.corrected, f.note),
            ]
        )
    return csv_text(CSV_COLUMNS, lines)


def as_markdown(found: Comparison) -> str:
    """The tables that a person is shown."""
    parts = [f"## {t.title}\n\n{markdown(t.columns, t.rows, t.notes)}" for t in tables(found)]
    return "\n".join(parts)


def as_json(found: Comparison) -> dict[str, Any]:
    """Everything, for programs; what is no number is null."""
    return {
        "base": found.base.label,
        "rows": [
            {
                "label": row.label,
                "runs": [
                    {"folder": str(r.path), "seed": r.repeat[0], "fold": r.repeat[1]}
                    for r in row.runs
                ],
            }
            for row in found.rows
        ],
        "differing": {k: [None if v == ABSENT else v for v in vs] for k, vs in
                      found.differing.items()},
        "figures": [_finite(asdict(f) | {"verdict": f.verdict}) for f in found.figures],
        "costs": [_finite(asdict(cost)) for cost in found.costs],
        "pareto_fronts": {
            metric: {
                cost: [row.label for row, on in zip(found.rows, front, strict=True) if on]
                for cost, front in of.items()
            }
            for metric, of in found.fronts.items()
        },
        "notes": list(found.notes),
    }  # fmt: skip


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_path(path: Path) -> None:
    """UserError unless the name tells what is to be written."""
    if path.suffix and path.suffix not in ENDINGS and not path.is_dir():
        raise UserError(
            f"--out: {path} ends in {path.suffix}",
            f"Name a file that ends in {', '.join(ENDINGS)}, or a folder for all three.",
        )


def write(found: Comparison, path: Path, name: str = "compare") -> list[Path]:
    """Write what the ending of ``path`` says, or into a folder all three."""
    paths = [path] if path.suffix in ENDINGS else [path / f"{name}{end}" for end in ENDINGS]
    for one in paths:
        if one.suffix == ".json":
            write_json(one, as_json(found))
        else:
            write_text(one, as_csv(found) if one.suffix == ".csv" else as_markdown(found))
    return paths
