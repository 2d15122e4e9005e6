"""A run finds its data from whatever folder it is measured from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from scratchlab.commands.eval import main as evaluate
from scratchlab.config.check import SECTIONS
from scratchlab.config.compose import compose
from scratchlab.config.root import root_options
from scratchlab.lab import train as experiment
from scratchlab.registry import section_parts


def write_table(path: Path, step: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{i % 7},{i % 2 + step * (i % 3)},{'ab'[i % 2]}" for i in range(60)]
    path.write_text("\n".join(["x,y,kind", *rows]) + "\n")


def test_a_run_of_relative_paths_is_measured_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    write_table(home / "data" / "t.csv", 0.0)
    write_table(away / "data" / "t.csv", 9.0)  # of the same name, which is not meant
    monkeypatch.chdir(home)
    words = ["model=logistic", "dataset=table", "dataset.path=data/t.csv", "run_id=one",
             "name=x", "tracker=[jsonl]", "evaluator=[classification]"]  # fmt: skip
    run = experiment.train(compose(words).config, words, ["train"])
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["dataset"]["path"] == str(home / "data/t.csv")
    assert "dataset.path=data/t.csv" in yaml.safe_load((run / "overrides.yaml").read_text())
    monkeypatch.chdir(away)
    assert evaluate([str(home / run)]) == 0
    (folder,) = (home / run / "evaluations").glob("2*")
    manifests = [json.loads((f / "manifest.json").read_text()) for f in (home / run, folder)]
    assert manifests[0]["data"]["sha256"] == manifests[1]["data"]["sha256"]
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["output_dir"] == str(home / "outputs")


def test_a_run_made_before_paths_were_whole_is_measured_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "t.csv", 0.0)
    monkeypatch.chdir(tmp_path)
    words = ["model=logistic", "dataset=table", "dataset.path=t.csv", "run_id=one", "name=x",
             "tracker=[jsonl]", "evaluator=[classification]"]  # fmt: skip
    run = experiment.train(compose(words).config, words, ["train"])
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["dataset"]["path"] = "t.csv"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert evaluate([str(run)]) == 0


def test_paths_are_whole_where_there_is_a_file_and_names_stay_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.txt.gz").write_bytes(b"")
    (tmp_path / "root" / "texts").mkdir(parents=True)
    (tmp_path / "root" / "texts" / "b.txt").write_bytes(b"")
    (tmp_path / "here" / "smollm2").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    words = ["model=gpt", "dataset=text_file", "dataset.paths=[a.txt,texts/b.txt,gone.txt]",
             "data_dir=../root", "dataset.tokenizer=pretrained", "dataset.checkpoint=smollm2",
             "init_from=some/run"]  # fmt: skip
    config = compose(words).config
    packed, below, gone = config["dataset"]["paths"]
    assert (packed, gone) == (str(tmp_path / "here" / "a.txt"), "gone.txt")
    assert Path(below).is_absolute() and Path(below).samefile(tmp_path / "root/texts/b.txt")
    assert Path(config["data_dir"]).is_absolute()
    assert config["dataset"]["checkpoint"] == "smollm2" and config["init_from"] == "some/run"
    (tmp_path / "here" / "some" / "run").mkdir(parents=True)
    assert compose(words).config["init_from"] == str(tmp_path / "here" / "some" / "run")


def test_every_option_that_speaks_of_a_file_or_folder_says_which_path_it_is() -> None:
    # Names of folders that are made, and of files of a known layout below the data folder.
    others = {"run_id", "name", "output_dir", "train_file", "test_file", "test_set", "pattern"}
    declared = list(root_options())
    for section in SECTIONS:
        declared += [o for part in section_parts(section).values() for o in part.options]
    words = {"file", "files", "folder", "path"}
    silent = {
        option.name: option.meaning
        for option in declared
        if "str" in option.type
        and option.limits.get("choices") is None
        and words & set(option.meaning.lower().split())
        and option.limits.get("path") is None
        and option.name not in others
    }
    assert silent == {}
