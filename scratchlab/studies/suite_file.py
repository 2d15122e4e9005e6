"""A suite as it stands in its YAML file, checked: ``configs/suite/NAME.yaml``.

::

    description: Which positions does the Transformer need?
    takes: an hour on 2 cores           # shown when it starts
    workers: 2                          # runs at a time, if the command does not say
    threads: 1                          # of each run; default: the cores shared out
    seeds: [0, 1, 2]                    # every run is repeated
    folds: 10                           # and made once for each fold of its data (dataset.folds)
    reference_for: {dataset.name: multi30k_en_fr}   # what references are for: shown only then
    overrides: [model=transformer_mt]   # of every training
    runs:
      learned:
        label: learned positions        # in tables and pictures; default: the name
        overrides: [model.positions=learned]
        reference: {bleu: 52.4}         # a figure from elsewhere that the run's is shown beside
        choice: positions               # runs of one choice compete: all are shown, and the one
                                        # with the least val/loss is marked (choices.json)
      tuned:
        from: learned                   # start from its best checkpoint (learned/last: the last)
        overrides: [optimizer.lr=1e-4]
      small:
        taught_by: [learned]            # the teachers of method=distill (learned/last: the last)
        overrides: [method=distill, model.d_model=64]
      greedy:
        eval: learned                   # no training: measure that run otherwise
        overrides: [decoding=greedy]
      by_length:
        eval: learned
        row: learned                    # its figures stand in that run's row, not in one of its own
        overrides: ["evaluator=[perplexity_by_length]"]
    metrics: [bleu, perplexity]         # columns of the table; default: all that was measured
    curves: [val/loss]                  # pictures of metrics.jsonl, all runs in one
    tables: [perplexity_by_length]      # pictures of the runs' own tables of this name
    scatter:                            # pictures of one metric against another, a point a run
      size: {x: parameters, y: bleu, log: [x], lines: [learned]}  # lines: runs drawn level, as of
                                        # those that cost nothing; log: axes in powers of ten
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scratchlab.config.check import SECTIONS
from scratchlab.config.origin import config_folders
from scratchlab.config.root import root_options
from scratchlab.config.schema import check_options
from scratchlab.errors import ConfigError, Fault, UserError, shortened, suggest
from scratchlab.registry import Option
from scratchlab.regular_files import expanded
from scratchlab.reporting.comparison_pictures import Scatter
from scratchlab.run.folder import read_config

GROUPS = (*SECTIONS, "experiment")
RESERVED = (*GROUPS, *(o.name for o in root_options()))
RUN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
SUITE_OPTIONS = (
    Option("description", "str", "", "what the suite is for, in a line", {}),
    Option("takes", "str", "", "how long it takes on which machine", {}),
    Option("name", "str | None", None, "its folder below output_dir", {}),
    Option("workers", "int", 1, "runs at a time", {"min": 1, "max": 256}),
    Option("threads", "int | None", None, "CPU threads of each run", {"min": 1, "max": 1024}),
    Option("seeds", "list[int]", [0], "every run once for each", {"min": 0}),
    Option("folds", "int | None", None, "every training once for each fold", {"min": 2}),
    Option("overrides", "list[str]", [], "overrides of every training", {}),
    Option("runs", "dict[str, Any]", {}, "the runs by name", {}),
    Option("reference_for", "dict[str, Any]", {}, "options that the references are for", {}),
    Option("metrics", "list[str]", [], "columns of the table", {}),
    Option("curves", "list[str]", ["val/loss"], "metrics drawn over the updates", {}),
    Option("tables", "list[str]", [], "tables of the runs that are drawn together", {}),
    Option("scatter", "dict[str, Any]", {}, "pictures of one metric against another", {}),
)
SCATTER_OPTIONS = (
    Option("x", "str", None, "metric across", {}, required=True),
    Option("y", "str", None, "metric upwards", {}, required=True),
    Option("log", "list[str]", [], "axes in powers of ten", {"choices": ("x", "y")}),
    Option("lines", "list[str]", [], "runs that are drawn as level lines", {}),
)
RUN_OPTIONS = (
    Option("label", "str", "", "what tables and pictures call the run", {}),
    Option("overrides", "list[str]", [], "what this run has of its own", {}),
    Option("from", "str | None", None, "run (or run/last) whose weights it starts from", {}),
    Option("taught_by", "list[str]", [], "runs (or run/last) that teach it (method=distill)", {}),
    Option("eval", "str | None", None, "run (or run/last) that is measured, not trained", {}),
    Option("row", "str | None", None, "run in whose row an evaluation's figures stand", {}),
    Option("seeds", "list[int] | None", None, "in place of the suite's seeds", {"min": 0}),
    Option("folds", "int | None", None, "in place of the suite's folds; null: none", {"min": 2}),
    Option("choice", "str", "", "runs of one name compete by their validation loss", {}),
    Option("reference", "dict[str, float]", {}, "figures from elsewhere, by metric", {}),
    Option("reference_for", "dict[str, Any] | None", None, "in place of the suite's", {}),
)


@dataclass(frozen=True)
class SuiteRun:
    """One run of a suite: a training (perhaps from another's weights) or an evaluation."""

    name: str
    label: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: int | None = None
    source: str | None = None
    checkpoint: str = "best"
    teachers: tuple[tuple[str, str], ...] = ()  # runs with their checkpoints
    is_eval: bool = False
    row: str | None = None
    choice: str = ""
    reference: Mapping[str, float] = field(default_factory=dict)
    reference_for: Mapping[str, Any] = field(default_factory=dict)

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The runs whose weights it needs."""
        source = () if self.source is None else (self.source,)
        return (*source, *(name for name, _ in self.teachers))


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
    scatter: tuple[Scatter, ...] = ()
    takes: str = ""
    workers: int = 1
    threads: int | None = None

    def run(self, name: str) -> SuiteRun:
        return next(run for run in self.runs if run.name == name)

    def folds_of(self, run: SuiteRun) -> int | None:
        """The folds of a run's data; an evaluation has those of the run that it measures."""
        return self.run(run.source).folds if run.is_eval and run.source else run.folds


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
    path = known.get(name) or expanded(name)
    if name not in known and not (path.suffix in (".yaml", ".yml") and path.is_file()):
        raise UserError(f"there is no suite {shortened(name)}", suggest(name, known, "Suites"))
    content = read_config(path)
    options, faults = check_options("", content, SUITE_OPTIONS, ignore=())
    runs = []
    for key, entry in (options.get("runs") or {}).items():
        run, found = _read_run(str(key), entry, options)
        faults += found
        runs += run
    faults += [Fault(f"runs.{r.name}.seeds", "the list is empty") for r in runs if not r.seeds]
    faults += _links(runs)
    scatter, found = _read_scatter(options.get("scatter") or {}, runs)
    faults += found
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
        scatter=tuple(scatter),
        takes=options["takes"],
        workers=options["workers"],
        threads=options["threads"],
    )


