"""Tables of results: for people (console, Markdown) and for programs (CSV)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scratchlab.evaluation.contract import Measurement
from scratchlab.run.atomic import write_text
from scratchlab.tracking.console import format_number, print_table

ARROWS = {"higher": "↑", "lower": "↓", "": ""}
# How metrics are written by their communities; other names are shown as they are registered.
TITLES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "chrf++": "chrF++",
    "rouge": "ROUGE",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "rougeLsum": "ROUGE-Lsum",
}
BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def title_of(metric: str) -> str:
    """``latency_p50`` → ``latency p50``, ``bleu`` → ``BLEU``."""
    return TITLES.get(metric, metric.replace("_", " "))


def format_measurement(value: float, spread: float | None, unit: str) -> tuple[str, str]:
    """What stands in the value column (with ``± spread``) and in the unit column."""
    if unit == "bytes":
        power = 0 if value < 1 else min(int(math.log(value, 1024)), len(BYTE_UNITS) - 1)
        scaled = value / 1024**power
        return (f"{scaled:.1f}" if power else f"{scaled:.0f}"), BYTE_UNITS[power]
    text = format_number(value)
    if spread is not None:
        decimals = len(text.partition(".")[2]) if "e" not in text else 2
        text += f" ± {spread:.{decimals}f}" if "e" not in text else f" ± {spread:.2e}"
    return text, unit


def results_table(
    measurements: Iterable[Measurement],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows for people: metric with its direction, value ± spread, unit, split, n."""
    columns = ("metric", "value", "unit", "split", "n")
    rows: list[tuple[str, ...]] = []
    for m in measurements:
        value, unit = format_measurement(m.value, m.spread, m.unit)
        name = f"{title_of(m.name)} {ARROWS[m.better]}".rstrip()
        rows.append((name, value, unit, m.split, "" if m.n is None else f"{m.n:,}"))
    return columns, rows


def show_results(title: str, measurements: Sequence[Measurement], file: Any = None) -> None:
    """Print the results on standard output (or ``file``)."""
    columns, rows = results_table(measurements)
    print_table(title, columns, rows, file)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A GitHub table; columns that hold numbers only stand right."""
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
    return "\n".join(lines) + "\n"


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
    head = text.partition("±")[0].replace(",", "").strip()
    if not head:
        return not text
    try:
        float(head)
    except ValueError:
        return False
    return True
