"""Which runs of two rows were asked the same, so that they are set beside each other.

A block holds the runs that answered the same examples: one fold of the data with all of its seeds;
or, where each seed divides the data anew (``dataset.split_seed=null``), the run of one seed. Blocks
of two rows are compared in pairs. Within a block runs differ by their seeds alone, between blocks
by the data: the two are never mixed.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from scratchlab.reporting.compare.costs import cost_metrics
from scratchlab.reporting.compare.outputs import Reader, why_unlike
from scratchlab.reporting.compare.runs import Row, Run

Key = tuple[int | None, str]
Blocks = Mapping[Key, Sequence[Run]]
WHOLE = "it is a figure of whole runs, not of examples"


def blocks_of(row: Row, metric: str) -> dict[Key, list[Run]]:
    """The runs of a row by their fold and the hash of what they were asked."""
    found: dict[Key, list[Run]] = {}
    for run in row.runs:
        found.setdefault(_key(run, metric), []).append(run)
    return found


def _key(run: Run, metric: str) -> Key:
    return run.repeat[1], str(run.figures[metric][1].examples.get("data", ""))


def divided(blocks: Blocks) -> bool:
    """Whether seeds divided the data: then the examples of two blocks overlap."""
    return len({fold for fold, _ in blocks}) < len(blocks)


def data_of(blocks: Blocks) -> str:
    """What several blocks are; empty of one."""
    return "" if len(blocks) < 2 else "splits" if divided(blocks) else "folds"


def repeated(blocks: Blocks) -> bool:
    """Whether a block has several seeds."""
    return any(len(runs) > 1 for runs in blocks.values())


def by_run(blocks: Blocks, metric: str) -> list[float]:
    """The figure of every run."""
    return [value for runs in blocks.values() for value in values_of(runs, metric)]


def by_block(blocks: Blocks, metric: str) -> dict[Key, float]:
    """The mean over the seeds of each block."""
    return {key: statistics.fmean(values_of(runs, metric)) for key, runs in blocks.items()}


def by_seed(blocks: Blocks, metric: str) -> dict[int, float]:
    """The mean over all blocks of each seed that ran in all of them."""
    found = _seeds(blocks)
    whole = {seed: runs for seed, runs in found.items() if len(runs) == len(blocks)}
    return {seed: statistics.fmean(values_of(runs, metric)) for seed, runs in whole.items()}


def incomplete(blocks: Blocks) -> list[int]:
    """The seeds that lack a fold, where there are several seeds: no test over seeds has them."""
    found = _seeds(blocks) if repeated(blocks) else {}
    return sorted(seed for seed, runs in found.items() if len(runs) < len(blocks))


def _seeds(blocks: Blocks) -> dict[int, list[Run]]:
    found: dict[int, list[Run]] = {}
    for run in (run for runs in blocks.values() for run in runs):
        found.setdefault(run.repeat[0], []).append(run)
    return found


def values_of(runs: Sequence[Run], metric: str) -> list[float]:
    return [float(run.figures[metric][1].value) for run in runs]


def shared(row: Row, base: Row, metric: str) -> tuple[Blocks, Blocks]:
    """The blocks that both rows have, of each: a run that failed takes its pair along."""
    ours, theirs = blocks_of(row, metric), blocks_of(base, metric)
    return {k: v for k, v in ours.items() if k in theirs}, {
        k: v for k, v in theirs.items() if k in ours
    }


def lacking(row: Row, base: Row, metric: str) -> list[str]:
    """The folds, or the seeds that divide the data, that a row or the first does not have."""
    ours, theirs = blocks_of(row, metric), blocks_of(base, metric)
    found = []
    for label, own, other in ((row.label, ours, theirs), (base.label, theirs, ours)):
        missing = {other[key][0].repeat for key in other if key not in own}
        named = [f"fold {f}" if f is not None else f"seed {s}" for s, f in sorted(missing, key=str)]
        if named:
            found.append(f"{label} lacks {', '.join(dict.fromkeys(named))}")
    return found


def unpaired(row: Row, base: Row, metric: str, reader: Reader) -> str:
    """Why a row's examples are not set beside those of the first; empty if they are.

    Raises:
        UserError: outputs were changed.
    """
    runs = [*base.runs, *row.runs]
    for run in runs:
        folder, measured = run.figures[metric]
        if not measured.examples:
            if _whole(metric, run, runs):
                return WHOLE
            return f"{folder} kept no outputs (scratchlab eval {folder} makes them)"
    first = {key: part[0] for key, part in blocks_of(base, metric).items()}
    common, _ = shared(row, base, metric)
    for run in runs:
        other = first.get(_key(run, metric)) or _beside(run, base, anywhere=not common)
        if other is None:
            continue
        pair = (
            (figure[1], reader.outputs(*figure))
            for figure in (other.figures[metric], run.figures[metric])
        )
        if why := why_unlike(*pair):
            return why
    return "" if common else " and ".join(lacking(row, base, metric))


def _beside(run: Run, base: Row, *, anywhere: bool) -> Run | None:
    """The run of the first row that one with other examples would be set beside: of its seed and
    its fold, else (``anywhere``) of its fold."""
    alike = [one for one in base.runs if one.repeat == run.repeat]
    fold = [one for one in base.runs if anywhere and one.repeat[1] == run.repeat[1]]
    return next(iter(alike + fold), None)


def _whole(metric: str, run: Run, runs: Sequence[Run]) -> bool:
    """Whether a figure without outputs never has any: a cost; or no run has outputs of it, though
    this one kept those of other figures."""
    measured = run.figures[metric][1]
    if measured.timing or metric in cost_metrics():
        return True
    kept = any(one.examples for _, one in run.figures.values())
    return kept and not any(one.figures[metric][1].examples for one in runs)
