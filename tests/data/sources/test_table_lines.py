"""Rows that a trained model is asked about: of the file that trained it, mixed up, damaged."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchlab.commands.predict import main
from scratchlab.config.compose import compose
from scratchlab.data.contract import DataContext
from scratchlab.errors import UnansweredRows, UserError
from scratchlab.lab import train as experiment
from scratchlab.registry import find

HEADER = '"Weight, kg";"Height, cm";note;colour;kind'


def lines(count: int = 40) -> list[str]:
    """Rows of a German table; the class follows the weight."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        weight = f"{5 * (i % 2) + rng.random():.2f}".replace(".", ",")
        colour = ['"deep; red"', "blue"][i // 2 % 2]
        rows.append(f"{weight};{rng.integers(150, 200)},5;same;{colour};{'ab'[i % 2]}")
    return rows


@pytest.fixture(name="data")
def trained_data(tmp_path: Path) -> Any:
    """The data set as a checkpoint keeps it; its file is gone."""
    (tmp_path / "t.csv").write_text("\n".join([HEADER, *lines()]) + "\n")
    cls = find("dataset", "table").load()
    first = cls(cls.Config(path=str(tmp_path / "t.csv")), DataContext(None, tmp_path))
    first.save_vocabulary(tmp_path)
    data = cls(cls.Config(path="gone.csv"), DataContext(None, tmp_path, vocabulary=tmp_path))
    data.expected = first.scaling.apply(first.raw.X)
    return data


def told(data: Any, *given: str) -> list[Any]:
    return list(data.encode_lines(iter(given)))


def test_the_file_that_trained_a_model_can_be_asked_with_or_without_its_header(data: Any) -> None:
    assert np.allclose(np.concatenate(told(data, HEADER, *lines())), data.expected)
    assert np.allclose(np.concatenate(told(data, *lines())), data.expected)
    weights = "Weight, kg;Height, cm;colour"
    cells = [line.split(";") for line in lines() if "blue" in line]
    chosen = [i for i, line in enumerate(lines()) if "blue" in line]
    short = [f"{c[0]};{c[1]};{c[3]}" for c in cells]
    assert weights.count(";") == short[0].count(";")
    assert np.allclose(np.concatenate(told(data, *short)), data.expected[chosen])


def test_a_cell_may_be_longer_than_the_csv_module_takes_by_itself(data: Any) -> None:
    """131,072 characters is its own limit; the file that trained a model has none."""
    long = "x" * 200_000
    first = lines()[0].split(";")
    for cell in (long, f'"{long}"'):
        (row,) = told(data, HEADER, ";".join([*first[:2], cell, *first[3:]]))
        assert np.allclose(row, data.expected[0])


def test_columns_go_by_name_in_any_order_and_others_are_told_of(
    data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    given = ['colour,extra,kind,"Height, cm","Weight, kg"', 'blue,x,?,"170,5","0,25"']
    (row,) = told(data, *given)
    (same,) = told(data, "0,25;170,5;blue")
    assert np.allclose(row, same)
    assert caplog.messages == ["columns that are not read: extra, kind (the target)"]


def test_a_header_that_lacks_a_column_is_refused(data: Any) -> None:
    with pytest.raises(UserError, match=r"no column 'colour'\n.*This model reads: Weight, kg"):
        told(data, '"Weight, kg";"Height, cm";kind', "1;2;a")


def test_a_row_that_cannot_be_read_costs_itself_only(data: Any) -> None:
    good = "0,25;170,5;blue"
    found = told(data, good, "0,25;170,5;green", "", "much;170,5;blue", "1;2", '"0,5;170,5;blue',
                 good)  # fmt: skip
    assert np.allclose(found[0], found[6]) and found[2] is None
    messages = [str(e) for e in found if isinstance(e, UserError)]
    assert [m.split(":")[0] for m in messages] == [
        "row 2, column 'colour'",
        "row 4, column 'Weight, kg'",
        "row 5",
        "row 6",
    ]
    assert "'green' was not seen in training" in messages[0]
    assert "no number" in messages[1]
    assert "2 cells were given, and this model reads 3" in messages[2]
    assert "not closed" in messages[3]


def test_a_quoted_cell_may_go_on_over_lines(data: Any) -> None:
    header = "note;Weight, kg;Height, cm;colour".replace("Weight, kg", '"Weight, kg"')
    (row,) = told(data, header, '"one', 'two";0,25;170,5;blue')
    assert np.allclose(row, told(data, "0,25;170,5;blue")[0])


def test_predict_answers_the_training_file_row_by_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, *lines()]) + "\n")
    common = [f"output_dir={tmp_path}", "tracker=[jsonl]", "run_id=one"]
    words = ["model=logistic", "dataset=table", f"dataset.path={path}", *common]
    run = experiment.train(compose(words).config, [], ["train"])
    asked = tmp_path / "asked.csv.gz"
    bad = "1;2;3;purple;a"
    asked.write_bytes(gzip.compress("\n".join(["\ufeff" + HEADER, *lines(6), bad]).encode()))
    capsys.readouterr()
    with pytest.raises(UnansweredRows, match="1 of 7 rows were not answered") as caught:
        main([str(run), f"input={asked}"])
    assert caught.value.exit_code == 1
    shown = capsys.readouterr()
    assert [line[:1] for line in shown.out.splitlines()] == [*"ababab", ""]
    assert "error: row 8, column 'colour': 'purple' was not seen in training" in shown.err
    assert "note: columns that are not read: note, kind (the target)" in shown.err
