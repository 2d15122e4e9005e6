"""Tables and results: readable for people, exact for programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.formatting import decimals_of, format_measurement, format_number
from scratchlab.reporting.results import read_results, write_results
from scratchlab.reporting.tables import (
    csv_text,
    markdown,
    results_notes,
    results_table,
    write_table,
)
from scratchlab.tracking.console import print_table

BLEU = Measurement(
    "bleu", 57.123456789, spread=0.91, n=1000, split="test", settings={"signature": "tok:13a"}
)
SIZE = Measurement("parameters", 7_400_000.0, better="lower")
MEMORY = Measurement("memory_size", 29_600_000.0, unit="bytes", better="lower")
SPEED = Measurement("latency_p50", 12.345, unit="ms/sentence", better="lower", timing=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (57.123456, "57.12"),
        (100.0, "100"),
        (1234567.0, "1,234,567"),
        (4321.7, "4,322"),
        (0.123456, "0.1235"),
        (0.00123456, "0.00123"),
        (0.00001, "1e-05"),
        (999.96, "1000.0"),
        (5e20, "5e+20"),
        (-3.14159, "-3.142"),
        (float("nan"), "nan"),
        (None, ""),
    ],
)
def test_numbers_are_written_with_the_digits_that_matter(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_values_are_shown_with_their_spread_and_bytes_in_units_people_use() -> None:
    assert format_measurement(57.123, 0.912, "") == ("57.12 ± 0.91", "")
    assert format_measurement(29_600_000, None, "bytes") == ("28.2", "MiB")
    assert format_measurement(512, None, "bytes") == ("512", "B")
    assert format_measurement(0, None, "bytes") == ("0", "B")


def test_the_console_shows_direction_spread_and_unit(capsys: pytest.CaptureFixture[str]) -> None:
    found = [BLEU, SIZE, MEMORY, SPEED]
    print_table("Results", *results_table(found), notes=results_notes(found))
    output = capsys.readouterr().out
    lines = [" ".join(line.replace("│", " ").split()) for line in output.splitlines()]
    assert "BLEU ↑ 57.12 ± 0.91 test 1,000" in lines
    assert "parameters ↓ 7,400,000" in lines
    assert "memory size ↓ 28.2 MiB" in lines
    assert "latency p50 ↓ 12.35 ms/sentence" in lines or "latency p50 ↓ 12.34 ms/sentence" in lines


def test_markdown_survives_bars_and_line_breaks_in_cells() -> None:
    text = markdown(("a", "n"), [("x|y\nz", 1.5), ("é", None)])
    assert (
        text == "| a      |     n |\n| ------ | ----: |\n| x\\|y z | 1.500 |\n| é      |       |\n"
    )


def test_csv_keeps_numbers_exact_and_text_whole() -> None:
    value = 0.1 + 0.2
    rows = list(csv.reader(io.StringIO(csv_text(("a", "b"), [('say "hi", ok', value)]))))
    assert rows == [["a", "b"], ['say "hi", ok', repr(value)]]
    assert float(rows[1][1]) == value


def test_a_table_is_written_for_people_and_for_programs(tmp_path: Path) -> None:
    write_table(tmp_path / "tables", "samples", ("source", "chrF"), [("a", 12.3456)])
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == ["samples.csv", "samples.md"]
    assert "12.35" in (tmp_path / "tables" / "samples.md").read_text()
    assert "12.3456" in (tmp_path / "tables" / "samples.csv").read_text()


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_results(tmp_path, [BLEU, SPEED, SIZE])
    assert read_results(tmp_path) == [BLEU, SIZE, SPEED]


def test_numbers_of_numpy_are_written_too(tmp_path: Path) -> None:
    odd = Measurement("x", np.float32(0.5), spread=np.float64(0.25), settings={"n": np.int64(3)})  # type: ignore[arg-type]
    write_results(tmp_path, [odd])
    assert read_results(tmp_path) == [Measurement("x", 0.5, spread=0.25, settings={"n": 3})]


def test_what_was_timed_does_not_touch_the_file_that_equal_runs_share(tmp_path: Path) -> None:
    other = Measurement("latency_p50", 99.0, unit="ms/sentence", better="lower", timing=True)
    write_results(tmp_path / "a", [BLEU, SPEED])
    write_results(tmp_path / "b", [BLEU, other])
    for name in ("results.json", "tables/results.csv", "tables/results.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "b" / "results_timed.json").read_text())[0]["value"] == 99.0
    write_results(tmp_path / "c", [BLEU])
    assert not (tmp_path / "c" / "results_timed.json").exists()


def test_a_value_that_is_no_number_is_null_in_the_file(tmp_path: Path) -> None:
    write_results(tmp_path, [Measurement("x", float("nan"))])
    assert json.loads((tmp_path / "results.json").read_text())[0]["value"] is None
    assert str(read_results(tmp_path)[0].value) == "nan"


def test_a_folder_without_results_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scratchlab eval"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text('[{"name": "bleu"')
    with pytest.raises(UserError, match=r"results\.json, line 1, column 17 is no valid JSON"):
        read_results(tmp_path)


def test_the_rows_for_people_have_the_columns_in_a_fixed_order() -> None:
    columns, rows = results_table([BLEU])
    assert columns == ("metric", "value", "unit", "split", "n")
    assert rows == [("BLEU ↑", "57.12 ± 0.91", "", "test", "1,000")]


ANSWERS = Measurement(
    "exact_match", 0.0, "%", n=25, low=0.0, high=13.32, interval="95 % interval (Wilson)"
)


def test_what_stands_behind_a_value_is_said_below_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rouge = Measurement("rouge1", 67.0, "%", spread=3.0, settings={"spread": "half of it"})
    write_results(tmp_path, [ANSWERS, rouge])
    text = (tmp_path / "tables/results.md").read_text()
    # Figures of one unit have as many decimals.
    assert "0.00 [0.00, 13.32]" in text and "67.00 ± 3.00" in text
    assert text.endswith("\n[ ] 95 % interval (Wilson)\n\n± half of it\n")
    rows = list(csv.DictReader((tmp_path / "tables/results.csv").open()))
    assert (rows[0]["low"], rows[0]["high"]) == ("0.0", "13.32")
    assert [row["spread_meaning"] for row in rows] == ["[ ] 95 % interval (Wilson)", "± half of it"]
    print_table("Results", *results_table([ANSWERS, rouge]), notes=results_notes([ANSWERS, rouge]))
    assert "[ ] 95 % interval (Wilson)\n± half of it\n" in capsys.readouterr().out
    assert read_results(tmp_path) == [ANSWERS, rouge]


def test_results_that_were_written_without_intervals_are_still_read(tmp_path: Path) -> None:
    entry = {"name": "bleu", "value": 1.0, "unit": "", "better": "higher", "spread": 0.5, "n": 9}
    (tmp_path / "results.json").write_text(json.dumps([{**entry, "settings": {}, "split": "x"}]))
    (found,) = read_results(tmp_path)
    assert (found.spread, found.low, found.high, found.compares) == (0.5, None, None, "")


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ((62.5, 67.0, 3.7), 2),
        ((0.94, 0.99), 4),
        ((12345.6, 3.7), 2),
        ((224.81, 106.2), 1),
        ((3.0, 1e6), 0),
        ((0.00012, 0.005), None),
        ((float("nan"),), None),
    ],
)
def test_numbers_of_one_kind_share_their_decimals(
    values: tuple[float, ...], decimals: int | None
) -> None:
    assert decimals_of(values) == decimals
