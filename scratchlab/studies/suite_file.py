"""A suite as it stands in its YAML file, checked: ``configs/suite/NAME.yaml``.

::

    description: Which positions does the Transformer need?
    seeds: [0, 1, 2]                    # every run is repeated
    overrides: [model=transformer_mt]   # of every training
    runs:
      learned:
        label: learned positions        # in tables and pictures; default: the name
        overrides: [model.positions=learned]
        reference: {bleu: 52.4}         # a figure from elsewhere that the run's is shown beside
      tuned:
        from: learned                   # start from its best checkpoint (learned/last: the last)
        overrides: [optimizer.lr=1e-4]
      greedy:
        eval: learned                   # no training: measure that run otherwise
        overrides: [decoding=greedy]
    metrics: [bleu, perplexity]         # columns of the table; default: all that was measured
    curves: [val/loss]                  # pictures of metrics.jsonl, all runs in one
    tables: [perplexity_by_length]      # pictures of the runs' own tables of this name
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scratchlab.config.origin import config_folders
from scratchlab.config.schema import check_options
from scratchlab.errors import ConfigError, Fault, UserError, suggest
from scratchlab.registry import Option

RUN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
SUITE_OPTIONS = (
    Option("description", "str", "", "what the suite is for, in a line", {}),
    Option("name", "str | None", None, "its folder below output_dir", {}),
    Option("seeds", "list[int]", [0], "every run once for each", {"min": 0}),
    Option("overrides", "list[str]", [], "overrides of every training", {}),
    Option("runs", "dict[str, Any]", {}, "the runs by name", {}),
    Option("metrics", "list[str]", [], "columns of the table", {}),
    Option("curves", "list[str]", ["val/loss"], "metrics drawn over the updates", {}),
    Option("tables", "list[str]", [], "tables of the runs that are drawn together", {}),
)
RUN_OPTIONS = (
    Option("label", "str", "", "what tables and pictures call the run", {}),
    Option("overrides", "list[str]", [], "what this run has of its own", {}),
    Option("from", "str | None", None, "run (or run/last) whose weights it starts from", {}),
    Option("eval", "str | None", None, "run (or run/last) that is measured, not trained", {}),
    Option("seeds", "list[int] | None", None, "in place of the suite's seeds", {}),
    Option("reference", "dict[str, float]", {}, "figures from elsewhere, by metric", {}),
)


@dataclass(frozen=True)
class SuiteRun:
    """One run of a suite: a training (perhaps from another's weights) or an evaluation."""

    name: str
    label: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    source: str | None = None
    checkpoint: str = "best"
    is_eval: bool = False
    reference: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A checked suite; ``runs`` in the order of the file."""

    name: str
    description: str
    overrides: tuple[str, ...]
    runs: tuple[SuiteRun, ...]
    metrics: tuple[str, ...]
    curves: tuple[str, ...]
    tables: tuple[str, ...]

    def run(self, name: str) -> SuiteRun:
        return next(run for run in self.runs if run.name == name)


def suite_files(config_dir: str | None = None) -> dict[str, Path]:
    """The suites that exist, by name; a folder of the user's comes before the packaged ones."""
    found: dict[str, Path] = {}
    for folder in config_folders(config_dir):
        for path in sorted((folder / "suite").glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def load_suite(name: str, config_dir: str | None = None) -> Suite:
    """Read a suite by name, or from a YAML file; all faults of the file together."""
    known = suite_files(config_dir)
    path = known.get(name) or Path(name).expanduser()
    if name not in known and not (path.suffix in (".yaml", ".yml") and path.is_file()):
        raise UserError(f"there is no suite {name!r}", suggest(name, known, "Suites"))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no suite (a mapping with runs)")
    options, faults = check_options("", content, SUITE_OPTIONS, ignore=())
    runs = []
    for key, entry in (options.get("runs") or {}).items():
        run, found = _read_run(str(key), entry, options.get("seeds") or [0])
        faults += found
        runs += run
    faults += _links(runs)
    if not runs and not faults:
        faults.append(Fault("runs", "the suite has no runs"))
    if faults:
        raise ConfigError([Fault(f"{path.name}: {f.where}", f.problem, f.hint) for f in faults])
    return Suite(
        name=options["name"] or path.stem,
        description=options["description"],
        overrides=tuple(options["overrides"]),
        runs=tuple(runs),
        metrics=tuple(options["metrics"]),
        curves=tuple(options["curves"]),
        tables=tuple(options["tables"]),
    )


def _read_run(name: str, entry: Any, seeds: list[int]) -> tuple[list[SuiteRun], list[Fault]]:
    where = f"runs.{name}"
    if not RUN_NAME.fullmatch(name):
        return [], [Fault(where, "is no name for a run", "Use letters, digits, _ and -.")]
    if entry is not None and not isinstance(entry, dict):
        return [], [Fault(where, f"{entry!r} is no run (a mapping with overrides)")]
    options, faults = check_options(where, entry or {}, RUN_OPTIONS, ignore=())
    if faults:
        return [], faults
    if options["from"] and options["eval"]:
        return [], [Fault(where, "has both from and eval", "An evaluation starts no training.")]
    source, _, checkpoint = (options["from"] or options["eval"] or "").partition("/")
    run = SuiteRun(
        name=name,
        label=options["label"] or name.replace("_", " "),
        overrides=tuple(options["overrides"]),
        seeds=tuple(dict.fromkeys(seeds if options["seeds"] is None else options["seeds"])),
        source=source or None,
        checkpoint=checkpoint or "best",
        is_eval=bool(options["eval"]),
        reference=options["reference"],
    )
    return [run], []


def _links(runs: list[SuiteRun]) -> list[Fault]:
    """Every run that is named must be there, be trained, and not wait for itself."""
    known = {run.name: run for run in runs}
    faults = []
    for run in runs:
        key = f"runs.{run.name}.{'eval' if run.is_eval else 'from'}"
        if run.source is None:
            continue
        if run.source not in known:
            hint = suggest(run.source, known, "Runs of this suite")
            faults.append(Fault(key, f"there is no run {run.source!r}", hint))
        elif known[run.source].is_eval:
            faults.append(Fault(key, f"{run.source} is an evaluation and has no weights"))
        else:
            seen, current = {run.name}, known.get(run.source)
            while current is not None:
                if current.name in seen:
                    faults.append(Fault(key, f"{run.name} waits for itself"))
                    break
                seen.add(current.name)
                current = known.get(current.source or "")
    return faults
