"""Figures from elsewhere stand beside what they are for, and beside nothing else."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from scratchlab.commands.suite import main as suite_command
from scratchlab.commands.sweep import main as sweep_command
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.suite import compared, plan
from scratchlab.studies.suite_file import load_suite


def references(
    folder: Path, words: list[str], **content: Any
) -> tuple[dict[str, float], list[str]]:
    """The references of the row ``forest`` where a command adds ``words``, and the remarks."""
    whole: dict[str, Any] = {
        "overrides": ["model=random_forest", "dataset=digits"],
        "runs": {"forest": {"reference": {"accuracy": 0.9}}},
        **content,
    }
    path = folder / "own.yaml"
    path.write_text(json.dumps(whole))
    suite = load_suite(str(path))
    members = plan(suite, words, StudyFolder(folder / "outputs"))
    (row,) = compared(suite, members, {})
    return dict(row.reference), list(row.remarks)


def test_a_reference_is_for_the_data_set_that_the_suite_names(tmp_path: Path) -> None:
    assert references(tmp_path, []) == ({"accuracy": 0.9}, [])
    shown, remarks = references(tmp_path, ["dataset=wine_cultivars"])
    assert shown == {}
    assert remarks == [
        "references of forest are for dataset.name=digits, here it is wine_cultivars: not shown"
    ]


@pytest.mark.parametrize(("split", "shown"), [("0", True), ("1", False)])
def test_a_reference_names_what_else_it_is_for(tmp_path: Path, split: str, shown: bool) -> None:
    meant = {"reference_for": {"dataset.name": "digits", "dataset.split_seed": 0}}
    found, remarks = references(tmp_path, [f"dataset.split_seed={split}"], **meant)
    assert bool(found) == shown and bool(remarks) != shown
    run = {"reference": {"accuracy": 0.9}, "reference_for": {"dataset.name": "digits"}}
    own = references(tmp_path, [f"dataset.split_seed={split}"], **meant, runs={"forest": run})
    assert own == ({"accuracy": 0.9}, [])


def test_references_of_the_suites_of_the_package_are_for_the_data_they_use(tmp_path: Path) -> None:
    suite = load_suite("language_models")
    rows = compared(suite, plan(suite, [], StudyFolder(tmp_path)), {})
    assert {row.label: row.reference for row in rows if row.reference} == {
        "5-gram Kneser-Ney": {"perplexity": 224.81}
    }
    rows = compared(suite, plan(suite, ["dataset=python_docs"], StudyFolder(tmp_path)), {})
    assert not any(row.reference for row in rows)


def test_commands_of_a_dry_run_can_be_copied_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own.yaml"
    evaluators = "evaluator=[classification,confusion_matrix]"
    words = ["model=random_forest", "dataset=digits", evaluators]
    path.write_text(json.dumps({"overrides": words, "runs": {"forest": None}}))
    assert suite_command([str(path), "--dry-run"]) == 0
    (command,) = [line for line in capsys.readouterr().out.splitlines() if "train" in line]
    assert shlex.split(command)[:5] == ["scratchlab", "train", *words]
    assert sweep_command(["--dry-run", *words, "model.max_depth=1,2"]) == 0
    (command,) = [line for line in capsys.readouterr().out.splitlines() if "train" in line]
    assert shlex.split(command)[2:7] == ["scratchlab", "train", *words]
