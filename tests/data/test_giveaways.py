"""What describe and the notes say of columns: missing texts, classes without order, giveaways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.data.contract import DataContext
from scratchlab.data.kinds.giveaways import giveaways
from scratchlab.describing.rows import correlation_ratios, describe_rows
from scratchlab.registry import find


def dataset(tmp_path: Path, lines: list[str], **options: Any) -> Any:
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    cls = find("dataset", "table").load()
    return cls(cls.Config(path=str(tmp_path / "t.csv"), **options), DataContext(None, tmp_path))


def patients(count: int = 120) -> list[str]:
    """A treatment that only the ill get, and an age that tells little."""
    rng = np.random.default_rng(0)
    ill = rng.integers(0, 2, count)
    rows = [f"{rng.integers(20, 80)},{['none', 'ward'][i]},{i * 2.5:.1f},{'ny'[i]}" for i in ill]
    return ["age,treatment,dose,ill", *(row.replace("none", "home") for row in rows)]


def test_a_column_that_tells_the_class_is_warned_of(tmp_path: Path) -> None:
    notes = [n for n in dataset(tmp_path, patients()).notes if "alone tells" in n]
    assert [n.split()[0] for n in notes] == ["treatment", "dose"]
    assert "dataset.drop=[treatment,dose]" in notes[0]
    dropped = dataset(tmp_path, patients(), drop=["treatment", "dose"])
    assert not any("alone tells" in n for n in dropped.notes)


def test_a_column_that_tells_a_number_is_warned_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    euros = rng.uniform(1, 1000, 200)
    rows = [f"{e * 1.1:.4f},{e + rng.normal(0, 50):.4f},{e:.4f}" for e in euros]
    found = dataset(tmp_path, ["dollars,guess,euros", *rows])
    assert [n.split()[0] for n in found.notes if "alone tells" in n] == ["dollars"]


@pytest.mark.parametrize("name", ["breast_cancer", "wine_cultivars", "diabetes"])
def test_honest_columns_are_not_warned_of(name: str, tmp_path: Path) -> None:
    cls = find("dataset", name).load()
    data = cls(cls.Config(), DataContext(None, tmp_path))
    assert not any("alone tells" in note for note in data.notes)


def test_few_rows_prove_nothing() -> None:
    y = np.array([0, 1] * 20)
    columns = {"copy": y.astype(float)}
    train, few, many = np.arange(10), np.arange(10, 25), np.arange(10, 40)
    assert giveaways(columns, y, train, few, classes=True) == []
    assert giveaways(columns, y, train, many, classes=True) == ["copy"]
    assert giveaways(columns, y, train, np.arange(10, 40, 2).repeat(3), classes=True) == []


def test_blank_cells_of_text_are_counted_as_missing(tmp_path: Path) -> None:
    rows = [f"{i},{'' if i % 4 == 0 else ['red', 'blue'][i % 2]},{'ab'[i % 3 % 2]}"
            for i in range(60)]  # fmt: skip
    data = dataset(tmp_path, ["x,colour,y", *rows])
    features = next(t for t in describe_rows(data) if t.file_name == "features")
    assert {row[0]: row[-1] for row in features.rows} == {
        "x": "0", "colour=blue": "15", "colour=red": "15",
    }  # fmt: skip


def test_several_classes_have_no_order_in_correlations(tmp_path: Path) -> None:
    # Far from both others in the middle class: Pearson's r of classes 0, 1, 2 is 0.
    rows = [f"{(i % 3 == 1) * 5 + i % 2},{i // 3 % 5},{'abc'[i % 3]}" for i in range(90)]
    data = dataset(tmp_path, ["hump,noise,y", *rows])
    table = next(t for t in describe_rows(data) if t.file_name == "correlations")
    assert "correlation ratio" in table.title
    assert table.rows[0][0] == "hump" and float(table.rows[0][1]) > 0.95
    X, y = data.rows("train")
    assert abs(np.corrcoef(X[:, 0], y)[0, 1]) < 0.2
    two = np.minimum(y, 1)
    assert np.allclose(correlation_ratios(X, two), [abs(np.corrcoef(x, two)[0, 1]) for x in X.T])
