"""Labelled texts from files of several kinds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from scratchlab.data.text_classes import parted, read_labelled
from scratchlab.errors import UserError

ROWS = [("a good, long film", "1"), ('a "bad" one', "0")]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "tsv.gz"])
def test_labelled_texts_are_read_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"texts.{kind}"
    if kind == "csv":
        path.write_text('text,label\n"a good, long film",1\n"a ""bad"" one",0\n')
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in ROWS))
    else:
        content = "text\tlabel\n" + "".join(f"{t}\t{c}\n" for t, c in ROWS)
        packed = gzip.compress(content.encode()) if kind.endswith("gz") else content.encode()
        path.write_bytes(packed)
    assert read_labelled(path, "text", "label") == ROWS


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("sentence,label\nfine,1\n")
    with pytest.raises(UserError) as error:
        read_labelled(path, "sentense", "label")
    assert "no column 'sentense'" in str(error.value) and "'sentence'" in str(error.value)


def test_texts_are_parted_eight_to_one_to_one_without_overlap() -> None:
    rows = [(f"text {i}", "x") for i in range(100)]
    splits = parted(rows)
    assert {s: len(v) for s, v in splits.items()} == {"train": 80, "val": 10, "test": 10}
    assert len({t for part in splits.values() for t, _ in part}) == 100
