"""Samples of several evaluators in one file."""

from __future__ import annotations

from typing import Any

from scratchlab.evaluation.contract import EvaluationContext


def add_samples(context: EvaluationContext, rows: list[dict[str, Any]]) -> None:
    """Add to the samples of this evaluation (the sink keeps only what it is given last)."""
    kept: list[dict[str, Any]] = context.once(("samples", context.split), list)
    kept += rows
    context.sink.samples(kept)
