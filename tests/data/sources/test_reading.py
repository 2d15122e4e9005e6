"""All files of text are read in one way, and what is no text is refused with file and line."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path
from typing import Any

import pytest

from scratchlab.commands.predict import _lines
from scratchlab.data.contract import DataContext
from scratchlab.data.sets.instructions import read_prompts
from scratchlab.data.sets.knowledge import read_questions
from scratchlab.data.sets.summaries import read_pairs
from scratchlab.data.sources.corpus import joined, pieces_of, read_pieces
from scratchlab.data.sources.csv_cells import read_cells
from scratchlab.data.sources.locating import own_file
from scratchlab.data.sources.reading import read_objects, read_text, read_unpacked, sha256_of
from scratchlab.data.sources.text_sources import locate_files
from scratchlab.errors import UserError
from scratchlab.evaluation.outputs.other_runs import read_table


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def whole(path: Path) -> str:
    return "".join(read_pieces(path))


def refusal(read: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(*arguments, **options)
    return str(caught.value)


def found(path: Path) -> Path:
    return own_file(str(path), None)


@pytest.mark.parametrize("read", [read_text, whole, read_cells, sha256_of, found])
def test_a_pipe_a_device_or_a_folder_in_place_of_a_file_is_refused_at_once(
    tmp_path: Path, read: Any
) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a named pipe" in refusal(read, tmp_path / "pipe")
    assert "is a device" in refusal(read, Path("/dev/zero"))
    assert "is a folder" in refusal(read, tmp_path)


def test_a_file_is_preferred_to_something_else_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "a.txt").mkdir(parents=True)
    written(tmp_path / "a.txt", "text")
    monkeypatch.chdir(tmp_path / "here")
    assert own_file("a.txt", tmp_path) == tmp_path / "a.txt"
    assert "no file" in refusal(own_file, "b.txt", tmp_path)
    assert "cannot be read (File name too long)" in refusal(own_file, "b" * 300, tmp_path)


def test_lines_that_end_as_on_old_systems_are_refused_and_an_unknown_home_is_no_file(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "a.txt", "one\rtwo\rthree\r")
    assert "carriage returns only" in refusal(read_text, path)
    assert read_cells(path).rows == [["two"], ["three"]]
    assert "no file" in refusal(own_file, "~nobody-of-this-name/a.txt", None)


@pytest.mark.parametrize("read", [read_text, whole, read_cells])
@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("one,two\nthree,vier\n".encode("utf-16"), "iconv -f utf-16 "),
        ("one,two\nthree,vier\n".encode("utf-16-le"), "iconv -f utf-16le "),
        ("one,two\nthree,vier\n".encode("utf-16-be"), "iconv -f utf-16be "),
        ("один,два\nтри,четыре\n".encode("utf-16"), "iconv -f utf-16 "),
        ("one,two\n".encode("utf-32"), "iconv -f utf-32 "),
        ("été,a\n".encode("latin1"), "iconv -f latin1 "),
        ("“a”,b\n".encode("cp1252"), "iconv -f cp1252 "),
        (b"PK\x03\x04\x14\x00\xf0\xf1", "a zip archive or an Excel workbook"),
        (b"one,two\nth\0ree,four\n", "line 2: a NUL character"),
    ],
)
def test_bytes_that_are_no_utf8_are_refused_with_the_encoding_they_look_like(
    tmp_path: Path, read: Any, content: bytes, advice: str
) -> None:
    message = refusal(read, written(tmp_path / "a.csv", content))
    assert "a.csv" in message and advice in message
    packed = refusal(read, written(tmp_path / "b.csv", gzip.compress(content)))
    assert advice in packed


def test_a_packed_file_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "bomb.txt", gzip.compress(bytes(5_000_000)))
    monkeypatch.setattr("scratchlab.data.sources.reading.half_of_memory", lambda: 1_000_000)
    assert "holds more than 1,000,000 bytes of text" in refusal(read_unpacked, path)


def test_files_that_end_without_a_line_end_are_joined_at_a_line_end(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a.txt", "one two"), written(tmp_path / "b.txt", "three\n")
    empty = written(tmp_path / "c.txt", "")
    located = locate_files({"train": [a, empty, b, a, b]}, "texts", None)
    assert "".join(located.reads["train"]()) == "one two\nthree\none two\nthree\n"
    assert "".join(joined([pieces_of("a\n"), pieces_of("b")])) == "a\nb"


# --- JSON lines ---------------------------------------------------------------------------------


def test_json_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\u0085d\x0ce"
    path = written(tmp_path / "a.jsonl", f'{{"t": "{text[:-2]}"}}\r\n\n{{"t": "x"}}')
    assert read_objects(path, ("t",)) == [(1, {"t": text[:-2]}), (3, {"t": "x"})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('["a", 1]', "line 2: is no JSON object"),
        ("null", "line 2: is no JSON object"),
        ('{"text": "a"}', "line 2: no field 'label'"),
        ('{"text": ', "line 2, column 10: is no JSON (Expecting value)"),
        ('{"text": "a", "label": 1, "label": 0}', "line 2: is no JSON (the key 'label' is there"),
        ("[" * 100_000, "line 2: is no JSON"),
        ('{"text": "a", "label": ' + "9" * 5000 + "}", "line 2: is no JSON"),
    ],
)
def test_a_line_that_is_no_object_with_the_fields_is_refused(
    tmp_path: Path, line: str, message: str
) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n' + line + "\n")
    assert message in refusal(read_objects, path, ("text", "label"))


# --- cells --------------------------------------------------------------------------------------


def test_a_cell_may_be_longer_than_the_librarys_limit(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "word " * 50_000 + "end"
    cells = read_cells(written(tmp_path / "a.csv", f"text,label\n{long},1\n"))
    assert cells.rows == [[long, "1"]]
    assert csv.field_size_limit() == before


def test_a_quote_that_is_not_closed_is_refused_with_the_line_where_it_opens(
    tmp_path: Path,
) -> None:
    rows = 'text,label\nfine,1\n"open,0\nfine,1\n'
    end = refusal(read_cells, written(tmp_path / "a.csv", rows))
    assert "lines 3 to 4: unexpected end of data" in end
    other = refusal(read_cells, written(tmp_path / "b.csv", rows + '"closed",1\n'))
    assert "lines 3 to 5: ',' expected after '\"'" in other
    wide = refusal(read_cells, written(tmp_path / "c.csv", rows + 'x",1,1\n'))
    assert "lines 3 to 5: 3 cells, but the header names 2 columns" in wide


def test_rows_that_a_quote_has_swallowed_without_a_fault_are_noted(tmp_path: Path) -> None:
    swallowed = 'text,label\nfine,1\nbad,0\n"open,0\nlovely,1\nx",1\n'
    cells = read_cells(written(tmp_path / "a.csv", swallowed))
    assert len(cells.rows) == 3
    assert cells.notes == [
        f"{tmp_path / 'a.csv'}, lines 4 to 6: read as one row after an opening quote, "
        "but it looks like several"
    ]
    article = 'text,label\nfine,1\n"Paris, 3 May\n\nIt rained, said Ann.",0\n'
    assert read_cells(written(tmp_path / "b.csv", article)).notes == []


def test_without_quoting_a_quotation_mark_is_text(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'text\tlabel\n"open\t0\nsay "no"\t1\n')
    assert read_cells(path, "\t", quoted=False).rows == [['"open', "0"], ['say "no"', "1"]]


def test_only_the_wanted_columns_need_a_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", ",text,label,,text\n0,a,1,,b\n")
    assert "twice" in refusal(read_cells, path, wanted=("text", "label"))
    path = written(tmp_path / "b.csv", ",text,label,\n0,a,1,\n")
    assert read_cells(path, wanted=("text", "label")).rows == [["0", "a", "1", ""]]
    assert "no column 'class'" in refusal(read_cells, path, wanted=("text", "class"))


# --- who reads with them ------------------------------------------------------------------------


def test_rows_of_summaries_are_whole_or_counted(tmp_path: Path) -> None:
    head = "id,article,highlights\n"
    good = '1,"It rained.\n\nAll day.",Rain\n'
    path = written(tmp_path / "a.csv", head + good + "2,NA,None\n3,,Sun\n4,Snow,\n")
    notes: list[str] = []
    pairs = read_pairs(path, "article", "highlights", notes)
    assert pairs == [("It rained.\n\nAll day.", "Rain"), ("NA", "None")]
    assert notes == [f"2 rows of {path} left out, since a side of them is empty"]
    for row in ("2,Warm, and dry,Sun\n", "2,Warm\n"):
        path = written(tmp_path / "b.csv.gz", gzip.compress((head + good + row).encode()))
        assert "b.csv.gz, line 5: " in refusal(read_pairs, path, "article", "highlights", [])
    path = written(tmp_path / "c.csv.gz", gzip.compress(head.encode() * 9)[:-6])
    assert "damaged gzip file" in refusal(read_pairs, path, "article", "highlights", [])


def test_instructions_may_be_packed_and_lack_no_answer(tmp_path: Path) -> None:
    fields = ("prompt", "response")
    lines = '{"prompt": "a\u2028b", "response": "c"}\n{"prompt": "d", "response": "NA"}\n'
    path = written(tmp_path / "a.jsonl", gzip.compress(b"\xef\xbb\xbf" + lines.encode()))
    assert read_prompts(path, fields, []) == [("a\u2028b", "c"), ("d", "NA")]
    for answer in ("null", '" "', "7", '"\\ud800"'):
        bad = lines + f'{{"prompt": "e", "response": {answer}}}\n'
        message = refusal(read_prompts, written(tmp_path / "b.jsonl", bad), fields, [])
        assert "b.jsonl, line 3: " in message and "'response'" in message


def test_a_question_has_one_answer(tmp_path: Path) -> None:
    context = DataContext(None, tmp_path)
    path = str(written(tmp_path / "a.tsv", "Where?\tHere\n\nWho?\tMe\n"))
    assert read_questions(path, context)[0] == [("Where?", "Here"), ("Who?", "Me")]
    path = str(written(tmp_path / "b.tsv", "Where?\tHere\nWho?\tMe\tYou\n"))
    assert "line 2: no question and answer with one tab" in refusal(read_questions, path, context)


def test_predict_reads_packed_files_and_drops_the_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "\ufeffun\u2028oiseau\r\n\ndeux".encode()
    for stored in (content, gzip.compress(content)):
        path = written(tmp_path / "a.txt", stored)
        assert list(_lines(str(path))) == ["un\u2028oiseau", "", "deux"]
        piped = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stored)))
        monkeypatch.setattr("sys.stdin", piped)
        assert list(_lines(None)) == ["un\u2028oiseau", "", "deux"]
    assert "is a device" in refusal(list, _lines("/dev/zero"))
    damaged = written(tmp_path / "b.txt", gzip.compress(content)[:-4])
    assert "b.txt: damaged gzip file" in refusal(list, _lines(str(damaged)))
    monkeypatch.setattr("scratchlab.data.sources.reading.LONGEST_LINE", 100)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"a" * 200))))
    assert "standard input, line 1: longer than 100 bytes" in refusal(list, _lines(None))


def test_a_table_of_another_run_may_hold_long_texts(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    long = "word " * 40_000 + "end"
    written(tmp_path / "tables" / "samples.csv", f"id,text\n1,{long}\n")
    assert read_table(tmp_path, "samples", ("text", "id")) == [(long, "1")]
    message = refusal(read_table, tmp_path, "mistakes", ("id",))
    assert message.startswith("compare: ") and "evaluator=[…,mistakes]" in message
