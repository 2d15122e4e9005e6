"""Numbers in people's dialects, a column at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.data.contract import DataContext
from scratchlab.data.sources.numerals import Reading, is_number
from scratchlab.errors import UserError
from scratchlab.registry import find


@pytest.mark.parametrize(
    ("cell", "decimal", "value"),
    [
        ("1,234,567", ".", 1234567),
        ("1,234.5", ".", 1234.5),
        ("12,34,567", ".", 1234567),
        ("1.000,5", ",", 1000.5),
        ("1.000", ",", 1000),
        ("1.000", ".", 1),
        ("3,14", ",", 3.14),
        ("1 234 567", ".", 1234567),
        ("1\u202f234,5", ",", 1234.5),
        ("1'234.50", ".", 1234.5),
        ("$1000", ".", 1000),
        ("-$1,000.25", ".", -1000.25),
        ("$-5", ".", -5),
        ("12,50 €", ",", 12.5),
        ("3.5%", ".", 3.5),
        ("\u22123", ".", -3),
        ("\u22120,5", ",", -0.5),
        ("(1,200)", ".", -1200),
        ("1e-3", ".", 0.001),
        ("2,5e3", ",", 2500),
        ("007", ".", 7),
    ],
)
def test_numbers_are_read_as_they_are_written(cell: str, decimal: str, value: float) -> None:
    assert Reading(decimal).number(cell) == value


@pytest.mark.parametrize(
    "cell",
    ["", "a", "1_000", "1-2", "--3", "1,23,4", "0,123,456", "1.2.3", "inf", "nan", "1e999", "$",
     "$5%", "5 kg", "2024-01-01", "12:30", "0x1F", "(-3)", "1 2", "."],
)  # fmt: skip
def test_other_texts_are_no_numbers(cell: str) -> None:
    assert not is_number(cell)


def table(tmp_path: Path, cells: list[str], **options: Any) -> Any:
    """A table whose column x holds the cells in turn, beside one of plain numbers."""
    lines = [f'"{cells[i % len(cells)]}",{i}.5,{"ab"[i % 2]}' for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["x,n,y", *lines]) + "\n", encoding="utf-8")
    cls = find("dataset", "table").load()
    return cls(cls.Config(path=str(tmp_path / "t.csv"), **options), DataContext(None, tmp_path))


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234,567", "5", "1,000"], [1234567, 5, 1000]),
        (["1.000,5", "2,25", "3"], [1000.5, 2.25, 3]),
        (["1.000", "2,5", "3"], [1000, 2.5, 3]),  # 2,5 decides that the point parts thousands
        (["1,000", "2.5", "3"], [1000, 2.5, 3]),
        (["1.000", "2.125", "3"], [1, 2.125, 3]),  # as programs write numbers
        (["$1000", "$2,500.50", "-$3"], [1000, 2500.5, -3]),
        (["3.5%", "10%", "\u22120.5%"], [3.5, 10, -0.5]),
        (["\u22123", "4", "-5"], [-3, 4, -5]),
        (["3\u00a0", "4\u200b", "\ufeff 5 \u200b"], [3, 4, 5]),
    ],
)
def test_a_column_is_read_in_one_way(cells: list[str], values: list[float], tmp_path: Path) -> None:
    data = table(tmp_path, cells)
    assert data.spec.feature_names == ("x", "n")
    assert data.raw.X[: len(values), 0].tolist() == values


@pytest.mark.parametrize(
    ("cells", "line", "message"),
    [
        (["1.5", "2", "3,14"], 4, "'3,14' has a decimal comma, and '1.5'"),
        (["1,000", "2,500"], 2, "can be read as"),
        (["3.5%", "0.02"], 2, "'3.5%' stands in a column that also holds '0.02'"),
        (["$5", "€5"], 3, "stands in a column that also holds"),
        (["1.5", "2", "x"], 4, "'x' is no number"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(
    cells: list[str], line: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        table(tmp_path, cells).rows("train")
    assert message in str(caught.value)
    assert f"t.csv, line {line}, column 'x'" in str(caught.value)


def test_a_person_can_say_what_parts_decimals(tmp_path: Path) -> None:
    cells = ["1,000", "2,500"]
    assert table(tmp_path, cells, decimal="comma").raw.X[:2, 0].tolist() == [1, 2.5]
    assert table(tmp_path, cells, decimal="point").raw.X[:2, 0].tolist() == [1000, 2500]
    names = table(tmp_path, cells, categories=["x"]).spec.feature_names
    assert names == ("x=1,000", "x=2,500", "n")
    assert table(tmp_path, ["1.000", "2.500"], decimal="comma").raw.X[:2, 0].tolist() == [
        1000,
        2500,
    ]


def test_how_numbers_are_written_is_said_and_kept_with_the_run(tmp_path: Path) -> None:
    data = table(tmp_path, ["€1.000,5", "€2,25"])
    assert "x: numbers with decimal commas and the mark €" in data.notes
    data.save_vocabulary(tmp_path)
    cls = find("dataset", "table").load()
    later = cls(cls.Config(path="gone.csv"), DataContext(None, tmp_path, vocabulary=tmp_path))
    wanted = data.scaling.apply(np.array([[1000.5, 7.0]]))
    for row in ('"€1.000,5",7', '"1000,5",7.0'):
        assert np.allclose(later.encode(row), wanted)


def test_targets_of_dialects_are_numbers_and_classes_are_told_by_value(tmp_path: Path) -> None:
    lines = [f"{i};{i % 7},{i % 10}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["x;y", *lines]) + "\n")
    cls = find("dataset", "table").load()
    data = cls(cls.Config(path=str(tmp_path / "t.csv")), DataContext(None, tmp_path))
    assert data.spec.task == "regression" and data.raw.y[13] == 6.3
    lines = [f"{i};{['1', '1.0', '2', '02'][i % 4]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["x;y", *lines]) + "\n")
    data = cls(cls.Config(path=str(tmp_path / "t.csv")), DataContext(None, tmp_path))
    assert data.spec.class_names == ("1", "2") and data.raw.y[:4].tolist() == [0, 0, 1, 1]


def test_classes_with_decimal_commas_are_one_class_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "x;y\n" + "".join(f"{i};{['1,5', '2,0', '2', '1,50'][i % 4]}\n" for i in range(40))
    )
    cls = find("dataset", "table").load()
    config = cls.Config(path=str(tmp_path / "t.csv"), target_type="class", decimal="comma")
    data = cls(config, DataContext(None, tmp_path))
    assert data.spec.class_names == ("1,5", "2")
    assert np.bincount(data.raw.y).tolist() == [20, 20]
