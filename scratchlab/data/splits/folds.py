"""Cross-validation: each example is in the test of one fold, and of each class alike many are."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.random_streams import SPLIT_STREAM, generator
from scratchlab.registry import option

ALWAYS_TRAINED = -1


@dataclass(frozen=True)
class FoldOptions:
    """Of data sets that are split here: one division, or one of several folds."""

    folds: int | None = option(
        None,
        "cross-validation: into how many parts all examples are dealt; one of them is the test, "
        "and val is split off the others; null: no folds",
        min=2,
    )
    fold: int = option(0, "which of the folds is the test, counted from 0", min=0)

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        ("folds is None or fold < folds", "fold counts from 0 to folds - 1"),
        ("folds is not None or fold == 0", "fold says which of several folds: give folds as well"),
    )


def deal(
    keys: Sequence[Hashable], classes: Sequence[Hashable] | None, folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold of each example [examples], a pure function of the arguments.

    Examples with one key are in one fold. The keys of each class (of most examples with the key)
    are dealt in random order, those of many examples first, each to the fold that has the
    fewest of the class so far; a class of a single key is in no fold, so it is always learnt.

    Raises:
        UserError: there are fewer different examples than folds.
    """
    sizes = Counter(keys)
    if len(sizes) < folds:
        raise UserError(
            f"{len(sizes)} different examples are too few for {folds} folds",
            "Give more of them, or a smaller dataset.folds.",
        )
    distinct = list(sizes)
    found: dict[Hashable, Counter[Hashable]] = {key: Counter() for key in distinct}
    for key, name in zip(keys, [0] * len(keys) if classes is None else classes, strict=True):
        found[key][name] += 1
    class_of = {key: names.most_common(1)[0][0] for key, names in found.items()}
    by_class: dict[Hashable, list[Hashable]] = {name: [] for name in class_of.values()}
    for number in generator(SPLIT_STREAM, 2, seed).permutation(len(distinct)).tolist():
        by_class[class_of[distinct[number]]].append(distinct[number])
    home: dict[Hashable, int] = {}
    totals = [0] * folds
    for of_class in by_class.values():
        if classes is not None and len(of_class) == 1:
            home[of_class[0]] = ALWAYS_TRAINED
            continue
        waiting = [(0, totals[fold], fold) for fold in range(folds)]
        heapq.heapify(waiting)
        for key in sorted(of_class, key=lambda key: -sizes[key]):
            count, total, fold = heapq.heappop(waiting)
            home[key] = fold
            totals[fold] += sizes[key]
            heapq.heappush(waiting, (count + sizes[key], total + sizes[key], fold))
    return np.array([home[key] for key in keys], dtype=np.int64)
