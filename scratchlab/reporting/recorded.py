"""What runs found, on file for the documentation: ``docs/results/NAME.json``.

A record holds the tables as they were shown, every figure exactly, and on what they were made:
machine, versions, seeds, hashes of the data, the command. No path of the machine is in it.
``scripts/results.py`` makes the pages of the documentation from the records.
"""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scratchlab.config.overrides import key_of
from scratchlab.config.root import FOLDER_KEYS
from scratchlab.reporting.results import read_results
from scratchlab.reporting.tables import results_notes, results_table
from scratchlab.run.atomic import write_json
from scratchlab.run.folder import read_config
from scratchlab.run.manifest import latest, read_manifest

RECORDS = "docs/results"
PRIVATE = (*FOLDER_KEYS, "cache_dir")  # words of a command that say where, not what


def record_study(
    into: Path,
    name: str,
    description: str,
    command: Sequence[str],
    study: Path,
    tables: Iterable[Mapping[str, Any]],
    runs: Sequence[Path],
) -> Path:
    """Record the comparison in the folder ``study``, whose ``tables`` were shown, of its ``runs``.

    Returns the file written; UserError if it cannot be.
    """
    figures = [
        line
        for file in ("comparison", "comparison_timed")
        if (path := study / "tables" / f"{file}.csv").is_file()
        for line in _csv(path)
    ]
    return _write_runs(into, name, description, command, list(tables), figures, runs)


def record_run(into: Path, run: Path) -> Path:
    """Record the results of one finished run; UserError if it has none."""
    config = read_config(run / "config.yaml")
    measurements = read_results(run)
    columns, rows = results_table(measurements)
    notes = results_notes(measurements)
    table = {"title": "results", "columns": columns, "rows": rows, "notes": notes}
    description = config.get("description") or f"{config['model']['name']} on {_dataset(config)}"
    arguments = read_manifest(run / "manifest.json", whole=True).get("command", [])[1:]
    figures = [m.as_dict() for m in measurements]
    return _write_runs(into, config["name"], description, arguments, [table], figures, [run])


def record_bench(
    into: Path,
    name: str,
    description: str,
    command: Sequence[str],
    tables: Sequence[Mapping[str, Any]],
    figures: Sequence[Mapping[str, Any]],
    session: Mapping[str, Any],
) -> Path:
    """Record what a script has measured in one process, of which ``session`` is the manifest."""
    content = {
        "command": " ".join(map(_without_folders, command)),
        "run_between": [session["started"][:10]],
        "made_on": [_made_on(session)],
        "seeds": [],
        "data": [],
        "tables": tables,
        "figures": figures,
    }
    return _write(into, name, description, content)


def shown_command(arguments: Sequence[str]) -> str:
    """The command without the words that say where on a machine something is."""
    words = [w for w in arguments if key_of(w) not in PRIVATE]
    return " ".join(["scratchlab", *map(_without_folders, words)])


def _without_folders(word: str) -> str:
    key, equals, value = word.partition("=")
    if Path(value).is_absolute() or value.startswith("~"):
        return f"{key}{equals}{Path(value).name}"
    return word if equals or not Path(word).is_absolute() else Path(word).name


def _write_runs(
    into: Path,
    name: str,
    description: str,
    command: Sequence[str],
    tables: list[Mapping[str, Any]],
    figures: list[dict[str, Any]],
    runs: Sequence[Path],
) -> Path:
    sessions = [latest(read_manifest(run / "manifest.json", whole=True)) for run in runs]
    configs = [read_config(run / "config.yaml") for run in runs]
    days = sorted(str(s.get("started", ""))[:10] for s in sessions)
    content = {
        "command": shown_command(command),
        "run_between": list(dict.fromkeys([days[0], days[-1]])),
        "made_on": _distinct(map(_made_on, sessions)),
        "seeds": sorted({config["seed"] for config in configs}),
        "folds": sorted({f for c in configs if (f := (c.get("dataset") or {}).get("folds"))}),
        "data": _distinct(map(_data, configs, sessions)),
        "tables": tables,
        "figures": figures,
    }
    return _write(into, name, description, content)


def _write(into: Path, name: str, description: str, content: Mapping[str, Any]) -> Path:
    head = {
        "name": name,
        "description": description,
        "command": content["command"],
        "recorded": datetime.date.today().isoformat(),
        "transcribed": False,
    }
    path = into / f"{name}.json"
    into.mkdir(parents=True, exist_ok=True)
    write_json(path, {**head, **content})
    return path


def _made_on(session: Mapping[str, Any]) -> dict[str, Any]:
    """Of a manifest what can move a figure: neither places nor the release of the system."""
    machine = {k: v for k, v in (session.get("machine") or {}).items() if k != "system"}
    kept = {k: session.get(k) for k in ("scratchlab", "git", "python", "packages")}
    return {"machine": machine, **kept}


def _data(config: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    found = session.get("data") or {}
    hashes = {Path(name).name: value for name, value in (found.get("sha256") or {}).items()}
    return {"name": _dataset(config), "kind": found.get("kind"), "sha256": hashes}


def _dataset(config: Mapping[str, Any]) -> str:
    return str((config.get("dataset") or {}).get("name"))


def _distinct(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(e, sort_keys=True, default=str): e for e in entries}.values())


def _csv(path: Path) -> list[dict[str, Any]]:
    """The lines of a table of ours, with its numbers as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: _number(k, v) for k, v in line.items() if v} for line in csv.DictReader(file)]


def _number(column: str, text: str) -> Any:
    if column == "values":
        return [float(word) for word in text.split()]
    if column == "n":
        return int(text)
    try:
        return float(text) if column not in ("run", "metric", "unit") else text
    except ValueError:
        return text
