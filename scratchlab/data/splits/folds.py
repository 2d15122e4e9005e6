"""Cross-validation: each example is in the test of one fold, and of each class alike many are."""

from __future__ import annotations

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

    Examples with one key are in one fold. Those of each class (of the first example with the key)
    are shuffled and dealt round; a class of a single key is in no fold, so it is always learnt.

    Raises:
        UserError: there are fewer different examples than folds.
    """
    first: dict[Hashable, int] = {}
    for number, key in enumerate(keys):
        first.setdefault(key, number)
    if len(first) < folds:
        raise UserError(
            f"{len(first)} different examples are too few for {folds} folds",
            "Give more of them, or a smaller dataset.folds.",
        )
    class_of = {key: 0 if classes is None else classes[n] for key, n in first.items()}
    order = generator(SPLIT_STREAM, 2, seed).permutation(len(first)).tolist()
    distinct = list(first)
    places = {name: place for place, name in enumerate(dict.fromkeys(class_of.values()))}
    sizes = Counter(class_of.values())
    shuffled = sorted((distinct[n] for n in order), key=lambda key: places[class_of[key]])
    kept = {key for key in distinct if classes is not None and sizes[class_of[key]] == 1}
    home = dict.fromkeys(kept, ALWAYS_TRAINED)
    home |= {key: turn % folds for turn, key in enumerate(k for k in shuffled if k not in kept)}
    return np.array([home[key] for key in keys], dtype=np.int64)
