"""Runs that kept their examples: made without a model, and made to give their figures again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from scratchlab.evaluation.contract import Measurement
from scratchlab.evaluation.records import Records
from scratchlab.evaluation.rescoring import statistic
from scratchlab.reporting.compare.outputs import Reader
from scratchlab.reporting.results import read_results, write_results
from scratchlab.reporting.sink import FolderSink
from scratchlab.run.atomic import write_json
from scratchlab.run.folder import RunFolder


def made_again(run: Path) -> set[str]:
    """The names of the figures that are made again from the outputs, each the same as before."""
    reader, found = Reader(), set()
    for measured in read_results(run):
        if measured.examples:
            value = reader.statistic(run, measured).value()
            assert value == pytest.approx(measured.value, rel=1e-9, abs=1e-12), measured.name
            found.add(measured.name)
    return found


def make_run(
    path: Path,
    records: dict[str, dict[str, Any]],
    figures: Sequence[Measurement],
    *,
    config: dict[str, Any] | None = None,
    manifest: dict[str, Any] | None = None,
) -> Path:
    """A finished run folder without a model: files of outputs, and figures whose ``examples`` name
    them (:meth:`Records.by`), as an evaluation leaves them."""
    sink, written = FolderSink(path), {}
    for name, columns in records.items():
        kept = Records(name, range(len(next(iter(columns.values())))))
        kept.add(columns)
        written[name] = sink.outputs(kept)
        for one in figures:
            if one.examples.get("file") == name:
                one.value = statistic(one.examples, kept.columns).value()
                one.n = len(kept.ids)
    for one in figures:
        if one.examples:
            one.examples = one.examples | written[one.examples["file"]]
        one.split = one.split or "test"
    write_results(path, figures)
    whole = {"name": path.parent.name, "seed": 0, "dataset": {"name": "digits"}, **(config or {})}
    (path / "config.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    write_json(path / "manifest.json", {"resumed": [], **(manifest or {})})
    RunFolder(path).write_status("done")
    return path


def by(file: str, statistic: str, **options: Any) -> dict[str, Any]:
    """What an evaluator says of how its figure is made again."""
    return Records(file, ()).by(statistic, **options)
