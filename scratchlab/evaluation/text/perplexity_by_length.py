"""Perplexity of short and of long lines: what a model gains from context within a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.text.text_scores import LineScores, line_scores
from scratchlab.figures.lines import by_length_figure
from scratchlab.registry import option, register


@dataclass(frozen=True)
class LengthGroup:
    """Lines of ``first`` to ``last`` targets: how many, their targets and their perplexity."""

    first: int
    last: int
    lines: int
    targets: int
    perplexity: float

    @property
    def label(self) -> str:
        return range_label(self.first, self.last)


@register("evaluator", "perplexity_by_length", tasks=("language_modeling",), measures={})
class PerplexityByLength(Evaluator):
    """A table and a picture of perplexity by the length of a line (or of an example).

    The groups hold about equally many lines and depend on the split alone, so they are the same for
    every model. The length counts the end of the line, which is a target too.
    """

    @dataclass(frozen=True)
    class Config:
        groups: int = option(8, "groups of lines, about equally many in each", min=1)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        scores = line_scores(context)
        groups = group_by_length(scores, self.config.groups)
        unit = context.dataset.spec.unit
        context.sink.table(
            "perplexity_by_length",
            (f"length in {unit}s", "lines", "targets", f"perplexity per {unit}"),
            [(g.label, g.lines, g.targets, round(g.perplexity, 4)) for g in groups],
        )
        context.sink.figure(
            "perplexity_by_length",
            by_length_figure,
            [g.label for g in groups],
            [g.lines for g in groups],
            [g.perplexity for g in groups],
            scores.perplexity(),
            f"length of the line in {unit}s, its end included (below: number of lines)",
            f"perplexity per {unit}",
            f"Perplexity by length of line, split {context.split}",
        )
        return []


def group_by_length(scores: LineScores, groups: int) -> list[LengthGroup]:
    """Lines by their number of targets, in at most ``groups`` groups of about equally many."""
    found: list[LengthGroup] = []
    for inside in lengths_apart(scores.targets, groups):
        lengths = scores.targets[inside]
        nll, targets = float(scores.nll[inside].sum()), int(lengths.sum())
        ends = int(lengths.min()), int(lengths.max())
        found.append(LengthGroup(*ends, len(inside), targets, _exp(nll / targets)))
    return found


def lengths_apart(lengths: NDArray[np.int64], groups: int) -> list[NDArray[np.int64]]:
    """Numbers of texts of like length, short ones first: at most ``groups`` groups of about equally
    many. Equal lengths stay together. UserError if there is no text."""
    if not len(lengths):
        raise UserError("There is no line to measure.")
    quantiles = np.quantile(lengths, np.arange(1, groups) / groups, method="lower")
    edges = sorted({int(q) for q in quantiles} | {int(lengths.max())})
    group = np.searchsorted(edges, lengths)
    return [np.flatnonzero(group == number) for number in range(len(edges))]


def range_label(first: int, last: int) -> str:
    """How a group of lengths is called."""
    return str(first) if first == last else f"{first}–{last}"


def _exp(mean: float) -> float:
    if not math.isfinite(mean) or mean > 700:
        raise UserError(
            f"The mean loss of a group of lines is {mean}: the model's outputs say nothing.",
            "Evaluate an earlier checkpoint, or train with a lower learning rate.",
        )
    return math.exp(mean)
