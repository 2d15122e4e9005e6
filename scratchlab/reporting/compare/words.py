"""A comparison in sentences: what is best, what is shown to be better, and what is not shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchlab.formatting import decimals_of, format_measurement, title_of
from scratchlab.reporting.compare.comparing import Comparison
from scratchlab.reporting.compare.contract import Figure
from scratchlab.reporting.compare.tables import Shown, chance

MOST = 6  # metrics that are told of; the table has all
NAMED = 4  # rows of a sentence


def summary(found: Comparison, trials: Sequence[Shown] = ()) -> list[str]:
    """A sentence on what is compared, then one or more for each metric; of sweeps (``trials``) the
    best trial."""
    runs, n = sum(len(row.runs) for row in found.rows), len(found.differing)
    if len(found.rows) == 1:
        about = f"{found.base.label}: {_count(runs, 'run')}."
    else:
        about = (
            f"{_count(len(found.rows), 'setting')} in {_count(runs, 'run')}, each compared with "
            f"{found.base.label}; {_count(n, 'option')} {'differs' if n == 1 else 'differ'}."
        )
    lines = [about, *(_best(table) for table in trials)]
    for metric in found.metrics[:MOST]:
        lines.append(_of_metric([f for f in found.figures if f.metric == metric], found))
    if len(found.metrics) > MOST:
        lines.append(f"{len(found.metrics) - MOST} more metrics stand in the table.")
    return lines


def _best(trials: Shown) -> str:
    """The first row of a table of trials: its name, its value, its options."""
    metric, *options = (c for c in trials.columns if c not in ("trial", "status", "reason"))
    best = dict(zip(trials.columns, trials.rows[0], strict=True))
    chosen = ", ".join(f"{name} {best[name]}" for name in options)
    value = f"{metric} {best[metric]}"
    return f"{trials.title}: {best['trial']} is best of {len(trials.rows)} ({value}; {chosen})."


def _of_metric(figures: Sequence[Figure], found: Comparison) -> str:
    first = figures[0]
    unit = f" ({first.unit})" if first.unit and first.unit != "bytes" else ""
    name = f"{title_of(first.metric)}{unit}"
    ranked = sorted(figures, key=lambda f: f.value, reverse=first.better == "higher")
    best = ranked[0]
    if len(figures) == 1:
        ends = f" [{_text(best, best.low)}, {_text(best, best.high)}]" if best.interval else ""
        return f"{name}: {_text(best, best.value)}{ends}."
    parts = [f"{name}: best in {best.row} ({_text(best, best.value)})."]
    base = found.base.label
    for verdict in ("better", "worse"):
        shown = [f for f in ranked if f.verdict == verdict]
        if shown:
            parts.append(f"Shown to be {verdict} than {base}: {_list(shown, told=True)}.")
    open_ = [
        f for f in ranked if f.difference is not None and not f.verdict and f.chance is not None
    ]
    if open_:
        parts.append(f"No difference to {base} is shown for {_list(open_, told=True)}.")
    untested = [f for f in ranked if f.difference is not None and f.chance is None]
    if untested:
        parts.append(f"Not tested: {_list(untested, told=False)}.")
    return " ".join(parts)


def _list(figures: Sequence[Figure], *, told: bool) -> str:
    shown = [_difference(f) if told else f.row for f in figures[:NAMED]]
    more = len(figures) - NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _difference(one: Figure) -> str:
    p = chance(one.chance)
    apart = _apart(one)
    sign = "" if apart.startswith("-") else "+"
    equal = "" if p.startswith("<") else "= "
    return f"{one.row} ({sign}{apart}, p {equal}{p})"


def _apart(one: Figure) -> str:
    """The difference with the decimals of the figure, and two digits of its own."""
    assert one.difference is not None
    places, apart = decimals_of([one.value]), abs(one.difference)
    if places is not None and 0 < apart < math.inf:
        places = min(6, max(places, 1 - math.floor(math.log10(apart))))
    return format_measurement(one.difference, None, "", None, places)[0]


def _text(one: Figure, value: float | None) -> str:
    if value is None:
        return ""
    return format_measurement(value, None, "", None, decimals_of([one.value]))[0]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
