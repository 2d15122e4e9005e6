"""An n-gram model is a run like any other: trained, measured, asked, exported by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RHYME = """One for sorrow,
Two for joy,
Three for a girl,
Four for a boy,
Five for silver,
Six for gold,
Seven for a secret never to be told.
"""
RUN = "outputs/rhyme/one"


@pytest.fixture(scope="module")
def home(launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained 3-gram model of words."""
    cwd: Path = tmp_path_factory.mktemp("counted")
    (cwd / "rhyme.txt").write_text(RHYME * 20)
    done = launcher.run(
        "train",
        "model=ngram",
        "model.order=3",
        "dataset=text_file",
        "dataset.paths=[rhyme.txt]",
        "dataset.tokenizer=word",
        "dataset.block_size=8",
        "evaluator=[perplexity,perplexity_by_length,generation_samples]",
        "export=arpa",
        "threads=1",
        "name=rhyme",
        "run_id=one",
        cwd=cwd,
    )
    assert done.code == 0, done.err
    return cwd


def measured(folder: Path) -> dict[str, Any]:
    rows = json.loads((folder / "results.json").read_text())
    return {row["name"]: row for row in rows}


def test_it_is_measured_and_leaves_tables_pictures_and_an_arpa_file(home: Path) -> None:
    run = home / RUN
    row = measured(run)["perplexity"]
    assert 1 < row["value"] < 10
    assert row["settings"]["context"] == "2 in the same line"
    assert (run / "plots/perplexity_by_length.png").is_file()
    assert "sorrow" in (run / "tables/generation_samples.md").read_text()
    kenlm = pytest.importorskip("kenlm", reason="the package kenlm is not installed")
    reader = kenlm.Model(str(run / "export/model.arpa"))
    lines = (home / "rhyme.txt").read_text().lower().replace(",", " ,").replace(".", " .")
    val = lines.splitlines()[-len(lines.splitlines()) // 10 :]  # whole lines at the end
    scores = [s for line in val for s in reader.full_scores(line)]
    assert row["n"] == pytest.approx(len(scores), abs=12)
    assert 10 ** -(sum(s[0] for s in scores) / len(scores)) == pytest.approx(row["value"], rel=0.2)


@pytest.mark.slow
def test_it_goes_on_with_a_line_to_its_end(launcher: Any, home: Path) -> None:
    done = launcher.run("predict", RUN, "Two", "Seven for", "decoding.temperature=0", cwd=home)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "Two for joy,"
    refused = launcher.run("predict", RUN, "Two", "decoding.top_k=3", cwd=home).refused()
    assert "an n-gram model draws from all words" in refused


def test_it_is_measured_again_on_another_split_from_its_checkpoint(
    launcher: Any, home: Path
) -> None:
    words = ["evaluate_split=train", "evaluator=[perplexity]"]
    done = launcher.run("eval", f"{RUN}/checkpoints/best", *words, cwd=home)
    assert done.code == 0, done.err
    found = measured(home / "evaluations/latest")
    before = measured(home / RUN)["perplexity"]
    # The text has no test part of its own: what chose the checkpoint is called by its name.
    assert (found["perplexity"]["split"], before["split"]) == ("train", "val")
    assert found["perplexity"]["n"] > 5 * before["n"]
    # The rhyme stands in both splits, again and again.
    assert found["perplexity"]["value"] == pytest.approx(before["value"], rel=0.05)
