"""Every row beside the first: its figures, and the paired difference with interval and p.

What other examples would leave open stands apart from what other seeds would: the first is about
these trained models, the second about the settings that they were trained with.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scratchlab.evaluation.intervals import (
    JACKKNIFE,
    Interval,
    difference_of_shares,
    effects,
    interval,
    student,
)
from scratchlab.evaluation.rescoring.contract import Statistic, Sums
from scratchlab.evaluation.rescoring.scales import Floats, Scale
from scratchlab.reporting.compare import significance
from scratchlab.reporting.compare.outputs import Reader, why_unlike
from scratchlab.reporting.compare.runs import Row, Run
from scratchlab.reporting.tables import ends_of

MCNEMAR = "McNemar's exact test"
RANDOMISATION = "approximate randomisation"
PAIRED_BOOTSTRAP = "paired bootstrap"
BOOTSTRAP_T = "paired bootstrap of t"
PERMUTATION = "permutation of the runs"
SIGNS = "permutation of pairs of runs on the same fold"
AGRESTI_MIN = "95 % interval (Agresti and Min)"
TESTS = ("auto", "randomisation", "bootstrap")
CORPUS = ("bleu", "chrf")  # statistics of texts that sacrebleu's tests are for


@dataclass(frozen=True)
class Tested:
    """A difference: its interval and p, how both were found, and p corrected for many tests."""

    low: float | None = None
    high: float | None = None
    interval: str = ""
    p: float | None = None
    test: str = ""
    corrected: float | None = None


@dataclass(frozen=True)
class Figure:
    """A metric of a row: its mean over the runs, and how far it is from that of the first row.

    ``examples`` is the paired difference over examples, ``runs`` that over seeds or folds. ``note``
    says why one is missing.
    """

    row: str
    metric: str
    unit: str
    better: str
    value: float
    values: tuple[float, ...]
    n: int | None
    over: str
    low: float | None = None
    high: float | None = None
    interval: str = ""
    std: float | None = None
    difference: float | None = None
    examples: Tested = field(default_factory=Tested)
    runs: Tested = field(default_factory=Tested)
    note: str = ""

    @property
    def verdict(self) -> str:
        """better, worse or "" (no difference is shown), by the test that asks more."""
        tested = [t for t in (self.runs, self.examples) if t.p is not None]
        if self.difference is None or not tested or not self.better:
            return ""
        chance = tested[0].corrected if tested[0].corrected is not None else tested[0].p
        if chance is None or chance >= 0.05 or self.difference == 0:
            return ""
        return "better" if (self.difference > 0) == (self.better == "higher") else "worse"


class Comparing:
    """Makes the figures of metrics, row by row; ``test``: how differences of texts are tested."""

    def __init__(self, reader: Reader, test: str = "auto") -> None:
        self.reader, self.test = reader, test
        self._effects: dict[Any, tuple[float, Floats]] = {}

    def figures(self, rows: Sequence[Row], metric: str, base: Row) -> list[Figure]:
        """The metric in every row that has it, p corrected over all that are compared."""
        having = [row for row in rows if metric in row.metrics]
        found = [self._figure(row, metric, base) for row in having]
        for name in ("examples", "runs"):
            corrected = significance.holm([getattr(one, name).p for one in found])
            found = [
                replace(one, **{name: replace(getattr(one, name), corrected=p)})
                for one, p in zip(found, corrected, strict=True)
            ]
        return found

    def _figure(self, row: Row, metric: str, base: Row) -> Figure:
        first, values = row.metrics[metric], row.values(metric)
        several = len(values) > 1 and len(set(values)) > 1
        own = self._interval(row, metric)
        figure = Figure(
            row=row.label,
            metric=metric,
            unit=first.unit,
            better=first.better,
            value=statistics.fmean(values),
            values=tuple(values),
            n=first.n,
            over=row.over,
            low=own.low if own else None,
            high=own.high if own else None,
            interval=own.how if own else "",
            std=statistics.stdev(values) if several else None,
        )
        if row is base or metric not in base.metrics:
            return figure
        apart = figure.value - statistics.fmean(base.values(metric))
        note = self._unpaired(row, base, metric)
        return replace(
            figure,
            difference=apart,
            note=note,
            examples=Tested() if note else self._over_examples(row, base, metric, apart),
            runs=over_runs(row, base, metric),
        )

    def _interval(self, row: Row, metric: str) -> Interval | None:
        """What other examples would leave open of a row's mean."""
        first = row.metrics[metric]
        if not all(run.figures[metric][1].examples for run in row.runs):
            ends = ends_of(first) if len(row.runs) == 1 else None
            return Interval(*ends, first.interval) if ends else None
        if len(row.runs) == 1:
            return interval(self._statistic(row.runs[0], metric))
        scale = self._statistic(row.runs[0], metric).scale
        value, off = self._joined(row, metric, scale)
        ends = student(value, list(off.values()), skewed=scale.skewed and len(off) == 1)
        if ends is None:
            return None
        low, high = scale.back(np.array(ends))
        return Interval(float(low), float(high), JACKKNIFE)

    def _unpaired(self, row: Row, base: Row, metric: str) -> str:
        """Why a row's examples are not set beside those of the first; empty if they are."""
        for run in (*base.runs, *row.runs):
            folder, measured = run.figures[metric]
            if not measured.examples:
                return f"{folder} kept no outputs (scratchlab eval {folder} makes them)"
        known: dict[Any, Run] = {}
        for run in base.runs:
            known.setdefault(run.repeat[1], run)
        met = set()
        for run in row.runs:
            other = known.get(run.repeat[1])
            if other is None:
                return f"there is no fold {run.repeat[1]} of {base.label}"
            met.add(run.repeat[1])
            pair = (
                (figure[1], self.reader.outputs(*figure))
                for figure in (other.figures[metric], run.figures[metric])
            )
            if why := why_unlike(*pair):
                return why
        left = sorted(set(known) - met, key=str)
        return f"there is no fold {left[0]} of {row.label}" if left else ""

    def _over_examples(self, row: Row, base: Row, metric: str, apart: float) -> Tested:
        ours, theirs = (self._statistic(r.runs[0], metric) for r in (row, base))
        alone = len(row.runs) == len(base.runs) == 1
        if alone and ours.shares is not None and theirs.shares is not None:
            low, high = difference_of_shares(ours.shares, theirs.shares)
            low, high = ours.factor * low, ours.factor * high
            p = significance.mcnemar(ours.shares, theirs.shares)
            return Tested(low, high, AGRESTI_MIN, p, MCNEMAR)
        scale = ours.difference
        (value, off), (against, other) = (self._joined(r, metric, scale) for r in (row, base))
        both = [part - other[fold] for fold, part in off.items()]
        ends = student(value - against, both)
        tested = Tested()
        if ends is not None:
            low, high = scale.back(against + np.array(ends)) - scale.back(np.array(against))
            tested = Tested(float(low), float(high), JACKKNIFE)
        how = row.metrics[metric].examples
        if alone and isinstance(ours, Sums) and isinstance(theirs, Sums) and of_texts(how):
            if self.test == "bootstrap":
                p = significance.paired_bootstrap(ours, theirs)
                return replace(tested, p=p, test=PAIRED_BOOTSTRAP)
            p = significance.randomisation(ours, theirs)
            return replace(tested, p=p, test=RANDOMISATION)
        if not all(np.isfinite(part).all() and len(part) > 1 for part in both):
            return tested
        spread = [part * (len(part) - 1) for part in both]
        p = significance.studentised_bootstrap(spread, value - against)
        return replace(tested, p=p, test=BOOTSTRAP_T)

    def _joined(self, row: Row, metric: str, scale: Scale) -> tuple[float, dict[Any, Floats]]:
        """A row's mean on a scale, and what the examples of each fold do to it: runs with other
        seeds share their examples, folds do not."""
        values: list[float] = []
        off: dict[Any, Floats] = {}
        for run in row.runs:
            value, effect = self._effect(run, metric, scale)
            values.append(value)
            fold, share = run.repeat[1], effect / len(row.runs)
            off[fold] = off[fold] + share if fold in off else share
        return statistics.fmean(values), off

    def _effect(self, run: Run, metric: str, scale: Scale) -> tuple[float, Floats]:
        key = (run.path, run.measured, metric, scale)
        if key not in self._effects:
            value, (off,) = effects(self._statistic(run, metric), scale)
            self._effects[key] = value, off
        return self._effects[key]

    def _statistic(self, run: Run, metric: str) -> Statistic:
        return self.reader.statistic(*run.figures[metric])


