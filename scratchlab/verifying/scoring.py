"""Scores that do not move with the batches of an evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from scratchlab.estimators.embeddings.base import WordEstimator
from scratchlab.evaluation.contract import Measurement
from scratchlab.lab.measure import measure
from scratchlab.lab.parts import Parts
from scratchlab.reporting.sink import NullSink
from scratchlab.verifying.batches import regrouped
from scratchlab.verifying.findings import DoesNotApply, Finding, Gap, gap, gap_of, judged, largest
from scratchlab.verifying.outputs import few, of_estimator
from scratchlab.verifying.subject import EXAMPLES, Subject, evaluators

SIZES = (1, 8)  # examples of a batch, beside all at once
HOW = "batches of 1, 8, all"


def batch_sizes(subject: Subject) -> Iterator[Finding]:
    """One example at a time, eight, all."""
    parts, split = subject.parts, subject.split
    if isinstance(parts.model, WordEstimator):
        raise DoesNotApply("word vectors are looked up, not computed in batches")
    if subject.estimator and (whole := of_estimator(parts, split, EXAMPLES)):
        gaps = [gap(whole, of_estimator(parts, split, size)) for size in SIZES]
        yield judged(HOW, ", ".join(whole), largest(gaps), subject.tolerance())
        return
    if not subject.estimator:
        added = losses(parts, split, EXAMPLES)
        gaps = [each_gap(added, losses(parts, split, size), size) for size in SIZES]
        tolerance = subject.tolerance(added["targets"])
        yield judged(HOW, "loss, targets", largest(gaps), tolerance)
    chosen = evaluators(parts.config)
    if not chosen:
        return
    measured = scores(parts, chosen, split, EXAMPLES)
    gaps = [each_gap(measured, scores(parts, chosen, split, size), size) for size in SIZES]
    yield judged(HOW, ", ".join(measured), largest(gaps), subject.tolerance())


def losses(parts: Parts, split: str, size: int) -> dict[str, float]:
    """The loss of the first examples, as validation adds it up, in batches of this size."""
    total, targets = 0.0, 0
    with parts.adapted.measuring():
        for batch in few(parts, split, size):
            loss = parts.task.loss(parts.model, batch.to(parts.device))
            total, targets = total + float(loss.nll), targets + loss.count
    return {"loss": total / max(targets, 1), "targets": targets}


def scores(parts: Parts, chosen: Mapping[str, Any], split: str, size: int) -> dict[str, float]:
    """What evaluators measure on the first examples in batches of this size."""
    grouped = dataclasses.replace(parts, dataset=regrouped(parts.dataset, size, EXAMPLES))
    sink = NullSink()
    found: list[Measurement] = measure(
        grouped, chosen, split, sink, limit=EXAMPLES, batch_size=size
    )
    return {m.name: m.value for m in found if not m.timing}


def each_gap(expected: Mapping[str, float], found: Mapping[str, float], size: int) -> Gap:
    """The largest difference of numbers that are each measured by themselves."""
    if expected.keys() != found.keys():
        return Gap(float("inf"), f"other scores in batches of {size}", False)
    one = largest(gap_of(name, expected[name], found[name]) for name in expected)
    return dataclasses.replace(one, where=f"{one.where}, batches of {size}")
