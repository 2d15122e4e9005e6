"""A training run from its folder to its results: data, training, the best checkpoint measured."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scratchlab.config.check import check
from scratchlab.config.root import NO_MATTER
from scratchlab.errors import LOGGED_IN, Stopped, UserError
from scratchlab.evaluation.contract import Evaluator, Measurement
from scratchlab.lab.architecture import with_architecture
from scratchlab.lab.export import check_export, export
from scratchlab.lab.measure import (
    build_evaluators,
    costs,
    measure,
    raise_failed,
    time_to_target,
    validation,
)
from scratchlab.lab.parts import Parts, build_parts, check_splits, give_candidates
from scratchlab.lab.session import Session, open_folder, session
from scratchlab.lab.teachers import method_of, teach
from scratchlab.lab.vectors import changed_file
from scratchlab.lab.weights import Weights, checkpoint_folder
from scratchlab.registry import build, is_estimator
from scratchlab.regular_files import expanded
from scratchlab.reporting.plots import draw_curves, loss_label
from scratchlab.reporting.sink import FolderSink
from scratchlab.run import checkpoint as checkpoints
from scratchlab.run import own_part
from scratchlab.run.atomic import write_json
from scratchlab.run.folder import RESULTS, RunFolder
from scratchlab.run.interrupt import Interrupt
from scratchlab.run.manifest import (
    begun,
    gone_on,
    latest,
    manifest,
    read_manifest,
    record_reached,
)
from scratchlab.run.phases import EVALUATION, START, TEACHERS, Phases
from scratchlab.run.processes import Processes, joined, place
from scratchlab.run.record import log_file
from scratchlab.tracking.contract import RunInfo, Tracker
from scratchlab.tracking.guard import Trackers
from scratchlab.training.contract import Progress, TrainingContext
from scratchlab.training.memory import as_before, automatic
from scratchlab.training.profiling import Profile

LOGGER = logging.getLogger("scratchlab")


def train(
    config: dict[str, Any],
    overrides: Sequence[str],
    command: Sequence[str],
    watchers: Sequence[Tracker] = (),
    phases: Phases | None = None,
) -> Path:
    """Train (or go on training) and evaluate; returns the run folder.

    ``watchers`` are told what the trackers of the configuration are. Of several processes the first
    does all of it; the others take part in the training alone. ``phases`` is the clock of the
    command, if that was started before.
    """
    if place().count > 1 and is_estimator(config):
        problem = f"model: {config['model']['name']} learns in one process"
        raise UserError(problem, "Start it without torchrun.")
    config = with_architecture(config, overrides)
    with joined(config["device"]) as processes:
        if processes.rank:
            return _take_part(processes)
        return _train(config, overrides, command, watchers, processes, phases or Phases())


def _train(
    config: dict[str, Any],
    overrides: Sequence[str],
    command: Sequence[str],
    watchers: Sequence[Tracker],
    processes: Processes,
    phases: Phases,
) -> Path:
    folder, resumed = open_folder(config)
    keep = config["resume"] is True  # a study looks for its runs where it named them
    opened = session(
        *(folder, config, overrides, command),
        resumed=resumed,
        keep=keep,
        watchers=watchers,
        phases=phases,
    )
    with opened as run:
        config = run.config
        accept, config["accept_changed_data"] = config.get("accept_changed_data", False), False
        if automatic(config) is not None:
            config, settled = _with_batch(run, overrides, processes)
        else:
            settled = ""
        warnings: list[str] = []
        newest = Weights.to_go_on_from(folder, warnings.append) if resumed else None
        start = None if newest else Weights.to_begin_with(config)
        parts = build_parts(config, newest, start)
        measured = config["evaluate"] and not parts.dataset.unmeasured
        check_splits(config, parts.dataset, ["evaluate_split"] if measured else [])
        check_export(parts, config)
        trainer, evaluators = build("trainer", config["trainer"]), build_evaluators(config)
        trainer.check(config, parts.dataset)
        for evaluator in evaluators.values() if measured else ():
            evaluator.check(parts.dataset)
        with phases(TEACHERS if method_of(parts) else START):
            taught = teach(parts, run.tracker.message)
        warnings += _write_manifest(run, parts, start, taught, overrides, command, accept)
        if measured != config["evaluate"]:
            warnings.append(f"nothing is measured: {parts.dataset.unmeasured}")
        run.begin()
        if resumed and config != folder.config():
            folder.write_config(config, list(overrides))
        context = training_context(parts, folder, run.tracker)
        context.validate = validation(parts, evaluators)
        if config["trainer"].get("profile"):
            context.profile = Profile(phases, folder.path)
        context.resume = newest.content if newest else None
        context.processes, context.phases = processes, phases
        told: list[Any] = [str(folder.path), resumed, config]
        processes.from_first(lambda: told)
        _introduce(run, parts, trainer.total_steps(context), newest, start, warnings)
        if settled:
            run.tracker.message(settled)
        with processes.as_one():
            progress = trainer.train(context)
        processes.leave()
        with phases(EVALUATION):
            if context.profile is not None and context.profile.updates:
                run.profiled(context.profile)
            _finish(run, parts, progress, evaluators if measured else None)
    return folder.path


def _with_batch(
    run: Session, overrides: Sequence[str], processes: Processes
) -> tuple[dict[str, Any], str]:
    """The configuration with a number for a batch size of ``auto``, which the run keeps from then
    on, and a line that says so."""
    from scratchlab.lab.plan import settled_here

    if run.resumed:
        run.config = as_before(run.config, run.folder.config())
    run.config, text = settled_here(run.config, processes.count)
    if not run.resumed:
        run.folder.write_config(run.config, list(overrides))
    if text:
        LOGGER.info(text)
    return run.config, text


def _finish(
    run: Session, parts: Parts, progress: Progress, evaluators: Mapping[str, Evaluator] | None
) -> None:
    """Curves, measurements (by ``evaluators``, where something is measured) and export."""
    folder, config = run.folder, run.config
    if config["pictures"]:
        for path in draw_curves(folder.path, loss_label=loss_label(config)):
            run.tracker.image(progress.step, path.stem, path)
    measurements: list[Measurement] = []
    failed: dict[str, Exception] = {}
    if evaluators is not None or config["export"]:
        chosen = Weights.of_run(folder.path, config["evaluate_checkpoint"])
        parts.adapted.load(chosen.content.model, chosen.path)
        give_candidates(parts, folder.path)
        if evaluators is not None:
            measurements = _measure_checkpoint(run, parts, evaluators, chosen, failed)
    trained = progress.seconds if progress.step else None  # none: nothing was trained
    measurements += costs(run.phases, trained) + time_to_target(progress.reached)
    record_reached(folder.path / "manifest.json", progress.reached)
    run.results(f"Results of {folder.name}/{folder.run_id}", measurements)
    export(folder.path, parts, config, run.tracker)
    raise_failed(failed)


def _take_part(processes: Processes) -> Path:
    """Train in a process that is not the first: it reads what is in the run folder, and writes
    nothing but why it failed."""
    told: list[Any] = processes.from_first(list)
    path, resumed, config = told
    folder = RunFolder.open(Path(path))
    try:
        newest = Weights.to_go_on_from(folder, lambda _: None) if resumed else None
        parts = build_parts(config, newest, None if newest else Weights.to_begin_with(config))
        teach(parts, LOGGER.info)
        context = training_context(parts, folder, Trackers([]))
        context.resume = newest.content if newest else None
        context.processes = processes
        context.validate = validation(parts, build_evaluators(config))
        build("trainer", config["trainer"]).train(context)
    except Exception as error:
        if not isinstance(error, (UserError, Stopped)) and processes.failed_first(error):
            with log_file(folder.log):
                LOGGER.error("%s failed:\n%s", processes.place, traceback.format_exc())
            error.add_note(f"{LOGGED_IN}{folder.log}")
        raise
    processes.leave()
    return folder.path


def training_context(parts: Parts, folder: RunFolder, tracker: Tracker) -> TrainingContext:
    """What a trainer is given to train ``parts`` in a run folder from the start."""
    config = parts.config
    return TrainingContext(
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
    )


def _write_manifest(
    run: Session,
    parts: Parts,
    start: Weights | None,
    taught: Mapping[str, Any],
    overrides: Sequence[str],
    command: Sequence[str],
    accept: bool,
) -> list[str]:
    """Record what the run is made from; what is worth a warning where it goes on with something
    else. UserError if it would go on with other data."""
    path = run.folder.path / "manifest.json"
    now = {
        **manifest(list(command)),
        "seed": run.config["seed"],
        "data": vars(parts.dataset.provenance),
        "spec": parts.dataset.spec.as_dict(),
        "parameters": parts.adapted.parameter_counts()[0],
        **({"began_with": start.named} if start else {}),
        **taught,
    }
    before = _manifest_before(path, accept) if run.resumed else {}
    if before:
        own_part.check(latest(before), run.folder.path, goes_on=True)
        content, notes = gone_on(before, now, list(overrides), accept)
        notes += changed_file(before.get("began_with"))
    else:
        content, notes = begun(now, list(overrides)), []
    write_json(path, content)
    return [f"since the run was begun or last went on, {note}" for note in notes]


def _manifest_before(path: Path, accept: bool) -> dict[str, Any]:
    """The manifest of a run that goes on; a damaged one cannot say if its data have changed."""
    try:
        return read_manifest(path, whole=not accept)
    except UserError as error:
        hint = "Restore it, or go on without knowing if its data changed: accept_changed_data=true."
        raise UserError(error.message, hint) from error


def already_done(config: dict[str, Any], overrides: Sequence[str]) -> Path | None:
    """The folder of the run that ``config`` would go on with, if nothing of it is left to do."""
    if config["resume"] is not True or config["run_id"] is None:
        return None
    folder = RunFolder(expanded(config["output_dir"]) / config["name"] / config["run_id"])
    if not (folder.path / "config.yaml").is_file() or folder.status()["status"] != "done":
        return None
    if config["evaluate"] and not (folder.path / RESULTS).is_file():
        return None
    saved, faults = check(folder.config())
    config = as_before(with_architecture(config, overrides), saved)
    if faults or any(saved.get(k) != v for k, v in config.items() if k not in NO_MATTER):
        return None
    try:
        checkpoints.verify(folder.checkpoints / "last")
        checkpoints.verify(checkpoint_folder(folder.path, config["evaluate_checkpoint"]))
    except UserError:  # it is trained again from the one before
        return None
    return folder.path


def _introduce(
    run: Session,
    parts: Parts,
    total_steps: int,
    newest: Weights | None,
    start: Weights | None,
    warnings: Sequence[str],
) -> None:
    """Say what is trained on what, and what it begins with."""
    folder, config, dataset = run.folder, run.config, parts.dataset
    state = newest.content.state if newest else {}
    run.tracker.start(
        RunInfo(
            name=folder.name,
            run_id=folder.run_id,
            folder=folder.path,
            config=config,
            total_steps=total_steps,
            resumed_from=int(state.get("step", 0)),
            metrics_bytes=int(state.get("metrics_bytes", 0)),
        )
    )
    for warning in warnings:
        run.warn(warning)
    if newest:
        run.tracker.message(f"goes on from update {state['step']:,} ({newest.path.name})")
    if start:
        what = "word vectors" if start.vectors else "weights"
        run.tracker.message(f"starts from the {what} of {start.path}")
    total, trained = parts.adapted.parameter_counts()
    what = config["model"]["name"]
    if total is not None:
        share = "" if trained == total else f", {trained:,} of them trained"
        what += f": {total:,} parameters{share} on {parts.device}"
    sizes = ", ".join(f"{s} {dataset.size(s):,}" for s in dataset.splits)
    data = f"{config['dataset']['name']} ({dataset.provenance.kind}): {sizes}"
    run.tracker.message(f"{what}; {data}")
    for note in parts.notes:
        run.tracker.message(f"note: {note}")


def _measure_checkpoint(
    run: Session,
    parts: Parts,
    evaluators: Mapping[str, Evaluator],
    chosen: Weights,
    failed: dict[str, Exception],
) -> list[Measurement]:
    """Measure the chosen checkpoint; a signal stops between two evaluators."""
    folder, step = run.folder, chosen.content.state["step"]
    split = parts.dataset.true_split(run.config["evaluate_split"])
    run.tracker.message(f"evaluating {chosen.path.name} (update {step:,}) on {split}")
    with Interrupt() as interrupt:

        def stop() -> None:
            if interrupt.requested:
                raise Stopped(interrupt.requested)
            folder.require_whole()

        sink = FolderSink(folder.path, run.tracker, step, pictures=run.config["pictures"])
        found = measure(parts, evaluators, split, sink, should_stop=stop, failed=failed)
        stop()
    return found
