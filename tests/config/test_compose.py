"""The composition of YAML files, kept for runs that are forked from one process."""

from __future__ import annotations

import os
from pathlib import Path

from scratchlab.config.compose import compose
from scratchlab.config.groups import _put_together


def test_commands_that_choose_the_same_files_share_their_composition_and_nothing_else() -> None:
    first = compose(["model=logistic", "model.learning_rate=0.3", "evaluator.classification=null"])
    before = _put_together.cache_info().misses
    second = compose(["model=logistic", "seed=4"])
    assert _put_together.cache_info().misses == before
    assert (first.config["model"]["learning_rate"], first.config["seed"]) == (0.3, 0)
    assert second.config["model"]["learning_rate"] != 0.3 and second.config["seed"] == 4
    assert "classification" in second.config["evaluator"]
    assert "classification" not in first.config["evaluator"]


def test_a_file_that_has_changed_is_composed_anew(tmp_path: Path) -> None:
    path = tmp_path / "experiment" / "mine.yaml"
    path.parent.mkdir()
    text = "# @package _global_\ndefaults: [{override /model: logistic}, _self_]\nseed: 1\n"
    path.write_text(text)
    assert compose(["experiment=mine"], config_dir=str(tmp_path)).config["seed"] == 1
    path.write_text(text.replace("1", "2"))
    os.utime(path, (1, 1))
    assert compose(["experiment=mine"], config_dir=str(tmp_path)).config["seed"] == 2
