"""Every row beside the first: its figures, and the paired difference with interval and p.

What other examples would leave open stands apart from what other seeds and other folds would: the
first is about these trained models, the others about the settings that they were trained with.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from scratchlab.reporting.compare.blocks import (
    Blocks,
    blocks_of,
    by_run,
    data_of,
    divided,
    shared,
    unpaired,
)
from scratchlab.reporting.compare.contract import Figure, Tested
from scratchlab.reporting.compare.outputs import Reader
from scratchlab.reporting.compare.repeats import over_folds, over_seeds, spreads
from scratchlab.reporting.compare.runs import Row, Run
from scratchlab.reporting.tables import ends_of

MCNEMAR = "McNemar's exact test"
RANDOMISATION = "approximate randomisation"
PAIRED_BOOTSTRAP = "paired bootstrap"
BOOTSTRAP_T = "paired bootstrap of t"
AGRESTI_MIN = "95 % interval (Agresti and Min)"
TESTS = ("auto", "randomisation", "bootstrap")
CORPUS = ("bleu", "chrf")  # statistics of texts that sacrebleu's tests are for
KINDS = ("examples", "seeds", "folds")


@dataclass(frozen=True)
class Asked:
    """A p over examples that is still to be found: together with those of the same examples."""

    row: str
    metric: str
    test: str
    sizes: tuple[int, ...]
    of: Any


class Comparing:
    """Makes the figures of metrics, row by row; ``test``: how differences of texts are tested."""

    def __init__(self, reader: Reader, test: str = "auto") -> None:
        self.reader, self.test = reader, test
        self._effects: dict[Any, tuple[float, Floats]] = {}
        self._asked: list[Asked] = []

    def figures(self, rows: Sequence[Row], metrics: Sequence[str], base: Row) -> list[Figure]:
        """Metric by metric every row that has it, p corrected over all that are compared."""
        self._asked = []
        made = [
            [self._figure(row, metric, base) for row in rows if metric in row.metrics]
            for metric in metrics
        ]
        chances = self._chances()
        found: list[Figure] = []
        for figures in made:
            for place, one in enumerate(figures):
                if (p := chances.get((one.row, one.metric))) is not None:
                    figures[place] = replace(one, examples=replace(one.examples, p=p))
            for kind in KINDS:
                corrected = significance.holm([getattr(one, kind).p for one in figures])
                figures = [
                    replace(one, **{kind: replace(getattr(one, kind), corrected=p)})
                    for one, p in zip(figures, corrected, strict=True)
                ]
            found += figures
        return found

    def _figure(self, row: Row, metric: str, base: Row) -> Figure:
        first, values = row.metrics[metric], row.values(metric)
        own = self._interval(row, metric)
        ours = blocks_of(row, metric)
        seeds_std, folds_std = spreads(ours, metric)
        figure = Figure(
            row=row.label,
            metric=metric,
            unit=first.unit,
            better=first.better,
            value=statistics.fmean(values),
            values=tuple(values),
            n=first.n,
            low=own.low if own else None,
            high=own.high if own else None,
            interval=own.how if own else "",
            data=data_of(ours),
            seeds_std=seeds_std,
            folds_std=folds_std,
        )
        if row is base or metric not in base.metrics:
            return figure
        note = unpaired(row, base, metric, self.reader)
        both = shared(row, base, metric)
        if not both[0]:
            both = ours, blocks_of(base, metric)
        means = [statistics.fmean(by_run(part, metric)) for part in both]
        return replace(
            figure,
            difference=means[0] - means[1],
            note=note,
            examples=Tested() if note else self._over_examples(row, metric, *both),
            seeds=over_seeds(*both, metric),
            folds=over_folds(*both, metric),
        )

    def _interval(self, row: Row, metric: str) -> Interval | None:
        """What other examples would leave open of a row's mean."""
        first = row.metrics[metric]
        if not all(run.figures[metric][1].examples for run in row.runs):
            ends = ends_of(first) if len(row.runs) == 1 else None
            return Interval(*ends, first.interval) if ends else None
        if len(row.runs) == 1:
            return interval(self._statistic(row.runs[0], metric))
        if divided(blocks_of(row, metric)):
            return None
        scale = self._statistic(row.runs[0], metric).scale
        value, off = self._joined(blocks_of(row, metric), metric, scale)
        ends = student(value, list(off.values()), skewed=scale.skewed and len(off) == 1)
        if ends is None:
            return None
        low, high = scale.back(np.array(ends))
        return Interval(float(low), float(high), JACKKNIFE)

    def _over_examples(self, row: Row, metric: str, first: Blocks, second: Blocks) -> Tested:
        """The interval, and p or what is asked for it. Where seeds divide the data, an example is
        in the test of several: over folds is all that can be said."""
        if divided(first):
            return Tested()
        runs = [[run for part in blocks.values() for run in part] for blocks in (first, second)]
        ours, theirs = (self._statistic(of[0], metric) for of in runs)
        alone = len(runs[0]) == len(runs[1]) == 1
        if alone and ours.shares is not None and theirs.shares is not None:
            low, high = difference_of_shares(ours.shares, theirs.shares)
            low, high = ours.factor * low, ours.factor * high
            p = significance.mcnemar(ours.shares, theirs.shares)
            return Tested(low, high, AGRESTI_MIN, p, MCNEMAR)
        scale = ours.difference
        (value, off), (against, other) = (self._joined(of, metric, scale) for of in (first, second))
        both = [part - other[key] for key, part in off.items()]
        ends = student(value - against, both)
        tested = Tested()
        if ends is not None:
            low, high = scale.back(against + np.array(ends)) - scale.back(np.array(against))
            tested = Tested(float(low), float(high), JACKKNIFE)
        how = row.metrics[metric].examples
        if alone and isinstance(ours, Sums) and isinstance(theirs, Sums) and of_texts(how):
            test = PAIRED_BOOTSTRAP if self.test == "bootstrap" else RANDOMISATION
            self._asked.append(Asked(row.label, metric, test, (ours.n,), (ours, theirs)))
            return replace(tested, test=test)
        if not all(np.isfinite(part).all() and len(part) > 1 for part in both):
            return tested
        spread, sizes = [part * (len(part) - 1) for part in both], tuple(map(len, both))
        self._asked.append(Asked(row.label, metric, BOOTSTRAP_T, sizes, (spread, value - against)))
        return replace(tested, test=BOOTSTRAP_T)

    def _chances(self) -> dict[tuple[str, str], float]:
        """The p of every row and metric that was asked for: drawn once for the same examples."""
        groups: dict[tuple[str, tuple[int, ...]], list[Asked]] = {}
        for one in self._asked:
            groups.setdefault((one.test, one.sizes), []).append(one)
        found: dict[tuple[str, str], float] = {}
        for (test, _), asked in groups.items():
            chances = DRAWN[test]([one.of for one in asked])
            found |= {(o.row, o.metric): p for o, p in zip(asked, chances, strict=True)}
        return found

    def _joined(self, of: Blocks, metric: str, scale: Scale) -> tuple[float, dict[Any, Floats]]:
        """The mean of runs on a scale, and what the examples of each block do to it: seeds share
        their examples, folds do not."""
        values: list[float] = []
        off: dict[Any, Floats] = {}
        total = sum(map(len, of.values()))
        for key, runs in of.items():
            for run in runs:
                value, effect = self._effect(run, metric, scale)
                values.append(value)
                share = effect / total
                off[key] = off[key] + share if key in off else share
        return statistics.fmean(values), off

    def _effect(self, run: Run, metric: str, scale: Scale) -> tuple[float, Floats]:
        key = (run.path, run.measured, metric, scale)
        if key not in self._effects:
            value, (off,) = effects(self._statistic(run, metric), scale)
            self._effects[key] = value, off
        return self._effects[key]

    def _statistic(self, run: Run, metric: str) -> Statistic:
        return self.reader.statistic(*run.figures[metric])


