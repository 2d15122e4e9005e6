"""Folds: every example is tested once, classes alike, no copy on both sides, the same each time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scratchlab.config.compose import compose
from scratchlab.data.contract import DataContext
from scratchlab.data.kinds.text_classes import PartedOptions, parted
from scratchlab.data.sets.embedded_rows import Diabetes, WineCultivars
from scratchlab.data.splits.examples import text_key
from scratchlab.data.splits.folds import deal
from scratchlab.errors import UserError

NOWHERE = DataContext(None, Path("nowhere"))


def test_examples_are_dealt_by_class_and_copies_stay_together() -> None:
    keys = [f"key {n // 2 if n < 40 else n}" for n in range(203)]
    classes = ["a" if n < 120 else "b" if n < 200 else "c" for n in range(203)]
    found = deal(keys, classes, 10, 0)
    assert np.array_equal(found, deal(keys, classes, 10, 0))
    assert not np.array_equal(found, deal(keys, classes, 10, 1))
    homes: dict[str, set[int]] = {}
    for key, fold in zip(keys, found.tolist(), strict=True):
        homes.setdefault(key, set()).add(fold)
    assert all(len(folds) == 1 for folds in homes.values())
    groups = {key: (next(iter(homes[key])), c) for key, c in zip(keys, classes, strict=True)}
    sizes = Counter(groups.values())
    for name, least in (("a", 10), ("b", 8), ("c", 0)):
        counts = [sizes[(fold, name)] for fold in range(10)]
        assert least <= min(counts) and max(counts) - min(counts) <= 1
    totals = Counter(fold for fold, _ in groups.values())
    assert max(totals.values()) - min(totals.values()) <= 1


def test_a_class_with_one_example_is_always_learnt() -> None:
    found = deal(range(21), [*("ab" * 10), "rare"], 5, 0)
    assert found[20] == -1 and sorted(Counter(found[:20].tolist()).values()) == [4] * 5


def test_folds_of_texts_test_each_once_and_keep_copies_on_one_side() -> None:
    rows = [(f"text {n}", "ab"[n % 2]) for n in range(100)]
    rows += [(f"TEXT, {n}!", "ab"[n % 2]) for n in range(20)]
    tested: list[tuple[str, str]] = []
    for fold in range(5):
        splits = parted(rows, PartedOptions(folds=5, fold=fold), NOWHERE)
        assert sorted(splits) == ["test", "train", "val"]
        assert sorted(r for part in splits.values() for r in part) == sorted(rows)
        keys = {split: {text_key(text) for text, _ in part} for split, part in splits.items()}
        assert not keys["test"] & keys["train"] and not keys["val"] & keys["train"]
        assert not keys["test"] & keys["val"] and 4 < len(keys["val"]) < 12
        tested += splits["test"]
    assert sorted(tested) == sorted(rows)
    seeded = PartedOptions(folds=5, split_seed=None)
    assert parted(rows, seeded, NOWHERE) == parted(rows, PartedOptions(folds=5), NOWHERE)
    other = parted(rows, seeded, DataContext(None, Path("nowhere"), seed=1))
    assert other["test"] != parted(rows, seeded, NOWHERE)["test"]


@pytest.mark.parametrize("duplicates", ["keep", "group"])
def test_folds_of_a_table_test_each_row_once(duplicates: str) -> None:
    for cls, rows in ((WineCultivars, 178), (Diabetes, 442)):
        tested = []
        for fold in range(4):
            data = cls(cls.Config(folds=4, fold=fold, duplicates=duplicates), NOWHERE)
            numbers = data.row_numbers
            assert sorted(np.concatenate(list(numbers.values())).tolist()) == list(range(rows))
            assert len(numbers["val"]) == pytest.approx(rows * 0.75 * 0.1, abs=2)
            tested += numbers["test"].tolist()
            if cls is WineCultivars:
                counts = np.array(list(data.class_counts("test").values()))
                assert np.abs(counts - np.array([59, 71, 48]) / 4).max() < 1
        assert sorted(tested) == list(range(rows))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset.folds=5", "dataset.fold=5"], "fold counts from 0 to folds - 1"),
        (["dataset.fold=2"], "give folds as well"),
        (["dataset.folds=1"], "must be at least 2"),
    ],
)
def test_folds_that_cannot_be_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose(["model=logistic", "dataset=wine_cultivars", *words])


def test_too_few_examples_and_splits_of_their_own_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 different examples are too few for 4 folds"):
        deal(["a", "b", "c", "a"], None, 4, 0)
    notes = compose(
        ["model=logistic", "dataset=wine_cultivars", "dataset.folds=5", "dataset.test_fraction=0.3"]
    ).notes
    assert notes == ["dataset.test_fraction=0.3 does nothing here: it is for dataset.folds=null"]