def _read_run(
    name: str, entry: Any, suite: Mapping[str, Any]
) -> tuple[list[SuiteRun], list[Fault]]:
    """A run of the suite whose options are ``suite``."""
    where = f"runs.{name}"
    if not RUN_NAME.fullmatch(name):
        return [], [Fault(where, "is no name for a run", "Use letters, digits, _ and -.")]
    if name in RESERVED:
        problem = "is the name of a group or key, which an override could mean as well"
        return [], [Fault(where, problem, "Choose another name.")]
    if entry is not None and not isinstance(entry, dict):
        return [], [Fault(where, f"{shortened(entry)} is no run (a mapping with overrides)")]
    options, faults = check_options(where, entry or {}, RUN_OPTIONS, ignore=())
    if faults:
        return [], faults
    if options["from"] and options["eval"]:
        return [], [Fault(where, "has both from and eval", "An evaluation starts no training.")]
    if options["row"] and not options["eval"]:
        return [], [Fault(f"{where}.row", "is for evaluations only", "A training is its own row.")]
    if options["choice"] and options["eval"]:
        problem = "is for trainings only"
        return [], [Fault(f"{where}.choice", problem, "An evaluation has no validation loss.")]
    if options["taught_by"] and options["eval"]:
        problem = "is for trainings only"
        return [], [Fault(f"{where}.taught_by", problem, "An evaluation learns nothing.")]
    teachers = [name.partition("/")[::2] for name in options["taught_by"]]
    source, _, checkpoint = (options["from"] or options["eval"] or "").partition("/")
    seeds = (suite.get("seeds") or [0]) if options["seeds"] is None else options["seeds"]
    given = options["reference_for"]
    run = SuiteRun(
        name=name,
        label=options["label"] or name.replace("_", " "),
        overrides=tuple(options["overrides"]),
        seeds=tuple(dict.fromkeys(seeds)),
        folds=options["folds"] if "folds" in (entry or {}) else suite.get("folds"),
        source=source or None,
        checkpoint=checkpoint or "best",
        teachers=tuple((name, which or "best") for name, which in teachers),
        is_eval=bool(options["eval"]),
        row=options["row"],
        choice=options["choice"],
        reference=options["reference"],
        reference_for=(suite.get("reference_for") or {}) if given is None else given,
    )
    return [run], []


