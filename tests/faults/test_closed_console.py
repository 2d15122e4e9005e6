"""Consoles that nobody reads, that are full or closed, that know ASCII only or have no width."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from scratchlab.cli import main
from scratchlab.run.streams import lasting_streams

TRAIN = ["train", "model=linear", "dataset=diabetes", "name=x", "threads=1", "run_id=one"]


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    yield stream
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda found: None)
        try:
            stream.close()
        except BrokenPipeError:
            pytest.fail("something was left for the interpreter's end to write")


@pytest.mark.parametrize("streams", [("stdout",), ("stdout", "stderr")])
def test_training_goes_on_without_its_console(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unread: TextIO,
    streams: tuple[str, ...],
) -> None:
    for name in streams:
        monkeypatch.setattr(sys, name, unread)
    assert main([*TRAIN, f"output_dir={tmp_path}"]) == 0
    run = tmp_path / "x/one"
    assert json.loads((run / "status.json").read_text())["status"] == "done"
    assert any(m["name"] == "rmse" for m in json.loads((run / "results.json").read_text()))
    assert "Tracker console" not in (run / "train.log").read_text()


@pytest.mark.parametrize(
    "words", [["--help"], ["list", "model"], ["list", "optimizer"], ["train", "--help"], ["data"]]
)
def test_a_command_that_nobody_reads_ends_quietly(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    unread: TextIO,
    words: list[str],
) -> None:
    monkeypatch.setattr(sys, "stdout", unread)
    assert main(words) == 0
    assert capfd.readouterr().err == ""


def test_an_error_that_nobody_reads_keeps_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, unread: TextIO
) -> None:
    monkeypatch.setattr(sys, "stderr", unread)
    assert main(["lisst"]) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_said_and_messages_are_not_missed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["list", "optimizer"]) == 2
        assert "Cannot write standard output: the disk is full" in capfd.readouterr().err
        with lasting_streams(output_needed=False):
            print("a table")
            sys.stdout.flush()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_console_of_few_characters_shows_help_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding=encoding) as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["--help"]) == 0
        assert main([*TRAIN, f"output_dir={tmp_path}"]) == 0
    text = path.read_text(encoding=encoding)
    assert "[GROUP=CHOICE" not in text and "usage: scratchlab VERB ?" in text
    rows = [line for line in text.splitlines() if line.startswith("| rmse ?")]
    assert len(rows) == 1, text


def test_a_console_without_width_still_gets_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from scratchlab.tracking.console import print_table

    monkeypatch.setenv("COLUMNS", "0")
    print_table("results", ["metric", "value"], [["BLEU", 41.5]])
    assert "│ BLEU   │ 41.50 │" in capsys.readouterr().out


def test_a_stream_that_was_closed_from_the_start_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["--version"]) == 0


def test_an_answer_is_never_written_with_a_character_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scratchlab.commands.predict import _write
    from scratchlab.errors import UserError

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    with pytest.raises(UserError, match=r"takes ascii only, which lacks '\\xe9'"):
        _write("café")
