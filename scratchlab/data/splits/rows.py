"""Train, validation and test rows: seeded, stratified by class, the same on every machine."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.splits.examples import together
from scratchlab.errors import UserError

Rows = NDArray[np.int64]


def rows_of(X: NDArray[Any]) -> Iterable[bytes]:
    """The bytes of each row of X [rows, features], with one zero and one NaN."""
    # Adding zero makes 0.0 of -0.0.
    for row in X + 0 if X.dtype.kind == "f" else X:
        yield row.tobytes()


def split_rows(
    strata: NDArray[Any] | None, rows: int, val: float, test: float, seed: int
) -> dict[str, Rows]:
    """Row numbers of train, val and test: ``test`` of all rows, then ``val`` of what is left.

    Stratified by class where ``strata`` [rows] is given; classes with a single row stay in train.
    The division is scikit-learn's ``train_test_split`` with ``random_state=seed``, so a test split
    is the one that other programs get with the same seed.
    """
    everything = np.arange(rows)
    rest, tested = _part(everything, strata, test, seed, "test")
    train, validated = _part(rest, strata, val, seed, "val")
    return {"train": train, "val": validated, "test": tested}


def grouped_rows(
    found: Mapping[str, Rows], keys: Sequence[Hashable], strata: NDArray[Any] | None
) -> dict[str, Rows]:
    """The splits of :func:`split_rows` after rows with one key [rows] followed the first of them.

    Rows keep the order of ``found``, those that moved stand behind them.
    """
    drawn = [""] * len(keys)
    for split, rows in found.items():
        for row in rows.tolist():
            drawn[row] = split
    homes = np.array(together(keys, drawn, None if strata is None else strata.tolist()))
    result = {}
    for split, rows in found.items():
        stay = rows[homes[rows] == split]
        result[split] = np.concatenate([stay, np.setdiff1d(np.flatnonzero(homes == split), stay)])
        if len(rows) and not len(result[split]):
            raise UserError(
                f"{len(set(keys))} different rows are too few to split off {split}",
                "Give more rows, or dataset.duplicates=keep.",
            )
    return result


def _part(
    rows: Rows, strata: NDArray[Any] | None, fraction: float, seed: int, name: str
) -> tuple[Rows, Rows]:
    """What stays and what is split off."""
    from sklearn.model_selection import train_test_split

    if fraction == 0:
        return rows, rows[:0]
    common, rare, classes = rows, rows[:0], None
    if strata is not None:
        found, numbers, counts = np.unique(strata[rows], return_inverse=True, return_counts=True)
        alone = counts[numbers] < 2
        common, rare = rows[~alone], rows[alone]
        classes = strata[common]
        wanted, kept = int(np.ceil(fraction * len(common))), int((counts >= 2).sum())
        if min(wanted, len(common) - wanted) < max(kept, 1):
            raise UserError(
                f"{len(rows)} rows are too few to split off {name} ({fraction:g} of them): "
                f"each of the {len(found)} classes needs a row in every split",
                f"Give more rows, or another dataset.{name}_fraction.",
            )
    elif len(rows) < 2 or not 0 < np.ceil(fraction * len(rows)) < len(rows):
        raise UserError(
            f"{len(rows)} rows are too few to split off {name} ({fraction:g} of them)",
            f"Give more rows, or another dataset.{name}_fraction.",
        )
    stay, taken = train_test_split(common, test_size=fraction, random_state=seed, stratify=classes)
    return np.concatenate([stay, rare]), taken
