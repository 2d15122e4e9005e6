"""The runs that a command names, as rows: one for each setting, with a run for each seed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from scratchlab.config.reading import read_json
from scratchlab.config.root import FOLDER_NAME, NO_MATTER
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.reporting.results import read_results
from scratchlab.run.decisions import STUDY_RECORD
from scratchlab.run.folder import RESULTS, RunFolder, find_run, places_of, read_config
from scratchlab.run.manifest import latest, read_manifest

# What two runs may differ in without being two settings that are compared.
APART = (*NO_MATTER, "seed", "data_dir", "tracker", "evaluator", "evaluate", "export")
REPEATED = re.compile(r"-seed\d+(-fold\d+)?(?=/|$)")
LONGEST_LABEL = 100
ABSENT = "–"  # an option that a run does not have


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its configuration, and the folders that its figures lie in.

    Those are its own, then its evaluations that measured the same otherwise. ``label``: what its
    suite calls it.
    """

    path: Path
    config: Mapping[str, Any]
    measured: tuple[Path, ...]
    label: str = ""

    @property
    def repeat(self) -> tuple[int, int | None]:
        """The seed, and the fold of the data where there are folds."""
        dataset = self.config.get("dataset") or {}
        return int(self.config.get("seed", 0)), dataset.get("fold") if _folds(dataset) else None

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        return latest(read_manifest(self.path / "manifest.json"))

    @cached_property
    def figures(self) -> dict[str, tuple[Path, Measurement]]:
        """Every figure by its name, with the folder that it was read from.

        Of several the first counts that has its outputs, else the first.
        """
        found: dict[str, tuple[Path, Measurement]] = {}
        for folder in self.measured:
            for one in read_results(folder):
                known = found.get(one.name)
                if known is None or (one.examples and not known[1].examples):
                    found[one.name] = folder, one
        return found

    @property
    def identity(self) -> str:
        """What tells a setting from another: the configuration without seed, fold, place, looks."""
        return json.dumps(setting(self.config), sort_keys=True, default=str)


@dataclass(frozen=True)
class Row:
    """One setting: its label and its runs, one for each seed (and fold)."""

    label: str
    runs: Sequence[Run]

    @property
    def over(self) -> str:
        """What its runs are repeated over."""
        seeds, folds = ({run.repeat[i] for run in self.runs} for i in (0, 1))
        return "seeds" if len(folds) == 1 else "folds" if len(seeds) == 1 else "runs"

    @property
    def metrics(self) -> dict[str, Measurement]:
        """The figures that all runs of the row have (those of the first)."""
        first = self.runs[0].figures
        names = [n for n in first if all(n in run.figures for run in self.runs)]
        return {name: first[name][1] for name in names}

    def values(self, metric: str) -> list[float]:
        return [float(run.figures[metric][1].value) for run in self.runs]


def rows_of(words: Iterable[str], output_dir: str | Path = "outputs") -> list[Row]:
    """The rows of a comparison; runs that differ in seed or fold alone share one.

    Raises:
        UserError: a word names no run, suite or sweep, or nothing of it has results.
    """
    runs: list[Run] = []
    for word in words:
        runs += [run for run in runs_named(word, output_dir) if run not in runs]
    groups: dict[str, list[list[Run]]] = {}
    for run in runs:
        parts = groups.setdefault(run.identity, [])
        part = next((p for p in parts if run.repeat not in [r.repeat for r in p]), None)
        if part is None:  # a second run of the same seed is a row of its own
            parts.append([run])
        else:
            part.append(run)
    members = [part for parts in groups.values() for part in parts]
    if len(members) == 1:  # the seeds are what is compared
        members = [[run] for run in members[0]]
    members.sort(key=lambda part: runs.index(part[0]))
    return [Row(*pair) for pair in zip(labels_of(members), members, strict=True)]


def base_of(
    rows: list[Row], word: str | None, output_dir: str | Path = "outputs"
) -> tuple[list[Row], Row]:
    """The rows, and the one that a word names (a label, or a run): added if it is not among them;
    without a word the first."""
    if word is None:
        return rows, rows[0]
    named = next((row for row in rows if row.label == word), None) or next(
        (row for row in rows if word in [run.path.name for run in row.runs]), None
    )
    if named is not None:
        return rows, named
    runs = runs_named(word, output_dir)
    paths = {run.path for run in runs}
    if len({run.identity for run in runs}) > 1:
        raise UserError(f"base={word} is a suite or sweep of several runs", "Name one of its runs.")
    found = next((row for row in rows if paths & {run.path for run in row.runs}), None)
    if found is not None:
        return rows, found
    members = [runs, *(list(row.runs) for row in rows)]
    both = [Row(*pair) for pair in zip(labels_of(members), members, strict=True)]
    return both, both[0]


