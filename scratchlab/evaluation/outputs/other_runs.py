"""Tables of other runs, for evaluators that compare models example by example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scratchlab.data.sources.csv_cells import read_cells
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.regular_files import expanded


def other_run(context: EvaluationContext, name: str) -> Path:
    """The folder of a run that an option names: a path, or a run beside the present one."""
    given = expanded(name)
    beside = None if context.folder is None else context.folder.parent / name
    for path in (given, beside):
        if path is not None and (path / "tables").is_dir():
            return path
    raise UserError(
        f"compare: there is no run {name!r} with tables",
        "Name a run folder, or a run beside this one (in a suite: RUN-seed0).",
    )


def read_table(run: Path, table: str, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Some columns of a run's table; UserError if it was not written."""
    path = run / "tables" / f"{table}.csv"
    try:
        cells = read_cells(path, ",", wanted=columns)
    except UserError as error:
        raise UserError(
            f"compare: {error.message}",
            f"Evaluate that run with evaluator=[…,{table}] first, on the same split.",
        ) from error
    places = [cells.column(name) for name in columns]
    return [tuple(row[place] for place in places) for row in cells.rows]
