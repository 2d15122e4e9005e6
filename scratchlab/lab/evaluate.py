"""Runs that were trained before: built again around a checkpoint, and measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.config.reading import require
from scratchlab.errors import UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.lab.parts import (
    Parts,
    build_evaluators,
    build_parts,
    check_splits,
    checkpoint_folder,
    evaluate,
    raise_failed,
)
from scratchlab.lab.train import check_export, costs, export
from scratchlab.lab.weights import read_source
from scratchlab.registry import build, is_estimator
from scratchlab.reporting.results import write_results
from scratchlab.reporting.sink import FolderSink
from scratchlab.reporting.tables import results_notes, results_table
from scratchlab.run import checkpoint as checkpoints
from scratchlab.run.atomic import write_json
from scratchlab.run.folder import RunFolder, refuse_links
from scratchlab.run.manifest import changed_data, latest, manifest, read_manifest
from scratchlab.run.record import log_file, record_failure
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.guard import Trackers
from scratchlab.training.memory import memory_advice


@dataclass
class Trained(Parts):
    """Parts whose model holds the weights of a checkpoint."""

    checkpoint: Path
    step: int
    epoch: float


def load_trained(config: dict[str, Any], run: Path, which: str = "best") -> Trained:
    """Build what ``config`` says around the weights and the vocabulary of a checkpoint."""
    source = read_source(checkpoint_folder(run, which))
    parts = build_parts(config, source)
    if not is_estimator(config):
        parts.model.eval()
    state = require(
        source.content.state,
        {"step": "int", "epoch": "float"},
        source.path / checkpoints.STATE,
        ("state",),
    )
    return Trained(**vars(parts), checkpoint=source.path, step=state["step"], epoch=state["epoch"])


def evaluate_trained(
    config: dict[str, Any], run: Path, where: Path | RunFolder, command: Sequence[str]
) -> list[Measurement]:
    """Measure a trained run; results go to a new folder ``where/evaluations/<time>``.

    If ``where`` is a :class:`RunFolder` it is filled instead.
    """
    with prepare_evaluation(config, run, where, command) as (folder, tracker):
        trained = load_trained(config, run, config["evaluate_checkpoint"])
        check_splits(config, trained.dataset, ["evaluate_split"])
        write_json(
            folder.path / "manifest.json",
            {
                **manifest(list(command)),
                "checkpoint": str(trained.checkpoint),
                "update": trained.step,
                "data": vars(trained.dataset.provenance),
            },
        )
        tracker.start(RunInfo(folder.name, folder.run_id, folder.path, config))
        split = trained.dataset.true_split(config["evaluate_split"])
        tracker.message(f"{trained.checkpoint} (update {trained.step:,}) on {split}")
        for name in _changed_since(run, config, trained):
            tracker.message(f"warning: the data have changed since the run was trained: {name}")
        for note in trained.notes:
            tracker.message(f"note: {note}")
        evaluators = build_evaluators(config)
        check_export(trained, config)
        if not evaluators and not config["export"]:
            raise UserError(
                "no evaluator is chosen", "Add evaluator=[…]; see scratchlab list evaluator."
            )
        failed: dict[str, Exception] = {}
        sink = FolderSink(folder.path, tracker)
        found = evaluate(trained, evaluators, split, sink, failed=failed)
        found += costs()
        write_results(folder.path, found)
        tracker.table(f"Results of {trained.checkpoint}", *results_table(found))
        for note in results_notes(found):
            tracker.remark(note)
        export(folder.path, trained, config, tracker)
        tracker.message(f"written to {folder.path}")
        raise_failed(failed)
        return found


def _changed_since(run: Path, config: dict[str, Any], trained: Trained) -> list[str]:
    """What of the run's own data has another content than it was trained on."""
    before = read_manifest(run / "manifest.json")
    if not before or config["dataset"] != RunFolder(run).config().get("dataset"):
        return []
    return changed_data(latest(before).get("data") or {}, vars(trained.dataset.provenance))


@contextmanager
def prepare_evaluation(
    config: dict[str, Any], run: Path, where: Path | RunFolder, command: Sequence[str]
) -> Iterator[tuple[RunFolder, Trackers]]:
    """A folder for the results of one evaluation, its trackers, and a record of how it ended."""
    if where == run:
        refuse_links(run)
    folder = where if isinstance(where, RunFolder) else RunFolder.create(where, "evaluations")
    with log_file(folder.log), record_failure(folder), memory_advice(config):
        folder.write_config(config, list(command))
        folder.write_status("running", process=os.getpid())
        folder.point_latest()
        trackers = {k: v for k, v in config["tracker"].items() if k == "console"}
        tracker = Trackers([build("tracker", entry) for entry in trackers.values()])
        yield folder, tracker
    tracker.finish("done")
    folder.write_status("done")
