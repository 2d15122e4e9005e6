"""The results of a run: one file that two equal runs share bit for bit, one for what was timed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.config.reading import read_json, require
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.reporting.tables import csv_text, markdown, results_notes, results_table
from scratchlab.run.atomic import write_json, write_text

RESULTS = "results.json"
TIMED = "results_timed.json"
NUMBER = "float | None"
SCHEMA: dict[str, Any] = {
    "name": "str",
    "value": NUMBER,
    "unit?": "str",
    "better?": "str",
    "spread?": NUMBER,
    "low?": NUMBER,
    "high?": NUMBER,
    "interval?": "str",
    "n?": "int | None",
    "split?": "str",
    "compares?": "str",
    "timing?": "bool",
    "settings?": {},
    "examples?": {},
}
CSV_COLUMNS = (
    *("name", "value", "unit", "better", "spread", "low", "high", "spread_meaning", "n"),
    *("split", "compares", "settings"),
)


def write_results(folder: Path, measurements: Sequence[Measurement]) -> None:
    """Write results.json and tables/results.{csv,md}; timed figures go into files of their own.

    Without any timed figure those files are not made. A value that is no number becomes null.
    """
    for timed, file, table in ((False, RESULTS, "results"), (True, TIMED, "results_timed")):
        chosen = [m for m in measurements if m.timing == timed]
        if timed and not chosen:
            continue
        write_json(folder / file, [_plain(m.as_dict()) for m in chosen])
        columns, rows = results_table(chosen)
        notes = results_notes(chosen)
        write_text(folder / "tables" / f"{table}.md", markdown(columns, rows, notes))
        write_text(folder / "tables" / f"{table}.csv", csv_text(CSV_COLUMNS, _exact(chosen)))


def read_results(folder: Path) -> list[Measurement]:
    """What :func:`write_results` wrote; UserError if the folder has no results."""
    path = folder / RESULTS
    if not path.exists():
        raise UserError(
            f"{folder} has no {RESULTS}.", "Evaluate the run first: scratchlab eval RUN."
        )
    return [m for name in (RESULTS, TIMED) for m in _read(folder / name)]


def _read(path: Path) -> list[Measurement]:
    if not path.exists():
        return []
    entries = read_json(path)
    if not isinstance(entries, list):
        raise UserError(f"{path} holds no list of results")
    for number, entry in enumerate(entries):
        require(entry, SCHEMA, path, (str(number),))
    known = {f.name for f in fields(Measurement)}
    found = [Measurement(**{k: v for k, v in e.items() if k in known}) for e in entries]
    for one in found:
        one.value = math.nan if one.value is None else one.value
    return found


def _exact(measurements: Iterable[Measurement]) -> list[list[Any]]:
    rows = []
    for m in measurements:
        entry = {**_plain(m.as_dict()), "spread_meaning": m.meaning}
        entry["settings"] = json.dumps(entry["settings"], ensure_ascii=False)
        rows.append([entry[column] for column in CSV_COLUMNS])
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def arithmetic(rows: Mapping[str, Sequence[Path]]) -> list[str]:
    """The precision that the runs of each row were trained in, as their checkpoints have it: one
    line, which names the rows where they differ. None where no run says."""
    found: dict[str, list[str]] = {}
    for label, folders in rows.items():
        taken = dict.fromkeys(filter(None, map(_precision, folders)))
        if taken:
            found.setdefault(" and ".join(taken), []).append(label)
    if not found:
        return []
    if len(found) == 1:
        return [f"trained in {next(iter(found))}"]
    return ["trained in " + "; ".join(f"{p}: {', '.join(labels)}" for p, labels in found.items())]


def _precision(run: Path) -> str | None:
    for name in ("last", "best"):
        try:
            content = read_json(run / "checkpoints" / name / "state.json")
            return str(content["state"]["precision"])
        except (UserError, KeyError, TypeError):
            continue
    return None
