"""Labelled texts from files of several kinds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from scratchlab.data.batching import SPLIT_STREAM, generator
from scratchlab.data.contract import DataContext
from scratchlab.data.splitting import text_key
from scratchlab.data.text_classes import OwnTextClasses, parted, read_labelled
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


def test_equal_texts_are_on_one_side_and_every_class_is_learnt() -> None:
    rows = [(f"text {i}", "x") for i in range(1000)]
    rows += [(f"  TEXT, {i}!", "x") for i in range(1000)] + [("only one", "rare"), ("alone", "y")]
    splits = parted(rows)
    homes = {s: {text_key(text) for text, _ in part} for s, part in splits.items()}
    assert not homes["test"] & homes["train"] and not homes["val"] & homes["train"]
    assert not homes["test"] & homes["val"]
    assert {s: len(part) for s, part in splits.items()} == pytest.approx(
        {"train": 1600, "val": 200, "test": 200}, rel=0.2
    )
    assert {label for _, label in splits["train"]} == {"x", "y", "rare"}
    kept = parted(rows, group=False)
    assert {text_key(t) for t, _ in kept["test"]} & {text_key(t) for t, _ in kept["train"]}


def test_texts_without_copies_are_drawn_as_ever() -> None:
    rows = [(f"text {i}", "x") for i in range(1000)]
    order = generator(SPLIT_STREAM, 1).permutation(1000).tolist()
    splits = parted(rows)
    assert [splits[s] for s in ("test", "val", "train")] == [
        [rows[i] for i in part] for part in (order[:100], order[100:200], order[200:])
    ]


def test_with_a_file_to_validate_on_the_test_is_held_out_of_training(tmp_path: Path) -> None:
    train, val = tmp_path / "train.csv", tmp_path / "val.csv"
    train.write_text("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(100)))
    val.write_text("text,label\n" + "".join(f"other {i},{i % 2}\n" for i in range(20)))
    config = OwnTextClasses.Config(path=str(train), val_path=str(val))
    dataset = object.__new__(OwnTextClasses)
    dataset.config, dataset.context = config, DataContext(None, tmp_path)
    splits = dataset.locate().splits
    assert {s: len(part) for s, part in splits.items()} == {"train": 90, "val": 20, "test": 10}
    assert all(text.startswith("other") for text, _ in splits["val"])
    assert not set(splits["test"]) & set(splits["train"])
