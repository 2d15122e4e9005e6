"""What the suites that come along say of themselves, and what a suite's folder is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scratchlab.config.compose import compose
from scratchlab.errors import UserError
from scratchlab.registry import parts
from scratchlab.run.decisions import STUDY_RECORD
from scratchlab.run.folder import find_run
from scratchlab.studies.suite_file import Suite, load_suite, suite_files

ALSO = {"biographies": {"birthplaces"}}  # what is asked about made-up people


def datasets_of(suite: Suite) -> set[str]:
    """The data sets that the trainings of a suite name, or that their models bring."""
    used, others = set(), set()
    for run in suite.runs:
        words = dict(w.partition("=")[::2] for w in [*suite.overrides, *run.overrides])
        if "dataset" in words:
            used.add(words["dataset"])
        elif not run.is_eval:
            others |= {(group, words[group]) for group in ("experiment", "model") if group in words}
    for group, choice in others:
        used.add(compose([f"{group}={choice}"]).config["dataset"]["name"])
    return used


def test_descriptions_name_the_data_that_their_suites_use() -> None:
    phrases = {re.sub(r"[^a-z0-9]", "", name): name for name in parts("dataset")}
    wrong = {}
    for name in suite_files():
        suite = load_suite(name)
        used = datasets_of(suite) | ALSO.get(name, set())
        said = re.sub(r"[^a-z0-9]", "", suite.description.lower())
        named = {part for phrase, part in phrases.items() if len(phrase) > 3 and phrase in said}
        # One name may be a part of the other: digits, noisy_digits.
        if extra := {n for n in named if not any(n in u or u in n for u in used)}:
            wrong[name] = (extra, used)
    assert not wrong


def test_the_folder_of_a_suite_is_no_run_and_its_runs_are_named(tmp_path: Path) -> None:
    for name in ("a-seed0", "b-seed0"):
        (tmp_path / "wine" / name).mkdir(parents=True)
        (tmp_path / "wine" / name / "config.yaml").write_text("name: wine\n")
    (tmp_path / "wine" / "latest").symlink_to("b-seed0")
    assert find_run("wine", tmp_path).name == "b-seed0"
    (tmp_path / "wine" / STUDY_RECORD).write_text("[]")
    for given in ("wine", str(tmp_path / "wine")):
        with pytest.raises(UserError, match="is a suite or a sweep, not a run") as caught:
            find_run(given, tmp_path)
        assert "a-seed0" in caught.value.hint and "b-seed0" in caught.value.hint
        assert "latest" not in caught.value.hint
    assert find_run("wine/a-seed0", tmp_path).name == "a-seed0"
