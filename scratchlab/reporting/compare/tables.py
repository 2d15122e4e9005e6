"""A comparison as tables for people and for programs."""

from __future__ import annotations

import itertools
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
from scratchlab.reporting.compare.contract import Figure, Tested
from scratchlab.reporting.compare.runs import ABSENT
from scratchlab.reporting.search import shown_value
from scratchlab.reporting.tables import csv_text, markdown
from scratchlab.run.atomic import write_json, write_text

MOST_OPTIONS = 24  # of what differs, in a table; the JSON file has all
LONGEST = 48  # characters of an option's value
CSV_COLUMNS = (
    *("run", "metric", "unit", "better", "value", "low", "high", "interval", "n", "values"),
    *("seeds_std", "folds_std", "data", "base", "difference"),
    *("difference_low", "difference_high", "difference_interval", "p", "test", "p_holm"),
    *("seeds_low", "seeds_high", "seeds_interval", "seeds_p", "seeds_test", "seeds_p_holm"),
    *("folds_low", "folds_high", "folds_interval", "folds_p", "folds_test", "folds_p_holm"),
    "note",
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


def options_table(found: Comparison) -> Shown:
    """The options that differ, those first that all rows have: parts that were exchanged bring many
    of their own along."""
    shared, own = parted_options(found)
    keys = (shared or own)[:MOST_OPTIONS]
    left = len(found.differing) - len(keys)
    more = f"and {left:,} more options, which --out FILE.json has and scratchlab report shows"
    return options_of(found, keys, [more] if left else [])


def parted_options(found: Comparison) -> tuple[list[str], list[str]]:
    """The differing options that all rows have, and those that only some have."""
    shared = [key for key, values in found.differing.items() if ABSENT not in values]
    return shared, [key for key in found.differing if key not in shared]


def options_of(found: Comparison, keys: Sequence[str], notes: Sequence[str] = ()) -> Shown:
    """These options: a line for each row, or for each option where those are more."""
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
    base, of = found.base.label, found.figures
    columns = ["metric", "run", "value", f"difference to {base}"]
    repeats = [
        ("seeds", any(f.seeds_std is not None for f in of)),
        ("folds", any(f.folds_std is not None for f in of)),
    ]
    names = {"seeds": "seeds", "folds": next((f.data for f in of if f.data), "folds")}
    tested = [kind for kind, _ in repeats if any(getattr(f, kind).test for f in of)]
    columns += _chances("p", [f.examples for f in of]) if any(f.examples.test for f in of) else []
    columns += [f"± over {names[kind]}" for kind, varies in repeats if varies]
    for kind in tested:
        columns.append(f"[ ] over {names[kind]}")
        columns += _chances(f"p over {names[kind]}", [getattr(f, kind) for f in of])
    rows = []
    for metric in found.metrics:
        figures = [f for f in of if f.metric == metric]
        places, apart = _decimals(figures)
        for place, one in enumerate(figures):
            unit = f" ({one.unit})" if one.unit else ""
            name = f"{title_of(metric)}{unit} {ARROWS[one.better]}".rstrip()
            cells = {"metric": name if place == 0 else "", "run": one.row}
            cells["value"] = _value(one, places)
            cells[f"difference to {base}"] = _difference(one, apart, one.examples)
            cells |= {"p": chance(one.examples.p), "p (Holm)": chance(one.examples.corrected)}
            for kind, _ in repeats:
                what, test = names[kind], getattr(one, kind)
                cells[f"± over {what}"] = _std(one, getattr(one, f"{kind}_std"), places)
                cells[f"[ ] over {what}"] = _difference(one, apart, test).partition(" ")[2]
                cells[f"p over {what}"] = chance(test.p)
                cells[f"p over {what} (Holm)"] = chance(test.corrected)
            rows.append([cells[column] for column in columns])
    return Shown(f"Figures, and paired differences to {base}", columns, rows, found.notes)


def _chances(name: str, tested: Sequence[Tested]) -> list[str]:
    """The columns of p, and of p corrected where that is another one."""
    return [name, f"{name} (Holm)"] if any(t.corrected != t.p for t in tested) else [name]


def _decimals(figures: Sequence[Figure]) -> tuple[int | None, int | None]:
    """How many decimals a metric's values are shown with, and its differences."""
    values = [v for f in figures for v in (f.value, f.low, f.high) if v is not None]
    places = decimals_of(values)
    ends = [
        abs(v)
        for f in figures
        for t in (f.examples, f.seeds, f.folds)
        for v in (f.difference, t.low, t.high)
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


def _std(one: Figure, std: float | None, places: int | None) -> str:
    if std is None:
        return ""
    return format_measurement(one.value, std, "", None, places)[0].partition(" ± ")[2]


def _difference(one: Figure, places: int | None, tested: Tested) -> str:
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
        tested = [
            (t.low, t.high, t.interval, t.p, t.test, t.corrected)
            for t in (f.examples, f.seeds, f.folds)
        ]
        lines.append(
            [
                *(f.row, f.metric, f.unit, f.better, f.value, f.low, f.high, f.interval, f.n),
                *(" ".join(map(repr, f.values)), f.seeds_std, f.folds_std, f.data),
                *(found.base.label, f.difference, *itertools.chain(*tested), f.note),
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