def _read_scatter(
    entries: Mapping[str, Any], runs: list[SuiteRun]
) -> tuple[list[Scatter], list[Fault]]:
    """The pictures of metrics against each other; their lines name rows of the suite."""
    rows = {run.name: run.label for run in runs if run.row is None}
    pictures, faults = [], []
    for name, entry in entries.items():
        where = f"scatter.{name}"
        if not RUN_NAME.fullmatch(str(name)):
            hint = "Use letters, digits, _ and -."
            faults.append(Fault(where, "is no name for a picture", hint))
            continue
        if not isinstance(entry, dict):
            problem = f"{shortened(entry)} is no picture (a mapping with x and y)"
            faults.append(Fault(where, problem, "For example {x: parameters, y: perplexity}."))
            continue
        options, found = check_options(where, entry, SCATTER_OPTIONS, ignore=())
        unknown = [] if found else [n for n in options["lines"] if n not in rows]
        faults += found
        faults += [
            Fault(f"{where}.lines", f"there is no row {shortened(n)}", suggest(n, rows, "Rows"))
            for n in unknown
        ]
        if not found and not unknown:
            lines = tuple(rows[n] for n in options["lines"])
            log = tuple(options["log"])
            pictures.append(Scatter(str(name), options["x"], options["y"], log, lines))
    return pictures, faults


def _links(runs: list[SuiteRun]) -> list[Fault]:
    """Every run that is named must be there, be trained, and not wait for itself."""
    known = {run.name: run for run in runs}
    faults = []
    for run in runs:
        if run.row is not None and (run.row not in known or known[run.row].row is not None):
            problem = f"there is no row {run.row!r}"
            hint = suggest(run.row, [r.name for r in runs if r.row is None], "Rows")
            faults.append(Fault(f"runs.{run.name}.row", problem, hint))
        for name in run.waits_for:
            faults += _link(run, name, known)
    return faults


def _link(run: SuiteRun, name: str, known: Mapping[str, SuiteRun]) -> list[Fault]:
    """What is wrong with a run's need for the weights of another."""
    word = "taught_by" if name != run.source else "eval" if run.is_eval else "from"
    key = f"runs.{run.name}.{word}"
    if name not in known:
        hint = suggest(name, known, "Runs of this suite")
        return [Fault(key, f"there is no run {name!r}", hint)]
    if not run.is_eval and known[name].folds not in (None, run.folds):
        problem = f"{name} has seen other folds than {run.name} has: its test was learnt"
        return [Fault(key, problem, "Give both the same folds.")]
    if known[name].is_eval:
        return [Fault(key, f"{name} is an evaluation and has no weights")]
    seen, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current == run.name:
            return [Fault(key, f"{run.name} waits for itself")]
        if current not in seen and current in known:
            seen.add(current)
            waiting += known[current].waits_for
    return []
