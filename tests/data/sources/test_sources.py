"""Files are read exactly, and faults in them are named with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from scratchlab.data.sources.pair_files import (
    align,
    first_shift,
    read_columns,
    without_empty,
    write_lines,
)
from scratchlab.data.sources.reading import find_file, read_text, sha256_of
from scratchlab.errors import UserError
from tests.data.conftest import PAIRS

ENGLISH = [pair[0] for pair in PAIRS["train"]]
FRENCH = [pair[1] for pair in PAIRS["train"]]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_packed_file_reads_like_the_plain_one(tmp_path: Path) -> None:
    text = "Il a dit\u202f: «\u00a0oui\u00a0»\u2028ou non\nl’été\n".encode()
    plain = read_text(written(tmp_path / "a.fr", text))
    packed = read_text(written(tmp_path / "b.fr.gz", gzip.compress(text)))
    misnamed = read_text(written(tmp_path / "c.fr", gzip.compress(text)))
    expected = ["Il a dit\u202f: «\u00a0oui\u00a0»\u2028ou non", "l’été"]
    assert plain.lines == packed.lines == misnamed.lines == expected
    assert plain.sha256 == sha256_of(tmp_path / "a.fr")
    assert plain.sha256 != packed.sha256


def test_windows_line_ends_and_a_byte_order_mark_are_no_text(tmp_path: Path) -> None:
    file = read_text(written(tmp_path / "a", b"\xef\xbb\xbfone\r\ntwo\r\n\r\nthree"))
    assert file.lines == ["one", "two", "", "three"]


def test_a_file_is_found_packed_or_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path / "train.en.gz", b"")
    assert find_file(tmp_path / "train.en") == path
    assert find_file(path) == path
    path.rename(tmp_path / "train.en")
    assert find_file(path) == tmp_path / "train.en"
    assert find_file(tmp_path / "train.fr") is None


def test_undecodable_bytes_are_named_with_file_line_and_byte(tmp_path: Path) -> None:
    path = written(tmp_path / "train.fr", b"un\ndeux\n" + "été\n".encode("latin1"))
    with pytest.raises(UserError, match=r"train\.fr, line 3: byte 0xe9 is not UTF-8"):
        read_text(path)


def test_a_damaged_packed_file_is_named(tmp_path: Path) -> None:
    content = gzip.compress(b"some text\n" * 100)
    for broken in (content[:-20], content[:40] + b"\x00\x01\x02" + content[43:]):
        with pytest.raises(UserError, match=r"train\.fr\.gz: damaged gzip file"):
            read_text(written(tmp_path / "train.fr.gz", broken))


@pytest.mark.parametrize("missing", [5, 123, 290])
def test_unaligned_files_are_named_with_counts_and_the_place_where_they_part(
    tmp_path: Path, missing: int
) -> None:
    write_lines(tmp_path / "a.en", ENGLISH)
    write_lines(tmp_path / "a.fr", FRENCH[:missing] + FRENCH[missing + 1 :])
    with pytest.raises(UserError) as caught:
        align(read_text(tmp_path / "a.en"), read_text(tmp_path / "a.fr"))
    message = str(caught.value)
    assert "a.en has 300 lines" in message
    assert "a.fr has 299" in message
    place = int(message.split("part at line ")[1].split(":")[0])
    assert abs(place - (missing + 1)) <= 6


def test_the_place_of_a_shift_is_the_same_from_both_sides() -> None:
    longer = [*FRENCH[:200], "Une phrase de trop.", "Et une autre encore.", *FRENCH[200:]]
    assert first_shift(ENGLISH, longer) == first_shift(longer, ENGLISH)
    assert abs(first_shift(ENGLISH, longer) - 201) <= 6


def test_columns_of_a_table_are_taken_by_number(tmp_path: Path) -> None:
    path = written(tmp_path / "p.tsv", b"1\tHello.\tBonjour.\n2\tThanks.\tMerci.\n")
    pairs, notes = read_columns(path, [2, 3])
    assert pairs == [("Hello.", "Bonjour."), ("Thanks.", "Merci.")]
    assert notes == [f"{path}: columns not read: 1 of 3"]
    assert read_columns(path, [3, 2])[0][0] == ("Bonjour.", "Hello.")


def test_a_line_with_too_few_columns_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "p.tsv", b"Hello.\tBonjour.\nThanks. Merci.\n")
    with pytest.raises(UserError, match=r"p\.tsv, line 2: 1 column\(s\), but columns 1 and 2"):
        read_columns(path, [1, 2])


def test_a_line_with_a_stray_tab_is_refused_and_an_empty_line_is_none(tmp_path: Path) -> None:
    path = written(tmp_path / "p.tsv", b"Hello.\tBonjour.\n\nSo\tlong.\tSalut.\nNo.\tNon.\n")
    with pytest.raises(UserError, match=r"p\.tsv, line 3: 3 columns, but most lines have 2"):
        read_columns(path, [1, 2])
    path = written(tmp_path / "q.tsv", b"Hello.\tBonjour.\n \nNo.\tNon.\n")
    assert read_columns(path, [1, 2]) == ([("Hello.", "Bonjour."), ("", ""), ("No.", "Non.")], [])


def test_lines_empty_on_both_sides_are_left_out_and_on_one_side_refused() -> None:
    pairs = [("a", "b"), ("", ""), ("c", "")]
    with pytest.raises(UserError, match="x and y, line 3: the target side is empty"):
        without_empty(pairs, "x and y", "error")
    assert without_empty(pairs, "x and y", "drop") == ([("a", "b")], 2)
    assert without_empty(pairs[:2], "x and y", "error") == ([("a", "b")], 1)


def test_a_split_without_any_pair_is_refused() -> None:
    with pytest.raises(UserError, match="val: there is no sentence pair"):
        without_empty([("", "")], "val", "error")


def test_written_lines_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.gz", ["un", "deux"])
    write_lines(tmp_path / "b.gz", iter(["un", "deux"]))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert read_text(tmp_path / "a.gz").lines == ["un", "deux"]
