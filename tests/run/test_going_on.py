"""What a run records when it goes on, and what it notices of its surroundings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from scratchlab.cli import main
from scratchlab.data.contract import Provenance
from scratchlab.errors import UserError
from scratchlab.run.manifest import begun, changed_data, gone_on
from scratchlab.studies.runs import unlike_data

SESSION: dict[str, Any] = {
    "command": ["scratchlab", "train"],
    "started": "2026-01-01T00:00:00+00:00",
    "python": "3.11.7",
    "packages": {"torch": "2.9.0", "numpy": "2.0.0"},
    "machine": {"torch_threads": 2},
    "data": {"kind": "files", "sha256": {"train": "aa", "test": "bb"}},
}


def session(**changes: Any) -> dict[str, Any]:
    return {**SESSION, **changes}


def test_the_same_data_and_surroundings_are_gone_on_with_in_silence() -> None:
    first = begun(SESSION, ["seed=1"])
    later = session(started="2026-01-02T00:00:00+00:00", command=["scratchlab", "train", "x"])
    content, notes = gone_on(first, later, ["trainer.epochs=3"], accept=False)
    assert notes == []
    assert content["started"] == SESSION["started"] and content["overrides"] == ["seed=1"]
    assert content["resumed"][0]["started"] == "2026-01-02T00:00:00+00:00"
    assert content["resumed"][0]["overrides"] == ["trainer.epochs=3"]


def test_other_data_are_refused_unless_they_are_accepted_and_all_hashes_stay() -> None:
    first = begun(SESSION, [])
    reversed_text = {"kind": "files", "sha256": {"train": "cc", "test": "bb"}}
    with pytest.raises(UserError, match=r"the data of this run have changed.*: train") as refused:
        gone_on(first, session(data=reversed_text), [], accept=False)
    assert "accept_changed_data=true" in str(refused.value)
    content, notes = gone_on(first, session(data=reversed_text), [], accept=True)
    assert notes == ["its data have changed: train"]
    assert content["data"]["sha256"]["train"] == "aa"
    assert content["resumed"][0]["data"]["sha256"]["train"] == "cc"
    assert content["resumed"][0]["changed_data"] == ["train"]
    again, notes = gone_on(content, session(data=reversed_text), [], accept=False)
    assert notes == [] and len(again["resumed"]) == 2  # what was accepted stays accepted
    with pytest.raises(UserError, match="train"):
        gone_on(again, SESSION, [], accept=False)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"/a/x.txt": "1", "/a/y.txt": "2"}, {"/b/x.txt": "1", "/b/y.txt": "2"}, []),  # moved
        ({"x": "1", "y": "2"}, {"x": "2", "y": "1"}, ["x", "y"]),  # exchanged
        ({"x": "1"}, {"x": "1", "y": "2"}, ["y"]),  # one more
        ({"x": "1", "y": "2"}, {"x": "1"}, ["x", "y"]),  # one less
        ({}, {"x": "1"}, []),  # a run of before did not say
    ],
)
def test_data_are_the_same_if_their_content_is(
    before: dict[str, str], now: dict[str, str], expected: list[str]
) -> None:
    assert changed_data({"sha256": before}, {"sha256": now}) == expected


def test_other_versions_and_threads_are_warned_of() -> None:
    packages = {"torch": "2.10.0", "numpy": "2.0.0", "datasets": "4.0"}
    later = session(python="3.12.0", packages=packages, machine={"torch_threads": 1})
    _, notes = gone_on(begun(SESSION, []), later, [], accept=False)
    assert notes == [
        "python 3.11.7 is now 3.12.0; torch 2.9.0 is now 2.10.0; threads 2 is now 1: "
        "the last bits may come out otherwise"
    ]


def write_table(path: Path, sign: int) -> None:
    rows = [f"{x},{sign * 2 * x + 1}" for x in range(60)]
    path.write_text("\n".join(["x,y", *rows]) + "\n")


def test_a_run_keeps_how_it_was_begun_and_refuses_another_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    write_table(table, 1)
    words = ["model=linear", "model.solver=gradient", "model.epochs=4", "dataset=table"]
    words += [f"dataset.path={table}", "dataset.target=y", "name=x", "run_id=one"]
    words += [f"output_dir={tmp_path}", "tracker=[jsonl]"]
    assert main(["train", *words]) == 0
    run = tmp_path / "x/one"
    first = json.loads((run / "manifest.json").read_text())
    times = (run / "results_timed.json").read_bytes()

    capfd.readouterr()
    assert main(["train", f"resume={run}"]) == 0
    assert "is done: training was complete after " in capfd.readouterr().err
    assert json.loads((run / "manifest.json").read_text()) == first
    assert (run / "results_timed.json").read_bytes() == times

    assert main(["train", f"resume={run}", "model.epochs=6"]) == 0
    then = json.loads((run / "manifest.json").read_text())
    assert then["command"] == first["command"] and then["started"] == first["started"]
    assert then["resumed"][0]["command"][-1] == "model.epochs=6"
    overrides = yaml.safe_load((run / "overrides.yaml").read_text())
    assert overrides == [*words, "model.epochs=6"]

    config = (run / "config.yaml").read_bytes()
    write_table(table, -1)
    assert main(["train", f"resume={run}", "model.epochs=8"]) == 2
    assert "the data of this run have changed since it was trained" in capfd.readouterr().err
    assert (run / "config.yaml").read_bytes() == config
    assert json.loads((run / "status.json").read_text())["status"] == "done"
    accepted = ["train", f"resume={run}", "model.epochs=8", "accept_changed_data=true"]
    assert main(accepted) == 0
    last = json.loads((run / "manifest.json").read_text())
    assert len(last["resumed"]) == 2 and last["data"] == first["data"]
    assert last["resumed"][1]["data"] != first["data"]
    assert "accept_changed_data: false" in (run / "config.yaml").read_text()

    write_table(table, 1)
    capfd.readouterr()
    assert main(["eval", str(run), "tracker=[console]"]) == 0
    assert "the data have changed since the run was trained: " in capfd.readouterr().err
    other = tmp_path / "x/two"
    shutil.copytree(run, other)
    (other / "manifest.json").write_text(json.dumps(first))
    assert unlike_data([run, other]) == ["two"] and unlike_data([run, run]) == []


@pytest.mark.parametrize(
    ("said", "text", "changed"),
    [
        ("generated, seed 0: 300 train pairs", "aa", []),
        ("generated, seed 1: 300 train pairs", "aa", ["phrasebook", "text"]),
        ("generated, seed 0: 300 train pairs", "bb", ["text"]),
    ],
)
def test_runs_that_named_generated_data_by_its_sources_go_on(
    said: str, text: str, changed: list[str]
) -> None:
    sources = {"lexicon.py": "11", "corpus.py": "22", "text": text}
    before = {"kind": "embedded", "description": said, "sha256": sources}
    now = Provenance.generated("phrasebook", 1, "generated, seed 0: 300 train pairs")
    now.sha256["text"] = "aa"
    assert changed_data(before, vars(now)) == changed
    other = Provenance.generated("phrasebook", 2, now.description)
    assert changed_data(vars(now), vars(other)) == ["phrasebook"]
    code = {"kind": "files", "description": "your files", "sha256": {"a.py": "11"}}
    assert changed_data(code, {**code, "sha256": {"a.py": "22"}}) == ["a.py"]
