"""Messages and notes say a thing once, in words that can be acted on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scratchlab.commands import predict
from scratchlab.config.schema import Mismatch, coerce
from scratchlab.data.sources.columns import Wishes, make_plan
from scratchlab.data.sources.csv_cells import read_cells
from scratchlab.describing.checked import leaks
from scratchlab.errors import UserError
from scratchlab.formatting import format_measurement, format_number


def test_a_thing_where_a_list_belongs_is_shown_as_a_list() -> None:
    for value, declared, written in (
        ("a.txt", "list[str]", "[a.txt]"),
        (0, "list[int] | None", "[0]"),
    ):
        with pytest.raises(Mismatch, match="is not a list") as caught:
            coerce(value, declared)
        assert str(caught.value).endswith(f": write {written}")
    with pytest.raises(Mismatch) as caught:
        coerce("x", "list[int]")
    assert "write" not in str(caught.value)


def test_a_row_of_one_cell_is_counted_in_the_singular(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tb\n1\t2\n3\n")
    with pytest.raises(UserError, match="line 3: 1 cell, but the header names 2 columns"):
        read_cells(path)


def test_columns_whose_numbers_are_written_alike_share_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("p;q;r;y\n1,5;2,5;1;a\n2,5;3,5;2;b\n3,5;1,5;3;a\n")
    _, notes = make_plan(read_cells(path), Wishes("y"))
    assert notes == ["p, q: numbers with decimal commas"]


def test_splits_with_copies_of_training_share_a_note() -> None:
    contents = {"train": ["a b", "c d"], "val": ["a b"], "test": ["c d", "e f"]}
    (note,) = leaks(contents, "texts")
    assert note.startswith("1 of 1 texts of val and 1 of 2 texts of test stand in train as well:")


def test_nothing_is_shown_as_minus_zero() -> None:
    assert format_number(-0.0) == "0"
    assert format_measurement(-0.0, None, "nats") == ("0", "nats")
    assert format_measurement(-0.0001, 0.01, "", decimals=2)[0] == "0.00 ± 0.01"


def test_the_same_note_is_shown_a_few_times_and_then_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("scratchlab")
    with predict.remarks_shown():
        for number in range(10):
            logger.warning("a text of %d tokens is cut", number)
            logger.error("row %d", number)
        logger.warning("another thing")
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "cut" in line] == [
        f"note: a text of {n} tokens is cut" for n in range(predict.ALIKE)
    ]
    assert sum(line.startswith("error: row") for line in lines) == 10
    assert "note: another thing" in lines and lines[-1] == "note: and 7 more notes like these"
