"""The runs of a study as ordinary run folders: where they lie, what is there of them already."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.check import check
from scratchlab.config.places import whole_paths
from scratchlab.config.root import FOLDER_NAME, NO_MATTER
from scratchlab.errors import UserError
from scratchlab.lab.architecture import with_architecture
from scratchlab.regular_files import expanded
from scratchlab.run.atomic import open_to_append, write_json
from scratchlab.run.decisions import STUDY_RECORD
from scratchlab.run.folder import RunFolder, read_config
from scratchlab.run.manifest import changed_data, latest, read_manifest
from scratchlab.studies.workers import Job, Outcome, in_use

REPORTING = ".tables.lock"
JOURNALS = {"suite": "suite.journal", "sweep": "study.journal"}  # who runs what, by verb
FILE_NAME = re.compile(r"[^A-Za-z0-9._+=,-]+")


@dataclass(frozen=True)
class StudyFolder:
    """``<output_dir>/<name>``: the runs of a study, and beside them its tables and pictures."""

    path: Path

    @classmethod
    def below(cls, output_dir: str, name: str) -> StudyFolder:
        """The folder of the study ``name``, whose name may come from somebody else's file."""
        if not FOLDER_NAME.fullmatch(name):
            raise UserError(
                f"name: {name!r} cannot be the name of a folder",
                "Use letters, digits and . _ + = , - (the first a letter or digit); "
                "output_dir=FOLDER says where it is.",
            )
        return cls(expanded(output_dir) / name)

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def place(self) -> list[str]:
        """The overrides that put a run into this folder."""
        return [f"output_dir={quoted(str(self.path.parent))}", f"name={quoted(self.path.name)}"]

    def open(self, verb: str) -> RunFolder:
        """Make the folder of a ``suite`` or ``sweep``, which other commands of the same kind may
        share; ``unlock`` it afterwards."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"the folder {self.path} cannot be made: {reason}", "See output_dir=FOLDER."
            ) from error
        if (self.path / "config.yaml").is_file():
            raise UserError(f"{self.path} is a run's folder", "Give the study a name: name=NAME.")
        for other, journal in JOURNALS.items():
            if other != verb and (self.path / journal).exists():
                hint = "Give the study a name: name=NAME."
                raise UserError(f"{self.path} is a {other}'s folder", hint)
        folder = RunFolder(self.path)
        folder.lock(shared=True)
        return folder

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Inside, no other process writes the tables and pictures of the study."""
        with open_to_append(self.path / REPORTING) as lock:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def record(self, outcomes: Sequence[Outcome], labels: Mapping[str, str] | None = None) -> None:
        """Write down how every run ended, as far as they have, and what tables call it."""
        labels = labels or {}
        entries = [
            outcome.as_dict() | ({"label": labels[outcome.name]} if outcome.name in labels else {})
            for outcome in outcomes
        ]
        write_json(self.path / STUDY_RECORD, entries)

    def job(self, run_id: str, verb: Sequence[str], overrides: Sequence[str]) -> Job:
        """The process that starts the run ``run_id``, or goes on with it."""
        arguments = [*verb, *overrides, *self.place(), f"run_id={quoted(run_id)}", "resume=true"]
        return Job(run_id, tuple(arguments), self.path / run_id, self.logs / f"{run_id}.log")


def is_done(folder: Path) -> bool:
    """Whether a run has ended well."""
    return RunFolder(folder).status()["status"] == "done"


def require_same(folder: Path, config: Mapping[str, Any], words: Sequence[str]) -> None:
    """Refuse to go on with, wait for or count a run that was made with other options, ``words``
    among them.

    A run that came to nothing (it failed before its first checkpoint) may start anew with others.
    """
    if not (folder / "config.yaml").is_file():
        return
    has_begun = any((folder / "checkpoints").glob("[!.]*")) or in_use(folder)
    if not (has_begun or is_done(folder)):
        return
    here = {**config, "output_dir": str(folder.parents[1])}
    config = with_architecture(here, words)
    found = list(differences(completed(read_config(folder / "config.yaml")), config))
    if found:
        key, before, now = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise UserError(
            f"the run {folder} was made with {key}={before!r}, now it is {now!r}{more}",
            "Write name=NAME for a new study beside it, or move the old run away.",
        )


def unlike_data(folders: Iterable[Path]) -> list[str]:
    """Runs whose data had another content than that of an earlier one with the same options.

    A study that goes on after its data were changed compares what cannot be compared.
    """
    first: dict[str, Mapping[str, Any]] = {}
    found = []
    for folder in folders:
        data = latest(read_manifest(folder / "manifest.json")).get("data")
        if not data or not (folder / "config.yaml").is_file():
            continue
        config = read_config(folder / "config.yaml")
        same = json.dumps([config.get("dataset"), config.get("seed")], sort_keys=True, default=str)
        if changed_data(first.setdefault(same, data), data):
            found.append(folder.name)
    return found


def completed(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A saved configuration as it would be composed now: with the defaults of options that did not
    exist when it was saved, and whole paths."""
    complete, faults = check(config)
    return config if faults else whole_paths(complete)


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Options that differ between two configurations: full key and both values."""
    for key in sorted({*before, *now}):
        if not prefix and key in NO_MATTER:
            continue
        a, b = before.get(key), now.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}", a, b


def quoted(text: str) -> str:
    """A text as Hydra's override grammar reads it back unchanged."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*|/[A-Za-z0-9_./-]*", text) and text.lower() not in (
        "true",
        "false",
        "null",
        "nan",
        "inf",
    ):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def file_name(text: str) -> str:
    """``text`` with everything that cannot stand in a folder's name taken out."""
    return FILE_NAME.sub("-", text).strip("-.")
