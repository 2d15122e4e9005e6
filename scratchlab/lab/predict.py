"""What a trained run answers to a line: a translation, a class, a value, what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext
from scratchlab.evaluation.outputs.contract import Outputs, outputs_for
from scratchlab.lab.parts import load_trained
from scratchlab.registry import find
from scratchlab.reporting.sink import NullSink


def predict(
    config: dict[str, Any], run: Path, lines: Iterator[str], at_once: int = 1
) -> Iterator[Iterable[str]]:
    """What a trained run answers to each line, as pieces that are shown as they come.

    Up to ``at_once`` lines are waited for and handled together, which changes no answer.
    """
    trained = load_trained(config, run)
    refusal = UserError(f"predict cannot use a model for {trained.dataset.spec.task} yet")
    own = find("model", config["model"]["name"]).facts.get("outputs")
    outputs: Outputs = outputs_for(trained.dataset, Outputs, refusal, own)
    context = EvaluationContext(
        model=trained.model,
        dataset=trained.dataset,
        task=trained.task,
        split="",  # lines are of none
        device=trained.device,
        sink=NullSink(),
        decoder=trained.decoder,
        seed=config["seed"],
        adapted=trained.adapted,
    )
    yield from outputs.of_lines(context, lines, at_once)
