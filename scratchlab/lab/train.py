"""A training run from its folder to its results: data, training, evaluation of the best checkpoint.

Every ending (done, failed, stopped) is written down.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scratchlab.config.check import check
from scratchlab.config.root import FOLDER_KEYS, NO_MATTER
from scratchlab.errors import Stopped, UserError
from scratchlab.evaluation.contract import Evaluator, Measurement
from scratchlab.lab.parts import (
    Parts,
    build_evaluators,
    build_parts,
    check_splits,
    checkpoint_folder,
    evaluate,
    raise_failed,
    starting_point,
)
from scratchlab.lab.weights import Source, read_source
from scratchlab.registry import build, find, is_estimator
from scratchlab.regular_files import expanded
from scratchlab.reporting.plots import LOSS_LABEL, draw_curves
from scratchlab.reporting.results import write_results
from scratchlab.reporting.sink import FolderSink, NullSink
from scratchlab.reporting.tables import results_notes, results_table
from scratchlab.run import checkpoint as checkpoints
from scratchlab.run.atomic import write_json
from scratchlab.run.folder import RESULTS, RunFolder
from scratchlab.run.manifest import begun, gone_on, manifest, peak_memory_bytes, read_manifest
from scratchlab.run.record import Record, log_file, record_failure
from scratchlab.tracking.contract import RunInfo
from scratchlab.tracking.guard import Trackers
from scratchlab.training.contract import TrainingContext
from scratchlab.training.interrupt import Interrupt
from scratchlab.training.memory import memory_advice

LOGGER = logging.getLogger("scratchlab")


def train(config: dict[str, Any], overrides: Sequence[str], command: Sequence[str]) -> Path:
    """Train (or go on training) and evaluate; returns the run folder."""
    config = _with_architecture(config, overrides)
    folder, resumed = open_folder(config)
    folder.lock()
    refused = False
    try:
        with log_file(folder.log):
            if resumed:
                saved = folder.config()
                config = config | {k: saved[k] for k in FOLDER_KEYS if k in saved}
            LOGGER.info("command: scratchlab %s", " ".join(command))
            return _train_logged(folder, resumed, config, list(overrides), list(command))
    except UserError as error:
        # A run whose folder was named is looked for there, by a study for one.
        refused = not resumed and config["run_id"] is None and error.exit_code == 2
        raise
    finally:
        folder.unlock()
        if refused:
            folder.remove_untouched()


def open_folder(config: dict[str, Any]) -> tuple[RunFolder, bool]:
    """A new folder, or the one to go on with, and whether it is that."""
    output_dir, run_id = config["output_dir"], config["run_id"]
    if config["resume"] is True:
        path = expanded(output_dir) / config["name"] / run_id
        if not (path / "config.yaml").is_file():
            return RunFolder.create(output_dir, config["name"], run_id, resume=True), False
        return RunFolder.open(path), True
    return RunFolder.create(output_dir, config["name"], run_id), False


def _train_logged(
    folder: RunFolder,
    resumed: bool,
    config: dict[str, Any],
    overrides: list[str],
    command: list[str],
) -> Path:
    with record_failure(folder) as record:  # from the first file on: a signal may come any moment
        record.begun = not resumed
        if not resumed:
            folder.write_config(config, overrides)
        folder.write_status("running", process=os.getpid())
        tracker = Trackers([build("tracker", entry) for entry in config["tracker"].values()])
        status = "failed"
        try:
            with memory_advice(config):
                _train_steps(folder, config, overrides, command, tracker, record)
            status = "done"
        except (Stopped, KeyboardInterrupt):
            status = "stopped"
            raise
        finally:
            tracker.finish(status)
    return folder.path


def _train_steps(
    folder: RunFolder,
    config: dict[str, Any],
    overrides: list[str],
    command: list[str],
    tracker: Trackers,
    record: Record,
) -> None:
    resumed = not record.begun
    accept, config["accept_changed_data"] = config.get("accept_changed_data", False), False
    started = time.perf_counter()
    warnings: list[str] = []
    newest = checkpoints.load_newest(folder.checkpoints, warnings.append) if resumed else None
    if resumed and newest is None and (folder.path / RESULTS).exists():
        raise UserError(
            f"{folder.path} was trained, but its checkpoints are gone",
            "Restore its folder checkpoints, or train a new run.",
        )
    start = None if newest or config["init_from"] is None else starting_point(config)
    parts = build_parts(config, Source(*newest) if newest else None, start)
    check_splits(config, parts.dataset, ["evaluate_split"] if config["evaluate"] else [])
    check_export(parts, config)
    folder.point_latest()  # not earlier: a command with a mistake in it must not take the place
    warnings += _write_manifest(folder, parts, config, overrides, command, accept, resumed)
    record.begun = True
    if resumed and config != folder.config():
        folder.write_config(config, overrides)
    state = newest[1].state if newest else {}
    trainer = build("trainer", config["trainer"])
    evaluators = build_evaluators(config)
    quick = _quick_evaluators(config, evaluators)
    context = TrainingContext(
        adapted=parts.adapted,
        task=parts.task,
        dataset=parts.dataset,
        optimizer=build("optimizer", config["optimizer"]) if config["optimizer"] else None,
        scheduler=build("scheduler", config["scheduler"]) if config["scheduler"] else None,
        tracker=tracker,
        checkpoints=folder.checkpoints,
        metrics=folder.metrics,
        config=config,
        device=parts.device,
        seed=config["seed"],
        validate=(lambda: _validation_scores(parts, quick)) if quick else None,
        resume=newest[1] if newest else None,
    )
    tracker.start(
        RunInfo(
            name=folder.name,
            run_id=folder.run_id,
            folder=folder.path,
            config=config,
            total_steps=trainer.total_steps(context),
            resumed_from=int(state.get("step", 0)),
            metrics_bytes=int(state.get("metrics_bytes", 0)),
        )
    )
    for warning in warnings:
        LOGGER.warning(warning)
        tracker.message(f"warning: {warning}")
    if newest:
        tracker.message(f"goes on from update {state['step']:,} ({newest[0].name})")
    if start:
        tracker.message(f"starts from the weights of {start.path}")
    _introduce(parts, tracker)
    progress = trainer.train(context)
    for path in draw_curves(folder.path, loss_label=loss_label(config)):
        tracker.image(progress.step, path.stem, path)
    measurements: list[Measurement] = []
    failed: dict[str, Exception] = {}
    if config["evaluate"]:
        measurements = _evaluate_checkpoint(folder, parts, evaluators, config, tracker, failed)
    elif config["export"]:
        chosen = read_source(checkpoint_folder(folder.path, config["evaluate_checkpoint"]))
        parts.adapted.load(chosen.content.model, chosen.path)
    measurements += costs(progress.seconds if progress.step else None)  # else none was trained
    write_results(folder.path, measurements)
    tracker.table(f"Results of {folder.name}/{folder.run_id}", *results_table(measurements))
    for note in results_notes(measurements):
        tracker.remark(note)
    export(folder.path, parts, config, tracker)
    raise_failed(failed)
    tracker.flush()  # a run whose metrics cannot be written is not done
    folder.write_status("done", seconds=round(time.perf_counter() - started, 1))
    LOGGER.info("done")


def _write_manifest(
    folder: RunFolder,
    parts: Parts,
    config: Mapping[str, Any],
    overrides: list[str],
    command: list[str],
    accept: bool,
    resumed: bool,
) -> list[str]:
    """Record what the run is made from; what is worth a warning where it goes on with something
    else. UserError if it would go on with other data."""
    path = folder.path / "manifest.json"
    session = {
        **manifest(command),
        "seed": config["seed"],
        "data": vars(parts.dataset.provenance),
        "spec": parts.dataset.spec.as_dict(),
        "parameters": parts.adapted.parameter_counts()[0],
    }
    before = read_manifest(path) if resumed else {}
    if before:
        content, notes = gone_on(before, session, overrides, accept)
    else:
        content, notes = begun(session, overrides), []
    write_json(path, content)
    return [f"since the run was begun or last went on, {note}" for note in notes]


def already_done(config: Mapping[str, Any]) -> Path | None:
    """The folder of the run that ``config`` would go on with, if nothing of it is left to do."""
    if config["resume"] is not True or config["run_id"] is None:
        return None
    folder = RunFolder(expanded(config["output_dir"]) / config["name"] / config["run_id"])
    if not (folder.path / "config.yaml").is_file() or folder.status()["status"] != "done":
        return None
    if config["evaluate"] and not (folder.path / RESULTS).is_file():
        return None
    saved, faults = check(folder.config())
    if faults or any(saved.get(k) != v for k, v in config.items() if k not in NO_MATTER):
        return None
    try:
        checkpoints.verify(folder.checkpoints / "last")
        checkpoints.verify(checkpoint_folder(folder.path, config["evaluate_checkpoint"]))
    except UserError:  # it is trained again from the one before
        return None
    return folder.path


def _with_architecture(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration with what a folder in the Hugging Face format says of its model, where
    training starts from one."""
    if config["init_from"] is None or config["model"]["name"] != "gpt":
        return config
    from scratchlab.models.gpt_weights import architecture, is_hugging_face

    folder = expanded(config["init_from"])
    if not is_hugging_face(folder):
        return config
    given = {w.partition("=")[0].lstrip("+").removeprefix("model.") for w in overrides
             if w.lstrip("+").startswith("model.")}  # fmt: skip
    model = config["model"]
    found = architecture(folder, {name: model[name] for name in given if name in model})
    return {**config, "model": {**model, **found}}


