"""What other seeds, and other folds of the data, leave open of a difference: two things.

Over seeds each seed has one figure, its mean over the folds. Over folds each fold has one
difference, its mean over the seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scratchlab.reporting.compare import significance
from scratchlab.reporting.compare.blocks import (
    Blocks,
    by_block,
    by_seed,
    incomplete,
    lacking,
    repeated,
    shared,
    values_of,
)
from scratchlab.reporting.compare.contract import Figure, Tested
from scratchlab.reporting.compare.runs import Row

PERMUTATION = "permutation of the seeds"
CORRECTED = "paired t, corrected for the data that folds share (Nadeau and Bengio)"
HELD_OUT = 0.1  # of texts that are divided; rows say theirs


def spreads(blocks: Blocks, metric: str) -> tuple[float | None, float | None]:
    """The standard deviation over seeds (within a fold), and over folds (of their means)."""
    parts = [values_of(runs, metric) for runs in blocks.values() if len(runs) > 1]
    freedom = sum(len(part) - 1 for part in parts)
    squares = sum((len(part) - 1) * statistics.variance(part) for part in parts)
    seeds = math.sqrt(squares / freedom) if freedom else 0.0
    means = list(by_block(blocks, metric).values())
    folds = statistics.stdev(means) if len(means) > 1 else 0.0
    return seeds or None, folds or None


def over_seeds(ours: Blocks, theirs: Blocks, metric: str) -> Tested:
    """Whether rows differ more than their seeds do: all ways to share them out, and Welch's t."""
    if not repeated(ours) or not repeated(theirs):
        return Tested()
    values, others = (list(by_seed(blocks, metric).values()) for blocks in (ours, theirs))
    if min(len(values), len(others)) < 2 or not all(map(math.isfinite, (*values, *others))):
        return Tested()
    p = significance.permutation(values, others)
    parts = [(statistics.variance(v) / len(v), len(v) - 1) for v in (values, others)]
    variance = sum(v for v, _ in parts)
    if variance == 0:
        return Tested(p=p, test=PERMUTATION)
    freedom = variance**2 / sum(v**2 / f for v, f in parts)
    mean = statistics.fmean(values) - statistics.fmean(others)
    return _around(mean, math.sqrt(variance), freedom, p, "Welch's t", PERMUTATION)


def over_folds(ours: Blocks, theirs: Blocks, metric: str) -> Tested:
    """Whether rows differ more than the data do: fold by fold, with a paired t.

    Folds share most of what is trained on, and divisions that seeds have drawn what is tested on
    too. Their differences depend on each other, and the variance of their mean is taken for
    s² (1/J + n_test/n_train) in place of s²/J (Nadeau and Bengio 2003; of folds Bouckaert and Frank
    2004). No interval over folds is right for all learners (Bengio and Grandvalet 2004): this one
    is wide enough, and too wide for learners that hardly change with the data.
    """
    if len(ours) < 2 or ours.keys() != theirs.keys():
        return Tested()
    values, others = by_block(ours, metric), by_block(theirs, metric)
    apart = [value - others[key] for key, value in values.items()]
    if not all(map(math.isfinite, apart)) or statistics.variance(apart) == 0:
        return Tested()
    from scipy.stats import t

    n, mean = len(apart), statistics.fmean(apart)
    error = math.sqrt(statistics.variance(apart) * (1 / n + _test_share(ours)))
    return _around(mean, error, n - 1, 2 * float(t.sf(abs(mean) / error, n - 1)), "", CORRECTED)


def _test_share(blocks: Blocks) -> float:
    """How many examples are tested on for each that is trained on."""
    dataset = next(iter(blocks.values()))[0].config.get("dataset") or {}
    if folds := dataset.get("folds"):
        return 1 / (int(folds) - 1)
    given = dataset.get("test_fraction", HELD_OUT)
    share = float(given) if isinstance(given, float) and 0 < given < 1 else HELD_OUT
    return share / (1 - share)


def _around(mean: float, error: float, freedom: float, p: float, how: str, test: str) -> Tested:
    from scipy.stats import t

    half = float(t.ppf(0.975, freedom)) * error
    name = f"95 % interval ({how})" if how else "95 % interval"
    return Tested(mean - half, mean + half, name, p, test)


def repeats(rows: Sequence[Row], compared: Sequence[Figure]) -> list[str]:
    """What stands in the columns over seeds and over folds, for people."""
    lines = []
    seeds = next((f.seeds for f in compared if f.seeds.test), None)
    folds = next((f for f in compared if f.folds.test), None)
    if seeds is not None:
        lines.append(_found("seeds", [f.seeds for f in compared]))
    if folds is not None:
        lines.append(_found(folds.data, [f.folds for f in compared]))
        if folds.data == "splits":
            lines.append("each seed divides the data anew: single examples are in several tests")
    if all(len(row.runs) == 1 for row in rows):
        lines.append(
            "one run a row: intervals and p are about these trained models; the same settings with "
            "other seeds may differ as much (suite seeds=[0,1,2] …)"
        )
    return lines + _least(rows, compared) + _incomplete(rows, compared)


def _found(what: str, tested: Sequence[Tested]) -> str:
    how = [text for one in tested for text in (one.interval, one.test) if text]
    return f"over {what}: {', '.join(dict.fromkeys(how))}"


def _least(rows: Sequence[Row], compared: Sequence[Figure]) -> list[str]:
    """The smallest p that so few seeds can give, where that is no small one."""
    base, least = rows[0], 0.0
    for row in rows[1:]:
        for f in (f for f in compared if f.row == row.label and f.seeds.test):
            a, b = (len(by_seed(part, f.metric)) for part in shared(row, base, f.metric))
            least = max(least, (1 if a != b else 2) / math.comb(a + b, a))
    return [f"so few seeds can give no p over seeds below {least:.2g}"] if least > 0.05 else []


def _incomplete(rows: Sequence[Row], compared: Sequence[Figure]) -> list[str]:
    """Runs that are missing, and what is done without them."""
    base, lines = rows[0], []
    of = {f.row: f for f in compared if not f.note and (f.folds.test or f.seeds.test)}
    for row, one in ((row, of[row.label]) for row in rows if row.label in of):
        if lacks := lacking(row, base, one.metric):
            lines.append(f"{' and '.join(lacks)}: {row.label} is compared in the others")
        if one.seeds.test and (seeds := incomplete(shared(row, base, one.metric)[0])):
            shown = ", ".join(map(str, seeds))
            lines.append(f"{row.label}: seed {shown} lacks a fold and is left out over seeds")
    return lines
