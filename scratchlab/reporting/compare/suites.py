"""The rows of a suite beside its first one: what a suite ends in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scratchlab.reporting.compare.comparing import Comparison, compare
from scratchlab.reporting.compare.costs import cost_metrics
from scratchlab.reporting.compare.runs import Row, Run
from scratchlab.reporting.compare.tables import Shown, as_csv, differences_table
from scratchlab.reporting.scores import Compared
from scratchlab.reporting.tables import markdown
from scratchlab.run.atomic import write_text
from scratchlab.run.folder import RESULTS, read_config

MOST = 4  # metrics of a table that is still read


def against_first(compared: Sequence[Compared], metrics: Sequence[str]) -> Comparison | None:
    """The rows beside the first; None where nothing can be paired: fewer than two rows have
    results, or runs of before kept no outputs.

    The metrics are the suite's own as far as rows share them, else the first that are told.

    Raises:
        UserError: outputs were changed, or what they hold cannot be compared.
    """
    rows = rows_of_suite(compared)
    if len(rows) < 2:
        return None
    base, *others = rows
    shared = [
        name
        for name, one in base.metrics.items()
        if one.better and one.examples and any(name in row.metrics for row in others)
    ]
    chosen = [m for m in metrics if m in shared and m not in cost_metrics()] or shared
    return compare(rows, base, metrics=chosen[:MOST]) if chosen else None


def write_differences(folder: Path, found: Comparison) -> Shown:
    """Write tables/differences.{csv,md}, and return the table."""
    shown = differences_table(found)
    text = markdown(shown.columns, shown.rows, shown.notes)
    write_text(folder / "tables" / "differences.md", text)
    write_text(folder / "tables" / "differences.csv", as_csv(found))
    return shown


def rows_of_suite(compared: Sequence[Compared]) -> list[Row]:
    """The rows that have results, each run with the further measurements of its row."""
    rows = []
    for row in compared:
        runs = []
        for place, folder in enumerate(row.folders):
            more = [part[place] for part in row.more if place < len(part)]
            measured = [f for f in (folder, *more) if (f / RESULTS).is_file()]
            if measured:
                runs.append(Run(folder, read_config(folder / "config.yaml"), tuple(measured)))
        if runs:
            rows.append(Row(row.label, runs))
    return rows