def runs_named(word: str, output_dir: str | Path = "outputs") -> list[Run]:
    """The runs of a suite or sweep that are done, or the one run (or evaluation) that is named."""
    for path in places_of(word, output_dir):
        if (path / STUDY_RECORD).is_file() and not (path / "config.yaml").is_file():
            return _of_study(path)
    return [finished(find_run(word, output_dir))]


def _of_study(folder: Path) -> list[Run]:
    """The runs of a study that have results. An evaluation of one of them by other evaluators adds
    its figures to that run's."""
    content = read_json(folder / STUDY_RECORD)
    entries = content if isinstance(content, list) else []
    labels = {str(e.get("name")): _label(e.get("label")) for e in entries if isinstance(e, dict)}
    found: dict[tuple[str, Any], Run] = {}
    for name, label in labels.items():
        if not FOLDER_NAME.fullmatch(name) or not (folder / name / "config.yaml").is_file():
            continue
        if RunFolder(folder / name).status()["status"] != "done":
            continue
        try:
            run = replace(finished(folder / name), label=label)
        except UserError:
            continue  # a run without evaluation (the first half of a pipeline)
        key = run.identity, run.repeat
        if key in found and "checkpoint" in run.manifest:
            known = found[key]
            run = replace(known, measured=(*known.measured, *run.measured))
        found[key] = run
    if not found:
        raise UserError(
            f"{folder} has no finished run with results",
            "Start the same suite or sweep again: it goes on with what is missing.",
        )
    return list(found.values())


def _label(found: Any) -> str:
    """A label that can be shown: it may come from somebody else's file."""
    fits = isinstance(found, str) and found.isprintable() and len(found) <= LONGEST_LABEL
    return str(found) if fits else ""


def finished(path: Path) -> Run:
    """A run that has results, its own or those of an evaluation of the same; UserError if none."""
    config = read_config(path / "config.yaml")
    evaluations = sorted(p.parent for p in (path / "evaluations").glob(f"*/{RESULTS}"))
    alike = [f for f in reversed(evaluations) if not f.is_symlink() and _same(config, f)]
    own = [path] if (path / RESULTS).is_file() else []
    if not own and not alike:
        status = RunFolder(path).status()["status"]
        raise UserError(f"{path} has no results ({status})", f"Evaluate it: scratchlab eval {path}")
    return Run(path, config, (*own, *alike))


def _same(config: Mapping[str, Any], evaluation: Path) -> bool:
    """Whether an evaluation differs from the run in its evaluators alone."""
    if not (evaluation / "config.yaml").is_file():
        return False
    return setting(config) == setting(read_config(evaluation / "config.yaml"))


def setting(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration is a setting that may be compared with another."""
    kept = {key: value for key, value in config.items() if key not in APART}
    dataset = kept.get("dataset") or {}
    if _folds(dataset):
        kept["dataset"] = {key: value for key, value in dataset.items() if key != "fold"}
    if isinstance(kept.get("init_from"), str):
        kept["init_from"] = REPEATED.sub("", kept["init_from"])
    return kept


def _folds(dataset: Mapping[str, Any]) -> bool:
    return bool(dataset.get("folds"))


def labels_of(members: Sequence[Sequence[Run]]) -> list[str]:
    """The shortest names that tell rows apart: run, name, or both; of several runs without seed.
    What a suite calls its run stands for the run, if that tells them apart."""
    ids, labels, names = [], [], []
    several = any(len(part) > 1 for part in members)
    short = {REPEATED.sub("", part[0].path.name) for part in members}
    stripped = several or len(short) == len(members)
    for part in members:
        path = part[0].path
        about = ""
        if path.parent.name == "evaluations":
            path, about = path.parents[1], f", evaluated {path.name}"
        names.append(path.parent.name)
        ids.append((REPEATED.sub("", path.name) if stripped else path.name) + about)
        labels.append((part[0].label or ids[-1]) + about * bool(part[0].label))
    if len(set(zip(names, labels, strict=True))) == len(members):
        ids = labels
    if len(set(names)) == 1 and len(set(ids)) == len(ids):
        return ids
    both = [
        name if names.count(name) == 1 else f"{name}/{run_id}"
        for name, run_id in zip(names, ids, strict=True)
    ]
    if len(set(both)) == len(both):
        return both
    return [f"{label} ({number})" for number, label in enumerate(both, 1)]


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration as one level of dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def differing(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The options that are not the same in all rows, each with its value in every row.

    Those that not all rows have, since parts were exchanged, come last.
    """
    configs = [flat(setting(row.runs[0].config)) for row in rows]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    found = {key: [config.get(key, ABSENT) for config in configs] for key in keys}
    apart = {
        k: v
        for k, v in found.items()
        if any(value != v[0] for value in v) and not all(one in ({}, ABSENT) for one in v)
    }
    return dict(sorted(apart.items(), key=lambda item: ABSENT in item[1]))
