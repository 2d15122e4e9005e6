"""A trained run measured: its parts built again around a checkpoint, its evaluators run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.lab.export import check_export, export
from scratchlab.lab.measure import build_evaluators, costs, measure, raise_failed
from scratchlab.lab.parts import Trained, check_splits, load_trained
from scratchlab.lab.session import session
from scratchlab.reporting.plots import draw_curves, loss_label
from scratchlab.reporting.sink import FolderSink, PictureSink
from scratchlab.run.atomic import write_json
from scratchlab.run.folder import RunFolder, read_trained, refuse_links
from scratchlab.run.manifest import changed_data, latest, manifest, read_manifest
from scratchlab.run.phases import EVALUATION, Phases
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.jsonl import METRICS


def evaluate(
    config: dict[str, Any],
    run: Path,
    where: Path | RunFolder,
    command: Sequence[str],
    phases: Phases | None = None,
) -> list[Measurement]:
    """Measure a trained run; results go to a new folder ``where/evaluations/<time>``.

    If ``where`` is a :class:`RunFolder` it is filled instead.
    """
    if where == run:
        refuse_links(run)
    folder = where if isinstance(where, RunFolder) else RunFolder.create(where, "evaluations")
    opened = session(
        *(folder, config, command, command),
        keep=folder is where,
        trackers=("console",),
        phases=phases,
    )
    with opened as now:
        trained = load_trained(config, run)
        check_splits(config, trained.dataset, ["evaluate_split"])
        check_export(trained, config)
        evaluators = build_evaluators(config)
        if not evaluators and not config["export"]:
            raise UserError(
                "no evaluator is chosen", "Add evaluator=[…]; see scratchlab list evaluator."
            )
        for evaluator in evaluators.values():
            evaluator.check(trained.dataset)
        now.begin()
        write_json(
            folder.path / "manifest.json",
            {
                **manifest(list(command)),
                "checkpoint": str(trained.checkpoint),
                "update": trained.step,
                "data": vars(trained.dataset.provenance),
            },
        )
        tracker = now.tracker
        tracker.start(RunInfo(folder.name, folder.run_id, folder.path, config))
        split = trained.dataset.true_split(config["evaluate_split"])
        tracker.message(f"{trained.checkpoint} (update {trained.step:,}) on {split}")
        for name in _changed_since(run, config, trained):
            now.warn(f"the data have changed since the run was trained: {name}")
        for note in trained.notes:
            tracker.message(f"note: {note}")
        failed: dict[str, Exception] = {}
        sink = FolderSink(folder.path, tracker, pictures=config["pictures"])
        with now.phases(EVALUATION):
            found = measure(trained, evaluators, split, sink, failed=failed)
        found += costs(now.phases)
        now.results(f"Results of {trained.checkpoint}", found)
        export(folder.path, trained, config, tracker)
        tracker.message(f"written to {folder.path}")
        raise_failed(failed)
    if config["pictures"] and where == run and (run / METRICS).is_file():
        draw_missing(run, evaluators=False)
    return found


def draw_missing(run: Path, evaluators: bool = True) -> None:
    """The pictures of a run that was trained without, in its folder: its curves, and what its
    evaluators show where it was measured."""
    config = read_trained(run)
    if config.get("pictures", True) or (run / "plots").exists():
        return
    refuse_links(run)
    if evaluators and config["evaluate"]:
        trained = load_trained(config, run)
        measure(trained, build_evaluators(config), config["evaluate_split"], PictureSink(run))
    draw_curves(run, loss_label=loss_label(config))


def _changed_since(run: Path, config: dict[str, Any], trained: Trained) -> list[str]:
    """What of the run's own data has another content than it was trained on."""
    before = read_manifest(run / "manifest.json")
    if not before or config["dataset"] != RunFolder(run).config().get("dataset"):
        return []
    return changed_data(latest(before).get("data") or {}, vars(trained.dataset.provenance))
