"""What a report tells: runs, their comparison, curves, examples, pictures, and how to make them."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scratchlab.config.reading import read_text
from scratchlab.errors import UserError, shortened, suggest
from scratchlab.regular_files import expanded, read_regular
from scratchlab.reporting.compare.comparing import Comparison, compare
from scratchlab.reporting.compare.costs import cost_metrics, costs_of
from scratchlab.reporting.compare.differences import Comparing
from scratchlab.reporting.compare.outputs import Reader
from scratchlab.reporting.compare.runs import Row, Run, differing
from scratchlab.reporting.compare.tables import Shown
from scratchlab.reporting.report.curves import Chart, charts_of
from scratchlab.reporting.report.pictures import Picture, pictures_of
from scratchlab.reporting.report.samples import Samples, samples_of
from scratchlab.reporting.search import TRIALS
from scratchlab.reporting.tables import from_markdown
from scratchlab.run.decisions import STUDY_RECORD
from scratchlab.run.folder import RESULTS
from scratchlab.run.manifest import latest, read_manifest

UNMEASURED = "No figure of a test is common to these runs: scratchlab eval RUN measures one."
CONFIG_CHARACTERS = 20_000  # of one configuration
FACT_CHARACTERS = 500


@dataclass(frozen=True)
class Made:
    """Where, when and from what a run was made: names with values, and the commands, first the
    training, then the evaluations that figures were taken from."""

    row: str
    folder: str
    facts: list[tuple[str, str]]
    commands: list[str]
    config: str


@dataclass(frozen=True)
class Report:
    """Everything that the page shows."""

    found: Comparison
    charts: list[Chart]
    charts_left: list[str]
    samples: list[Samples]
    pictures: list[Picture]
    pictures_left: list[str]
    runs: list[Made]
    trials: list[Shown] = field(default_factory=list)
    title: str = ""  # of one study


def gather(
    rows: list[Row],
    base: Row,
    words: Sequence[str],
    *,
    metrics: Sequence[str] = (),
    test: str = "auto",
) -> Report:
    """Read what the rows' folders hold; ``words`` are what the command named.

    Raises:
        UserError: outputs were changed, or no row can be compared with ``base``.
    """
    reader = Reader()
    ordered = [base, *(row for row in rows if row is not base)]
    if len(rows) > 1 and not metrics and not _shared(ordered):
        found = Comparison(
            ordered, base, differing(ordered), [], costs_of(ordered), {}, [UNMEASURED]
        )
    elif len(rows) > 1:
        found = compare(rows, base, metrics=metrics, test=test, reader=reader)
    else:
        found = _alone(base, metrics, reader)
    return report_of(found, studies_of(words), reader)


def report_of(found: Comparison, studies: Sequence[Path], reader: Reader | None = None) -> Report:
    """What belongs to a comparison; ``studies`` are suites and sweeps with pictures of their own.

    Raises:
        UserError: outputs were changed.
    """
    charts, charts_left = charts_of(found.rows)
    pictures, pictures_left = pictures_of(found.rows, studies)
    made = [_made(row.label, run) for row in found.rows for run in row.runs]
    samples = samples_of(found.rows, found.base, reader or Reader())
    trials = [one for folder in studies for one in _trials(folder)]
    of_study = [
        folder.name
        for folder in studies
        if all(run.path.is_relative_to(folder.resolve()) for row in found.rows for run in row.runs)
    ]
    return Report(
        found,
        charts,
        charts_left,
        samples,
        pictures,
        pictures_left,
        made,
        trials,
        title=of_study[0] if of_study else "",
    )


def _trials(study: Path) -> list[Shown]:
    """The table of a sweep, the best trial first; none of a suite."""
    if not (study / TRIALS).is_file() or (study / TRIALS).is_symlink():
        return []
    columns, rows, notes = from_markdown(read_text(study / TRIALS))
    return [Shown(f"Trials of {study.name}", columns, rows, notes)] if rows else []


def _shared(rows: Sequence[Row]) -> bool:
    """Whether another row has a figure of the first that is no cost: a sweep evaluates none."""
    apart = cost_metrics()
    base, *others = (row.metrics for row in rows)
    own = [n for n, one in base.items() if one.better and not one.timing and n not in apart]
    return any(name in other for name in own for other in others)


def _alone(row: Row, metrics: Sequence[str], reader: Reader) -> Comparison:
    """The figures of one row, with nothing to set beside them."""
    apart = cost_metrics()
    told = [n for n, one in row.metrics.items() if one.better and not one.timing and n not in apart]
    comparing = Comparing(reader)
    for name in metrics:
        if name not in row.metrics:
            raise UserError(f"metric={shortened(name)} was not measured", suggest(name, told))
    chosen = metrics or told
    figures = comparing.figures([row], chosen, row)
    return Comparison([row], row, {}, figures, costs_of([row]), {})


def studies_of(words: Sequence[str]) -> list[Path]:
    """The suites and sweeps among what a command names."""
    paths = [expanded(word) for word in words]
    return [p for p in paths if (p / STUDY_RECORD).is_file() and not (p / "config.yaml").is_file()]


def _made(label: str, run: Run) -> Made:
    about = run.manifest
    machine, data = _mapping(about, "machine"), _mapping(about, "data")
    packages, git = _mapping(about, "packages"), _mapping(about, "git")
    commit = f"{git.get('commit', '')}{' and changes' if git.get('changed') else ''}"
    folders = dict.fromkeys((run.path, *run.measured))
    seed, fold = run.repeat
    facts = [
        ("started", about.get("started")),
        ("seed", str(seed) if fold is None else f"{seed}, fold {fold}"),
        ("scratchlab", " ".join(filter(None, [about.get("scratchlab"), commit]))),
        ("Python", about.get("python")),
        ("packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
        ("machine", ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in machine.items())),
        ("parameters", f"{n:,}" if isinstance(n := about.get("parameters"), int) else None),
        ("data", data.get("description")),
    ]
    sums = [(f"sha256 of {name}", value) for name, value in _mapping(data, "sha256").items()]
    for folder in run.measured:
        path = folder / RESULTS
        shown = path.relative_to(run.path) if path.is_relative_to(run.path) else path
        sums.append((f"sha256 of {shown}", hashlib.sha256(read_regular(path)).hexdigest()))
    outputs = [one.examples for _, one in run.figures.values() if one.examples]
    sums += dict.fromkeys((f"sha256 of {e.get('file')}", e.get("sha256")) for e in outputs)
    config = read_text(run.path / "config.yaml")
    if len(config) > CONFIG_CHARACTERS:
        config = f"{config[:CONFIG_CHARACTERS]}… (all of it is in config.yaml)"
    return Made(
        label,
        str(run.path),
        [(name, _cut(str(value))) for name, value in [*facts, *sums] if value],
        [command for folder in folders if (command := _command(folder))],
        config,
    )


def _command(folder: Path) -> str:
    command = latest(read_manifest(folder / "manifest.json")).get("command")
    return shlex.join(map(str, command)) if isinstance(command, list) else ""


def _cut(text: str) -> str:
    return text if len(text) <= FACT_CHARACTERS else f"{text[:FACT_CHARACTERS]}…"


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}
