"""What the person at the terminal, or the file behind a pipe, gets to see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchlab.tracking.console import Console, fitting, print_table
from scratchlab.tracking.contract import RunInfo

SCRIPT = """
from pathlib import Path
from scratchlab.tracking.console import Console
from scratchlab.tracking.contract import RunInfo
c = Console(Console.Config(interval=0.0))
config = {"task": {"name": "seq2seq"}}
c.start(RunInfo("mt", "r1", Path("out"), config, total_steps=40, resumed_from=20))
c.log(21, {"epoch": 2.1, "train/loss": 2.5, "gradient_norm": 9.0}, {"seconds": 3.0})
for step in range(22, 41):
    c.progress(step, step / 10, {"targets_per_second": 12345.6})
c.log(40, {"epoch": 4.0, "val/loss": 1.25, "val/bleu": 41.5}, {})
c.table("results", ["metric", "value"], [["BLEU", 41.5]])
c.remark("[ ] 95 % interval")
c.finish("done")
"""


def run_script(**streams: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    return subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment, **streams)


def test_without_a_terminal_progress_is_plain_lines_on_standard_error() -> None:
    process = run_script(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = (stream.decode() for stream in process.communicate(timeout=300))
    lines = errors.splitlines()
    assert lines[0] == "Run mt/r1 goes on from step 20 in out"
    assert lines[1].startswith("step 21/40  epoch 2.10  loss 2.500  ETA 0:00:0")
    assert lines[2].startswith("step 22/40  epoch 2.20  loss 2.500  tokens/s 12,346  ETA 0:00:0")
    assert any("val/loss 1.250  val/bleu 41.50" in line for line in lines)
    assert lines[-1] == "Run done."
    assert "\x1b" not in errors + output and "\r" not in errors
    assert "BLEU" in output and "BLEU" not in errors
    assert output.splitlines()[-1] == "[ ] 95 % interval" and "interval" not in errors


def test_in_a_terminal_there_is_a_bar_and_tables_still_go_to_standard_output() -> None:
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    process = run_script(stdout=subprocess.PIPE, stderr=child)
    os.close(child)
    seen = bytearray()
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # Linux tells the end of a terminal so
            break
        if not piece:
            break
        seen += piece
    assert process.stdout is not None
    output = process.stdout.read().decode()
    process.wait(timeout=300)
    process.stdout.close()
    os.close(parent)
    text = seen.decode()
    assert "40/40" in text and "━" in text and "ETA" in text
    assert "loss 2.500" in text and "tokens/s 12,346" in text
    assert "val/bleu 41.50" in text
    assert "BLEU" in output and "\x1b" not in output


def test_lines_are_sparse_where_no_bar_is_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    console = Console(Console.Config(bar="never", interval=3600.0))
    console.start(RunInfo("mt", "r1", tmp_path, total_steps=1000))
    for step in range(1, 1001):
        console.progress(step, 0.1, {"loss": 1.0})
        console.log(step, {"train/loss": 1.0}, {})
    console.log(1000, {"val/loss": 2.0}, {})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "val/loss 2.000" in lines[1] or "val/loss 2" in lines[1]


def test_of_many_columns_those_that_do_not_fit_are_named_below(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ["row", *(f"feature {i}" for i in range(30))]
    rows = [[n, *(0.0123456 * i * n for i in range(1, 31))] for n in (1, 2)]
    monkeypatch.setenv("COLUMNS", "80")
    print_table("mistakes", columns, rows)
    table, note = capsys.readouterr().out.split("too wide to show")
    assert max(map(len, table.splitlines())) <= 80
    assert "0.0370" in table and "0.0741" in table
    assert "feature 29" in " ".join(note.split()) and "feature 2," not in note


def test_cells_are_shown_as_they_are_even_if_they_look_like_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table("samples", ["source [en]", "n"], [["[bold]a[/bold]", 1], ["b", None]])
    output = capsys.readouterr().out
    assert "[bold]a[/bold]" in output and "source [en]" in output


def test_no_word_of_a_table_is_broken_where_there_is_room_for_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ("unit", "tokenizer", "context", "stride", "targets", "nats per target", "perplexity")
    row = ("word", "word", 32, 32, 17997, 7.645, 2090.0)
    monkeypatch.setenv("COLUMNS", "80")
    print_table("", columns, [row, row])
    output = capsys.readouterr().out
    assert all(word in output for column in columns for word in column.split())
    assert {len(line) for line in output.splitlines()} == {80}
    monkeypatch.setenv("COLUMNS", "50")  # not even the words fit: a line for each column
    print_table("", columns, [row])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("│")[1].strip() for line in lines[1:-1]] == list(columns)
    assert lines[-2].split("│")[2].strip() == "2,090"


def test_a_table_without_room_for_its_words_stands_in_records_that_break_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    rows = [
        ["cnn_dailymail_pairs", "summarization", "articles and their highlights"],
        ["b", "", "x"],
    ]
    print_table("data sets", ["name", "task", "what"], rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["data sets", "cnn_dailymail_pairs", "  task: summarization"]
    assert lines[3:] == ["  what: articles and their", "    highlights", "b", "  what: x"]


def test_a_line_of_progress_has_room_for_the_time_left() -> None:
    fields = [f"val/measure_number_{i} 0.1234" for i in range(12)]
    line = fitting(fields, ["ETA 0:01:00"])
    assert len(line) <= 140 and line.endswith("(+9 in metrics.jsonl)  ETA 0:01:00")
    assert fitting(fields[:2], []) == "  ".join(fields[:2])