def _of_t(asked: Sequence[tuple[Sequence[Floats], float]]) -> list[float]:
    sets = [np.stack(parts) for parts in zip(*(spread for spread, _ in asked), strict=True)]
    return significance.studentised_bootstrap(sets, [apart for _, apart in asked])


DRAWN: dict[str, Callable[[Any], list[float]]] = {
    RANDOMISATION: significance.randomisation,
    PAIRED_BOOTSTRAP: significance.paired_bootstrap,
    BOOTSTRAP_T: _of_t,
}


def of_texts(examples: dict[str, Any]) -> bool:
    """Whether a figure is one of texts, whose tests are sacrebleu's: BLEU, chrF, means of ROUGE."""
    of = str(examples.get("statistic"))
    return of in CORPUS or (of == "mean" and bool(examples.get("highest")))


def checked_again(rows: Sequence[Row], metrics: Sequence[str], reader: Reader) -> list[str]:
    """Figures in results.json that are not what the outputs give."""
    lines = []
    for run in (run for row in rows for run in row.runs):
        for name in (name for name in metrics if name in run.figures):
            folder, one = run.figures[name]
            if one.examples and "of" not in one.examples:  # then not all of them were kept
                value = reader.statistic(folder, one).value()
                if not math.isclose(value, one.value, rel_tol=1e-6, abs_tol=1e-9):
                    lines.append(
                        f"{folder}: results.json says {name} {one.value:.6g}, its outputs give "
                        f"{value:.6g}"
                    )
    return lines
