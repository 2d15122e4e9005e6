"""Suites over folds: each training once for each fold, its figures a mean over them."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml

from scratchlab.errors import UserError
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.suite import narrow, plan
from scratchlab.studies.suite_file import load_suite

SUITE: dict[str, Any] = {
    "folds": 3,
    "curves": [],
    "overrides": [
        "dataset=wine_cultivars", "evaluator=[classification]", "pictures=false", "tracker=[jsonl]",
    ],
    "runs": {
        "bayes": {"overrides": ["model=naive_bayes", "representation=null", "dataset.scale=none"]},
        "tree": {"overrides": ["model=decision_tree"]},
        "on_val": {"eval": "tree", "overrides": ["evaluate_split=val"]},
        "whole": {"overrides": ["model=decision_tree"], "folds": None},
    },
    "metrics": ["accuracy"],
}  # fmt: skip


def written(folder: Path, **changes: Any) -> str:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({**SUITE, **changes}))
    return str(path)


@pytest.mark.slow
def test_every_training_is_made_once_for_each_fold(launcher: Any, tmp_path: Path) -> None:
    words = ["suite", written(tmp_path), "name=folds", "only=[bayes,on_val,whole]"]
    done = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert done.code == 0, done.err
    folder = tmp_path / "outputs/folds"
    names = [f"{run}-seed0-fold{k}" for run in ("bayes", "tree", "on_val") for k in range(3)]
    assert {p.name for p in folder.glob("*-seed*")} == {*names, "whole-seed0"}
    found = [
        {m["name"]: m for m in json.loads((folder / name / "results.json").read_text())}["accuracy"]
        for name in names
    ]
    assert [sum(m["n"] for m in found[i : i + 3]) for i in (0, 3)] == [178, 178]
    with (folder / "tables/comparison.csv").open(newline="") as file:
        table = {row["run"]: row for row in csv.DictReader(file)}
    values = [m["value"] for m in found[:3]]
    assert float(table["bayes"]["mean"]) == pytest.approx(statistics.fmean(values))
    assert float(table["bayes"]["std"]) == pytest.approx(statistics.stdev(values))
    assert "standard deviation of 3 folds" in table["bayes"]["spread_meaning"]
    assert (table["on val"]["n"], table["whole"]["n"]) == ("3", "1")
    assert "| runs |" in (folder / "tables/comparison.md").read_text()
    again = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert again.code == 0 and "10 runs, 0 to do" in again.err


def test_runs_go_with_those_of_their_own_fold(tmp_path: Path) -> None:
    runs = {
        "base": {"overrides": ["model=minilm", "dataset=mr"]},
        "tuned": {"from": "base", "overrides": ["model=minilm", "dataset=mr"]},
        "vectors": {"overrides": ["model=skipgram", "dataset=python_docs"], "folds": None},
        "own": {"from": "vectors", "overrides": ["model=minilm", "dataset=mr"]},
    }
    content = {"folds": 2, "runs": runs}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    suite = load_suite(str(tmp_path / "s.yaml"))
    members = plan(narrow(suite, [], [0, 1]), [], StudyFolder(tmp_path / "out"))
    after = {m.job.name: m.after for m in members}
    assert after["tuned-seed1-fold1"] == ("base-seed1-fold1",)
    assert after["own-seed0-fold1"] == ("vectors-seed0",)
    assert {m.config["dataset"]["fold"] for m in members if m.run.name == "own"} == {0, 1}
    assert len(members) == 4 * 3 + 2
    words = next(m for m in members if m.job.name == "own-seed0-fold1").job.arguments
    assert "dataset.folds=2" in words and "dataset.fold=1" in words
    five = narrow(suite, ["base"], None, 5)
    assert len(plan(five, [], StudyFolder(tmp_path / "out"))) == 5

    content["runs"]["tuned"]["folds"] = None
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="base has seen other folds than tuned has"):
        load_suite(str(tmp_path / "s.yaml"))


def test_folds_of_data_that_cannot_be_divided_are_refused(tmp_path: Path) -> None:
    runs = {"base": {"overrides": ["model=skipgram", "dataset=python_docs"]}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"folds": 2, "runs": runs}))
    suite = load_suite(str(tmp_path / "s.yaml"))
    with pytest.raises(UserError, match=r"dataset\.folds: no such option"):
        plan(suite, [], StudyFolder(tmp_path / "out"))


def test_students_wait_for_their_teachers_and_name_them(tmp_path: Path) -> None:
    student = ["model=transformer_mt", "method=distill", "method.distill.level=both"]
    runs = {
        "student": {"taught_by": ["big", "other/last"], "overrides": student},
        "big": {"overrides": ["model=transformer_mt"]},
        "other": {"overrides": ["model=transformer_mt"], "seeds": [7]},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"seeds": [0, 1], "runs": runs}))
    suite = load_suite(str(tmp_path / "s.yaml"))
    members = plan(narrow(suite, ["student"], None), [], StudyFolder(tmp_path / "out" / "s"))
    assert [m.job.name for m in members[:3]] == ["big-seed0", "big-seed1", "other-seed7"]
    last = members[-1]
    assert last.job.name == "student-seed1" and last.after == ("big-seed1", "other-seed7")
    places = ["s/big-seed1/checkpoints/best", "s/other-seed7/checkpoints/last"]
    assert last.config["method"]["distill"]["teachers"] == places
    assert f"method.distill.teachers=[{','.join(places)}]" in last.job.arguments

    by_hand = {"student": {"overrides": [*student, "method.distill.teachers=[a/run]"]}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"runs": by_hand}))
    (member,) = plan(load_suite(str(tmp_path / "s.yaml")), [], StudyFolder(tmp_path / "out" / "h"))
    assert "method.distill.teachers=[a/run]" in member.job.arguments

    runs["big"]["taught_by"] = ["student"]
    runs["other"]["taught_by"] = ["nobody"]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"runs": runs}))
    with pytest.raises(UserError) as error:
        load_suite(str(tmp_path / "s.yaml"))
    assert "runs.big.taught_by: big waits for itself" in str(error.value)
    assert "runs.other.taught_by: there is no run 'nobody'" in str(error.value)
