"""Built parts are measured: evaluators on a split, quick ones between epochs, time and memory."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from scratchlab.errors import Stopped, TrainingError, UserError
from scratchlab.evaluation.comparable import compares
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement, Sink
from scratchlab.lab.parts import Parts
from scratchlab.registry import build, find
from scratchlab.reporting.sink import FolderSink, NullSink
from scratchlab.run.manifest import peak_memory_bytes
from scratchlab.run.own_part import own_part
from scratchlab.run.phases import Phases
from scratchlab.training.memory import is_out_of_memory, out_of_memory

LOGGER = logging.getLogger("scratchlab")


def build_evaluators(config: Mapping[str, Any]) -> dict[str, Evaluator]:
    """The chosen evaluators by name."""
    return {key: build("evaluator", entry) for key, entry in config["evaluator"].items()}


def measure(
    parts: Parts,
    evaluators: Mapping[str, Evaluator],
    split: str,
    sink: Sink,
    *,
    quick: bool = False,
    limit: int | None = None,
    batch_size: int = 64,
    should_stop: Callable[[], None] = lambda: None,
    failed: dict[str, Exception] | None = None,
) -> list[Measurement]:
    """Run evaluators on one split with the model as it is.

    A test split that is the validation split is called so in all that is written. With ``failed``,
    an evaluator that fails is put there by its name and the others go on.
    """
    split = parts.dataset.true_split(split)
    decoder = quick_decoder(parts.config) if quick else parts.decoder
    context = EvaluationContext(
        model=parts.model,
        dataset=parts.dataset,
        task=parts.task,
        split=split,
        device=parts.device,
        sink=sink,
        decoder=decoder,
        seed=parts.config["seed"],
        quick=quick,
        batch_size=batch_size,
        limit=limit,
        folder=sink.folder if isinstance(sink, FolderSink) else None,
        adapted=parts.adapted,
    )
    measurements: list[Measurement] = []
    with parts.adapted.measuring():
        for name, evaluator in evaluators.items():
            should_stop()
            try:
                measurements += evaluator.evaluate(context)
            except Exception as error:
                if failed is None or isinstance(error, Stopped):
                    raise
                LOGGER.error("evaluator %s failed:\n%s", name, traceback.format_exc())
                lacking = is_out_of_memory(error)
                failed[name] = out_of_memory(error, parts.config, None) if lacking else error
    written = {name: sink.outputs(records) for name, records in context.records.items()}
    alike = compares(parts.config)
    own = {"own_part": str(part)} if (part := own_part()) is not None else {}
    for measurement in measurements:
        measurement.split = measurement.split or split
        measurement.settings = {**measurement.settings, **parts.adapted.settings(), **own}
        if measurement.examples:
            file = written[measurement.examples["file"]]
            measurement.examples = measurement.examples | file if file else {}
        if not measurement.timing:
            measurement.compares = measurement.compares or alike.get(measurement.name, "")
    return measurements


def raise_failed(failed: Mapping[str, Exception]) -> None:
    """TrainingError if evaluators failed; what the others measured is written by then."""
    if failed:
        said = [f"evaluator {name} failed: {_first_line(e)}" for name, e in failed.items()]
        hints = dict.fromkeys(
            e.hint for e in failed.values() if isinstance(e, UserError) and e.hint
        )
        raise TrainingError("; ".join(said), " ".join([*hints, "The other results are written."]))


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"


def quick_decoder(config: Mapping[str, Any]) -> Any:
    """Greedy search with the limits of the chosen decoding, for measurements between epochs."""
    chosen = config.get("decoding")
    if not chosen or chosen["name"] not in ("beam", "greedy"):
        return build("decoding", chosen) if chosen else None
    greedy = find("decoding", "greedy").defaults()
    options = {k: chosen.get(k, v) for k, v in greedy.items()}
    return build("decoding", {"name": "greedy", **options, "shortlist": None})


def validation(
    parts: Parts, chosen: Mapping[str, Evaluator]
) -> Callable[[], dict[str, float]] | None:
    """What runs at each validation: the evaluators that the trainer names, as they were chosen or
    with their defaults; None where it names none."""
    options = parts.config["trainer"]
    quick: dict[str, Evaluator] = {
        name: chosen[name]
        if name in chosen
        else build("evaluator", {"name": name, **find("evaluator", name).defaults()})
        for name in options.get("validation_evaluators") or []
    }

    def scores() -> dict[str, float]:
        limit = options["validation_limit"]
        found = measure(parts, quick, "val", NullSink(), quick=True, limit=limit)
        return {f"val/{m.name}": m.value for m in found if not m.timing}

    return scores if quick else None


def time_to_target(reached: Mapping[str, Any] | None) -> list[Measurement]:
    """How long it took from the command to the checkpoint that met ``trainer.stop_at``."""
    if reached is None:
        return []
    settings = {k: v for k, v in reached.items() if k != "seconds"}
    how: dict[str, Any] = {"better": "lower", "timing": True, "settings": settings}
    return [Measurement("time_to_target", reached["seconds"], "s", **how)]


def costs(phases: Phases, training_seconds: float | None = None) -> list[Measurement]:
    """What a run cost in time and memory; the time of the command so far with its phases."""
    spent = phases.so_far()
    settings = {"seconds": {name: round(seconds, 3) for name, seconds in spent.items()}}
    memory = Measurement("peak_memory", peak_memory_bytes(), "bytes", "lower", timing=True)
    run = Measurement("run_time", sum(spent.values()), "s", "lower", timing=True, settings=settings)
    if training_seconds is None:
        return [run, memory]
    seconds = Measurement("training_time", training_seconds, "s", "lower", timing=True)
    return [seconds, run, memory]
