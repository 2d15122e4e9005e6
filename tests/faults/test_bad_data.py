"""Faults of data files: the file, the line and what to do, in one message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scratchlab.data.catalog import require_data
from scratchlab.errors import ConfigError

LINES = 40
OWN = ["dataset=parallel_text", "dataset.vocab_size=200", "dataset.min_frequency=1"]
FILES = ["dataset.train_source=train.en", "dataset.train_target=train.fr"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of sentence pairs that are as they should be."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    english = [f"{words[n % 10]} {words[n // 10]} birds fly" for n in range(LINES)]
    french = [f"{n} oiseaux volent" for n in range(LINES)]
    (tmp_path / "train.en").write_text("\n".join(english) + "\n")
    (tmp_path / "train.fr").write_text("\n".join(french) + "\n")
    return tmp_path


def drop_a_line(folder: Path) -> None:
    lines = (folder / "train.fr").read_text().splitlines()
    (folder / "train.fr").write_text("\n".join(lines[:20] + lines[21:]) + "\n")


def no_utf8(folder: Path) -> None:
    lines = (folder / "train.fr").read_bytes().splitlines()
    lines[6] = "sept œufs brûlés".encode("cp1252")
    (folder / "train.fr").write_bytes(b"\n".join(lines) + b"\n")


def one_empty_line(folder: Path) -> None:
    lines = (folder / "train.fr").read_text().splitlines()
    lines[8] = ""
    (folder / "train.fr").write_text("\n".join(lines) + "\n")


def empty_files(folder: Path) -> None:
    (folder / "val.en").write_text("")
    (folder / "val.fr").write_text("")


def remove(folder: Path) -> None:
    (folder / "train.fr").unlink()


FAULTS: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "missing file": (remove, FILES, ["no file", "train.fr"]),
    "unaligned files": (drop_a_line, FILES, ["train.en", "40", "train.fr", "39", "line"]),
    "undecodable bytes": (no_utf8, FILES, ["train.fr", "line 7"]),
    "a line without a partner": (one_empty_line, FILES, ["train.fr", "line 9"]),
    "empty split": (
        empty_files,
        [*FILES, "dataset.val_source=val.en", "dataset.val_target=val.fr"],
        ["val.en"],
    ),
    "no file named": (lambda folder: None, [], ["dataset.train_source", "dataset.tsv"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_users_files_is_named_with_its_place(
    launcher: Any, tiny: list[str], folder: Path, fault: str
) -> None:
    spoil, words, expected = FAULTS[fault]
    spoil(folder)
    model = [w for w in tiny if not w.startswith("dataset")]
    message = launcher.run("train", *model, *OWN, *words, cwd=folder).refused()
    for text in expected:
        assert text in message, message


def test_the_same_files_without_a_fault_train(launcher: Any, tiny: list[str], folder: Path) -> None:
    sizes = ["dataset.val_sentences=5", "dataset.test_sentences=5", "trainer.max_steps=2"]
    model = [w for w in tiny if not w.startswith("dataset")]
    done = launcher.run("train", *model, *OWN, *FILES, *sizes, cwd=folder)
    assert done.code == 0, done.err


def test_without_the_hub_the_message_says_how_to_get_the_files_by_hand(
    launcher: Any, tmp_path: Path
) -> None:
    pytest.importorskip("datasets")
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    words = ["train", "model=transformer_mt", "dataset=multi30k_en_fr"]
    message = launcher.run(*words, cwd=tmp_path, environment=environment).refused()
    assert "hub cannot be reached" in message
    assert "https://github.com/multi30k/dataset" in message
    assert "SCRATCHLAB_DATA" in message and "multi30k/train.en.gz" in message


def test_lines_to_translate_that_are_no_utf8_are_named(
    launcher: Any, trained: Any, tmp_path: Path
) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"a bird\nb\xe9b\xe9\n")
    message = launcher.run("predict", str(trained.path), f"input={path}", cwd=tmp_path).refused()
    assert f"{path}, line 2: byte 0xe9 is not UTF-8" in message
    message = launcher.run("predict", str(trained.path), "input=nope", cwd=tmp_path).refused()
    assert "nope: cannot be read (No such file" in message
    message = launcher.run("predict", str(trained.path), "input=/dev/zero", cwd=tmp_path).refused()
    assert "/dev/zero is a device" in message


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["train", "model=mlp", "dataset=wine_quality"], "winequality-red.csv"),
        (["train", "model=gpt", "dataset=wikitext2"], "wikitext2/"),
        (["sweep", "model=logistic", "dataset=mnist", "model.l2=0.1,0.2"], "mnist/"),
        (["suite", "wine"], "winequality-red.csv"),
        (["suite", "language_models", "dataset=wikitext2"], "wikitext2/"),
    ],
)
def test_missing_files_are_one_line_before_anything_is_made(
    light_launcher: Any, tmp_path: Path, words: list[str], file: str
) -> None:
    """Of a suite of 55 runs, each started and failed; the hub was asked for half a minute."""
    data = tmp_path / "data"
    data.mkdir()
    for environment in ({"SCRATCHLAB_DATA": str(data)}, {"SCRATCHLAB_DATA": ""}):
        environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
        message = light_launcher.run(*words, cwd=tmp_path, environment=environment).refused()
        assert f"no file {data}" in message or "is not set" in message
        assert "put them into" in message and file in message
        assert len(message.splitlines()) <= 3
        assert not (tmp_path / "outputs").exists()


def test_a_training_that_is_refused_while_its_data_are_read_leaves_no_folder(
    light_launcher: Any, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1\n2,3,4\n")
    words = ["train", "model=logistic", "dataset=table", "dataset.path=bad.csv"]
    for named in ([], ["run_id=x"]):
        done = light_launcher.run(*words, "dataset.target=b", *named, cwd=tmp_path)
        assert "bad.csv, line 2: 1 cell" in done.refused()
        assert not list((tmp_path / "outputs").glob("*"))


def test_files_of_ones_own_that_are_not_there_are_all_named_before_anything_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "there.txt").write_text("a text\n")
    paths = ["there.txt", "nowhere.txt", str(tmp_path / "no.gz")]
    configs: list[dict[str, Any]] = [
        {"dataset": {"name": "text_file", "paths": paths}, "data_dir": str(tmp_path)},
        {"dataset": {"name": "document_questions", "path": str(tmp_path), "questions": "q.jsonl"}},
    ]
    with pytest.raises(ConfigError) as refused:
        require_data(configs)
    assert [f.where for f in refused.value.faults] == ["dataset.paths"] * 2 + ["dataset.questions"]
    assert f"nor {tmp_path / 'nowhere.txt'}" in str(refused.value)
    require_data(
        [{"dataset": {"name": "text_file", "paths": paths[:1]}, "data_dir": str(tmp_path)}]
    )