def check_export(parts: Parts, config: Mapping[str, Any]) -> None:
    """UserError, before anything is trained or measured, if the model cannot be exported."""
    if config["export"] and config["method"]:
        raise UserError(
            "export: a model with methods (" + ", ".join(config["method"]) + ") is not exported",
            "Export the run that the methods were applied to.",
        )
    if config["export"]:
        from scratchlab.models.exporting import check_exportable

        check_exportable(parts.model, config["export"], parts.dataset)


def export(folder: Path, parts: Parts, config: Mapping[str, Any], tracker: Trackers) -> None:
    """Write the model as it is in the format that ``config`` asks for, if it does."""
    if not config["export"]:
        return
    from scratchlab.models.exporting import export_model, tokenizer_unwritable

    path = export_model(parts.model, parts.dataset, config["export"], folder / "export")
    tracker.message(f"exported to {path}")
    has_tokenizer = parts.dataset.tokenizer is not None
    if config["export"] == "hf" and has_tokenizer and not (path / "tokenizer.json").exists():
        why = tokenizer_unwritable(parts.dataset)
        tracker.message(f"note: no tokenizer for AutoTokenizer was written: {why}")


def costs(training_seconds: float | None = None) -> list[Measurement]:
    """What a run cost in time and memory."""
    memory = Measurement("peak_memory", peak_memory_bytes(), "bytes", "lower", timing=True)
    if training_seconds is None:
        return [memory]
    seconds = Measurement("training_time", training_seconds, "s", "lower", timing=True)
    return [seconds, memory]


