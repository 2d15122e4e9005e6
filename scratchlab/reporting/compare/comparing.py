"""A comparison made: rows, figures with their differences, costs, and what is to be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scratchlab.errors import UserError, suggest
from scratchlab.formatting import title_of
from scratchlab.reporting.compare.blocks import WHOLE
from scratchlab.reporting.compare.contract import Figure
from scratchlab.reporting.compare.costs import Cost, cost_metrics, costs_of, fronts
from scratchlab.reporting.compare.differences import (
    MCNEMAR,
    RANDOMISATION,
    Comparing,
    checked_again,
)
from scratchlab.reporting.compare.outputs import Reader
from scratchlab.reporting.compare.repeats import repeats
from scratchlab.reporting.compare.runs import Row, differing
from scratchlab.reporting.compare.significance import TRIALS
from scratchlab.reporting.comparison import SIBLINGS


@dataclass(frozen=True)
class Comparison:
    """``differing`` options have a value for each row; ``figures`` stand metric by metric;
    ``fronts`` says for each metric and cost which rows lie on the Pareto front."""

    rows: Sequence[Row]
    base: Row
    differing: Mapping[str, list[Any]]
    figures: Sequence[Figure]
    costs: Sequence[Cost]
    fronts: Mapping[str, Mapping[str, list[bool]]]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(one.metric for one in self.figures))

    def figure(self, row: Row, metric: str) -> Figure | None:
        named = (f for f in self.figures if f.row == row.label and f.metric == metric)
        return next(named, None)


def compare(
    rows: Sequence[Row],
    base: Row,
    *,
    metrics: Sequence[str] = (),
    test: str = "auto",
    reader: Reader | None = None,
) -> Comparison:
    """Set every row beside ``base``, which is put first, in ``metrics`` (none: all that are told).

    Raises:
        UserError: a metric was not measured, no row can be paired with the first, or outputs are
            not those that were written.
    """
    rows = [base, *(row for row in rows if row is not base)]
    reader = reader or Reader()
    chosen = _asked(rows, metrics) if metrics else _told(rows)
    figures = Comparing(reader, test).figures(rows, chosen, base)
    unpaired = [one for one in figures if one.note and one.note != WHOLE]
    if unpaired and not any(f.examples.test or f.seeds.test or f.folds.test for f in figures):
        _refuse(unpaired, base)
    costs = costs_of(rows)
    found = {
        metric: fronts([_value(rows, figures, r.label, metric) for r in rows], better, costs)
        for metric in chosen
        if (better := next(f.better for f in figures if f.metric == metric))
    }
    notes = [*_notes(rows, figures, chosen), *checked_again(rows, chosen, reader)]
    return Comparison(rows, base, differing(rows), figures, costs, found, notes)


def _told(rows: Sequence[Row]) -> list[str]:
    """The metrics that the first row and another one have and that have a better side; beside
    others of their kind some are only shown if they are asked for."""
    apart = cost_metrics()
    base, *others = (row.metrics for row in rows)
    found = [
        name
        for name, one in base.items()
        if one.better
        and not one.timing
        and name not in apart
        and not name.startswith(SIBLINGS)
        and any(name in other for other in others)
    ]
    if not found:
        own = "; ".join(f"{r.label}: {', '.join(r.metrics) or 'nothing'}" for r in rows[:10])
        raise UserError(
            f"there is no metric that {rows[0].label} has in common with another run",
            f"Measured were {own}. Measure the same: scratchlab eval RUN evaluator=[…]",
        )
    return found


def _asked(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    known = [row.metrics for row in rows]
    everywhere = list(dict.fromkeys(name for one in known for name in one))
    for metric in metrics:
        lacking = [row.label for row, one in zip(rows, known, strict=True) if metric not in one]
        if len(lacking) == len(rows):
            hint = suggest(metric, everywhere, "Measured were")
            raise UserError(f"metric: no run measured {metric!r}", hint)
        if rows[0].label in lacking or len(lacking) == len(rows) - 1:
            raise UserError(
                f"metric: {', '.join(lacking)} did not measure {metric}",
                "Measure it: scratchlab eval RUN evaluator=[…], or compare in another metric.",
            )
    return list(dict.fromkeys(metrics))


def _refuse(unpaired: Sequence[Figure], base: Row) -> None:
    said = dict.fromkeys(f"{one.row}: {one.note}" for one in unpaired)
    raise UserError(
        f"nothing can be compared with {base.label} example by example: {'; '.join(said)}",
        "Compare runs that were measured on the same examples in the same way.",
    )


def _value(rows: Sequence[Row], figures: Sequence[Figure], label: str, metric: str) -> float | None:
    return next((f.value for f in figures if f.row == label and f.metric == metric), None)


def _notes(rows: Sequence[Row], figures: Sequence[Figure], metrics: Sequence[str]) -> list[str]:
    """What stands in the tables: intervals, tests, what could not be compared."""
    base, lines = rows[0], []
    compared = [f for f in figures if f.difference is not None]
    lines += _named("[ ]", [(f.metric, f.interval) for f in figures if f.interval])
    apart = [(f.metric, f.examples.interval) for f in compared if f.examples.interval]
    lines += _named("[ ] of a paired difference:", apart)
    more = {RANDOMISATION: f"{RANDOMISATION} ({TRIALS:,} exchanges, as sacrebleu's)"}
    tests = [(f.metric, f.examples.test) for f in compared if f.examples.test]
    lines += _named("p:", [(metric, more.get(test, test)) for metric, test in tests])
    cautious = [f for f in compared if f.examples.test == MCNEMAR and _outside(f)]
    if any((f.examples.p or 1) >= 0.05 for f in cautious):
        lines.append("McNemar's exact test is stricter than the interval beside it")
    lines += repeats(rows, compared)
    if max((sum(f.metric == m for f in compared) for m in metrics), default=0) > 1:
        lines.append(f"p (Holm): corrected for all rows that are compared with {base.label}")
    lines += _not_paired(compared, base)
    for metric in metrics:
        without = [r.label for r in rows if metric not in r.metrics]
        if without:
            lines.append(f"{title_of(metric)} was not measured by {', '.join(without)}")
    return lines


def _not_paired(compared: Sequence[Figure], base: Row) -> list[str]:
    """Why examples are not set beside each other, once for each reason."""
    whole = dict.fromkeys(title_of(f.metric) for f in compared if f.note == WHOLE)
    lines = [f"{', '.join(whole)}: of whole runs, so nothing is said over examples"]
    reasons: dict[str, dict[str, list[str]]] = {}
    for f in compared:
        if f.note and f.note != WHOLE:
            reasons.setdefault(f.note, {}).setdefault(f.row, []).append(f.metric)
    for note, of in reasons.items():
        names = []
        for row, metrics in of.items():
            every = len(metrics) == sum(f.row == row for f in compared)
            names.append(row if every else f"{row} ({', '.join(map(title_of, metrics))})")
        lines.append(f"{', '.join(names)}: not paired with {base.label}: {note}")
    return lines if whole else lines[1:]


def _outside(figure: Figure) -> bool:
    """Whether the interval of a difference leaves out nought."""
    low, high = figure.examples.low, figure.examples.high
    return low is not None and high is not None and not low <= 0 <= high


def _named(what: str, found: Sequence[tuple[str, str]]) -> list[str]:
    """One line that tells what a sign means, by metric where it means more than one thing."""
    meanings: dict[str, list[str]] = {}
    for metric, meaning in found:
        names = meanings.setdefault(meaning.removeprefix("95 % interval "), [])
        if title_of(metric) not in names:
            names.append(title_of(metric))
    if not meanings:
        return []
    label = f"{what} 95 % interval" if what.startswith("[ ]") else what
    if len(meanings) == 1:
        return [f"{label} {next(iter(meanings))}"]
    return [f"{label} " + "; ".join(f"{m} of {', '.join(names)}" for m, names in meanings.items())]
