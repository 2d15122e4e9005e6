"""Columns that tell the target: alone they predict rows that were held out without a mistake.

Such a column is most often filled in after the target is known, and a score that it brings means
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FEWEST = 20  # held-out rows by which a column is judged
MOST = 20_000  # rows that are looked at
EXACT = 0.9999  # share of the variance of a target of numbers


def giveaways(
    columns: Mapping[str, Array], y: Array, train: Array, held_out: Array, *, classes: bool
) -> list[str]:
    """The columns [rows] that predict y [rows] of ``held_out`` from ``train`` (row numbers).

    A column predicts what is most frequent (of numbers: the mean, with straight lines between)
    where it has the same value in training; NaN is a value like others.
    """
    train, held_out = train[:MOST], held_out[:MOST]
    if len(held_out) < FEWEST or len(np.unique(y[held_out])) < 2:
        return []
    found = []
    for name, values in columns.items():
        known = np.where(np.isnan(values), np.nanmin(values, initial=0.0) - 1, values)
        kinds, places = np.unique(known[train], return_inverse=True)
        if len(kinds) < 2:
            continue
        if classes:
            counts = np.zeros((len(kinds), int(y.max()) + 1), dtype=np.int64)
            np.add.at(counts, (places, y[train]), 1)
            middles = (kinds[1:] + kinds[:-1]) / 2
            nearest = np.searchsorted(middles, known[held_out])
            right = bool((counts.argmax(axis=1)[nearest] == y[held_out]).all())
        else:
            means = np.bincount(places, y[train]) / np.bincount(places)
            errors = np.interp(known[held_out], kinds, means) - y[held_out]
            right = bool(1 - (errors**2).mean() / y[held_out].var() > EXACT)
        if right:
            found.append(name)
    return found