def loss_label(config: Mapping[str, Any]) -> str:
    """What the loss of a run counts: estimators have losses of their own."""
    if is_estimator(config):
        return "loss"
    squared = config["task"]["name"] in ("regression", "reconstruction")
    return "mean squared error" if squared else LOSS_LABEL


def _introduce(parts: Parts, tracker: Trackers) -> None:
    """Say what is trained on what."""
    dataset = parts.dataset
    total, trained = parts.adapted.parameter_counts()
    sizes = ", ".join(f"{s} {dataset.size(s):,}" for s in dataset.splits)
    what = parts.config["model"]["name"]
    if total is not None:
        share = "" if trained == total else f", {trained:,} of them trained"
        what += f": {total:,} parameters{share} on {parts.device}"
    tracker.message(
        f"{what}; {parts.config['dataset']['name']} ({dataset.provenance.kind}): {sizes}"
    )
    for note in parts.notes:
        tracker.message(f"note: {note}")


def _quick_evaluators(
    config: Mapping[str, Any], evaluators: Mapping[str, Evaluator]
) -> dict[str, Evaluator]:
    """Those that run at each validation: as configured, or with their defaults if not chosen."""
    return {
        name: evaluators[name]
        if name in evaluators
        else build("evaluator", {"name": name, **find("evaluator", name).defaults()})
        for name in config["trainer"].get("validation_evaluators") or []
    }


def _validation_scores(parts: Parts, evaluators: Mapping[str, Evaluator]) -> dict[str, float]:
    limit = parts.config["trainer"]["validation_limit"]
    found = evaluate(parts, evaluators, "val", NullSink(), quick=True, limit=limit)
    return {f"val/{m.name}": m.value for m in found if not m.timing}


def _evaluate_checkpoint(
    folder: RunFolder,
    parts: Parts,
    evaluators: Mapping[str, Evaluator],
    config: Mapping[str, Any],
    tracker: Trackers,
    failed: dict[str, Exception],
) -> list[Measurement]:
    """Measure the chosen checkpoint; a signal stops between two evaluators."""
    path = checkpoint_folder(folder.path, config["evaluate_checkpoint"])
    content = checkpoints.load(path, with_optimizer=False)
    parts.adapted.load(content.model, path)
    step = content.state["step"]
    split = parts.dataset.true_split(config["evaluate_split"])
    tracker.message(f"evaluating {path.name} (update {step:,}) on {split}")
    with Interrupt() as interrupt:

        def stop() -> None:
            if interrupt.requested:
                raise Stopped(interrupt.requested)
            folder.require_whole()

        sink = FolderSink(folder.path, tracker, content.state["step"])
        found = evaluate(parts, evaluators, split, sink, should_stop=stop, failed=failed)
        stop()
    return found
