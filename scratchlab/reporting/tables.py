"""Tables of results: for people (console, Markdown) and for programs (CSV)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scratchlab.evaluation.contract import Measurement
from scratchlab.formatting import (
    ARROWS,
    decimals_of,
    format_measurement,
    format_number,
    title_of,
)
from scratchlab.run.atomic import write_text


def meanings(found: Iterable[tuple[str, str]]) -> list[str]:
    """What ± and [ ] are in a table, each said once: ``found`` are metrics and their meanings.

    Metrics are named where a sign means more than one thing.
    """
    metrics: dict[str, dict[str, None]] = {}
    for metric, meaning in found:
        if meaning:
            metrics.setdefault(meaning, {})[title_of(metric)] = None
    signs = [meaning.partition(" ")[0] for meaning in metrics]
    return [
        meaning if signs.count(sign) == 1 else f"{meaning} of {', '.join(metrics[meaning])}"
        for meaning, sign in zip(metrics, signs, strict=True)
    ]


def results_table(
    measurements: Sequence[Measurement],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows for people: metric with its direction, value, unit, split, n.

    What ± and [ ] mean is :func:`results_notes`.
    """
    columns = ("metric", "value", "unit", "split", "n")
    rows: list[tuple[str, ...]] = []
    alike: dict[str, list[float]] = {}
    spreads: dict[str, list[float]] = {}
    for m in measurements:
        spreads.setdefault(_kind(m), []).append(m.spread or 0.0)
        alike.setdefault(_kind(m), []).extend((m.value, *(ends_of(m) or ())))
    for m in measurements:
        decimals = decimals_of(alike[_kind(m)], spreads[_kind(m)]) if _kind(m) else None
        value, unit = format_measurement(m.value, m.spread, m.unit, ends_of(m), decimals)
        name = f"{title_of(m.name)} {ARROWS[m.better]}".rstrip()
        rows.append((name, value, unit, m.split, "" if m.n is None else f"{m.n:,}"))
    return columns, rows


def _kind(m: Measurement) -> str:
    """Figures of one kind are shown with as many decimals: those of a unit, shares of one."""
    if m.unit or m.low is None or m.high is None or m.high > 1:
        return m.unit
    return "share"


def ends_of(m: Measurement) -> tuple[float, float] | None:
    """The ends of a figure's interval, where it has them."""
    return None if m.low is None or m.high is None else (m.low, m.high)


def results_notes(measurements: Iterable[Measurement]) -> list[str]:
    """What ± and [ ] mean in the table of these measurements."""
    return meanings((m.name, m.meaning) for m in measurements)


def markdown(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()
) -> str:
    """A GitHub table, and ``notes`` below it; columns that hold numbers only stand right."""
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [max(3, *(len(r[i]) for r in [[_cell(c) for c in columns], *texts])) for i in
              range(len(columns))]  # fmt: skip
    right = [_is_numeric([r[i] for r in texts]) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rules = [("-" * (w - 1) + ":") if r else "-" * w for w, r in zip(widths, right, strict=True)]
    lines = [line([_cell(c) for c in columns]), line(rules), *map(line, texts)]
    return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


def from_markdown(text: str) -> tuple[list[str], list[list[str]], list[str]]:
    """Columns, rows and notes of what :func:`markdown` wrote; lines that are no row of the table
    are notes."""
    lines = [line.strip() for line in text.split("\n")]
    table = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    cells = [[cell.strip().replace("\\|", "|") for cell in line] for line in table]
    columns = cells[0] if cells else []
    rows = [row for row in cells[2:] if len(row) == len(columns)]
    return columns, rows, [line for line in lines if line and not line.startswith("|")]


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The same for programs: numbers exact, nothing rounded, ``\\n`` between lines."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        [repr(value) if isinstance(value, float) else value for value in row] for row in rows
    )
    return buffer.getvalue()


def write_table(
    folder: Path, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """``folder/name.csv`` and ``folder/name.md``, each whole or not at all."""
    write_text(folder / f"{name}.csv", csv_text(columns, rows))
    write_text(folder / f"{name}.md", markdown(columns, rows))


def _cell(value: Any) -> str:
    """Text that cannot break a Markdown table."""
    if value is None:
        return ""
    text = format_number(value) if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def _is_numeric(column: Sequence[str]) -> bool:
    return any(column) and all(_is_number(text) for text in column)


def _is_number(text: str) -> bool:
    head = re.split(r"[±\[]", text)[0].replace(",", "").strip()
    if not head:
        return not text
    try:
        float(head)
    except ValueError:
        return False
    return True