def of_texts(examples: dict[str, Any]) -> bool:
    """Whether a figure is one of texts, whose tests are sacrebleu's: BLEU, chrF, means of ROUGE."""
    of = str(examples.get("statistic"))
    return of in CORPUS or (of == "mean" and bool(examples.get("highest")))


def over_runs(row: Row, base: Row, metric: str) -> Tested:
    """The difference of two rows' means as other seeds, or other folds, would leave it open.

    Folds are the same in both rows, so their runs are compared in pairs.
    """
    ours, theirs = row.values(metric), base.values(metric)
    if min(len(ours), len(theirs)) < 2 or not all(map(math.isfinite, (*ours, *theirs))):
        return Tested()
    from scipy.stats import t

    pairs = [
        (run.figures[metric][1].value, other.figures[metric][1].value)
        for run in row.runs
        for other in base.runs
        if run.repeat == other.repeat
    ]
    if row.over != "seeds" and len(pairs) == len(ours) == len(theirs):
        apart = [a - b for a, b in pairs]
        half = float(t.ppf(0.975, len(apart) - 1)) * statistics.stdev(apart) / math.sqrt(len(apart))
        mean = statistics.fmean(apart)
        p = significance.sign_flips(apart)
        return Tested(mean - half, mean + half, "95 % interval (paired t)", p, SIGNS)
    parts = [(statistics.variance(v) / len(v), len(v) - 1) for v in (ours, theirs)]
    variance = sum(v for v, _ in parts)
    p = significance.permutation(ours, theirs)
    if variance == 0:
        return Tested(p=p, test=PERMUTATION)
    freedom = variance**2 / sum(v**2 / f for v, f in parts)
    half = float(t.ppf(0.975, freedom)) * math.sqrt(variance)
    mean = statistics.fmean(ours) - statistics.fmean(theirs)
    return Tested(mean - half, mean + half, "95 % interval (Welch's t)", p, PERMUTATION)


def checked_again(rows: Sequence[Row], metrics: Sequence[str], reader: Reader) -> list[str]:
    """Figures in results.json that are not what the outputs give."""
    lines = []
    for row in rows:
        for run in row.runs:
            for name in metrics:
                if name not in run.figures:
                    continue
                folder, one = run.figures[name]
                if one.examples and "of" not in one.examples:  # then not all of them were kept
                    value = reader.statistic(folder, one).value()
                    if not math.isclose(value, one.value, rel_tol=1e-6, abs_tol=1e-9):
                        lines.append(
                            f"{folder}: results.json says {name} {one.value:.6g}, its outputs give "
                            f"{value:.6g}"
                        )
    return lines
