"""The parts of docs/add-a-part.md, as written there, in every verb: from outside and inside."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scratchlab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
OWN = ["--config-dir", "configs"]


@pytest.fixture
def package(own_parts: list[str], tmp_path: Path) -> list[str]:
    """The page's files as an installed package; the words of a tiny training of its model."""
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\nthe dog sat on the log\n" * 40, encoding="utf-8")
    return [
        "dataset=text_file",
        f"dataset.paths=[{text}]",
        "dataset.test_fraction=0.1",
        "dataset.block_size=16",
        "model.d_model=8",
        "model.d_hidden=8",
        "trainer.max_steps=3",
        "threads=1",
        f"cache_dir={tmp_path / 'cache'}",
    ]


def run(verb: str, *words: str) -> int:
    module = importlib.import_module(f"scratchlab.commands.{verb}")
    code: int = module.main(list(words))
    return code


def figures(folder: Path) -> dict[str, float]:
    return {r["name"]: r["value"] for r in json.loads((folder / "results.json").read_text())}


def test_the_page_shows_a_file_and_a_choice_for_each_kind_of_part(shown: dict[str, str]) -> None:
    assert len(shown) == 8
    assert {p.partition("/")[2].partition("/")[0] for p in shown} == {
        *("models", "data", "methods", "evaluation"),
        *("model", "dataset", "method", "evaluator"),
    }


@pytest.mark.slow
def test_the_model_works_in_every_verb(
    package: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "model", "window_lm", *OWN) == 0
    assert "model.window=8 " in capfd.readouterr().out
    assert run("train", "model=window_lm", "model.window=3", "run_id=one", *OWN, *package) == 0
    assert "perplexity" in capfd.readouterr().out
    folder = "outputs/window_lm-text_file/one"
    assert run("eval", folder) == 0
    assert "perplexity" in capfd.readouterr().out
    assert run("predict", folder, "the cat", "decoding.max_new_tokens=4") == 0
    assert len(capfd.readouterr().out.split()) >= 2
    words = [w for w in package if w != "threads=1"]
    assert run("inspect", "model=window_lm", *OWN, *words) == 0
    sweep = ["model.window=2,4", "sweep.workers=1", "name=tuned"]
    assert run("sweep", "model=window_lm", *sweep, *OWN, *package) == 0
    capfd.readouterr()
    assert run("verify", "model=window_lm", *OWN, *package) == 0
    found = json.loads(Path("outputs/window_lm-text_file/verify.json").read_text())["findings"]
    assert {f["result"] for f in found if f["check"] == "kill"} == {"bit-equal"}
    assert {f["why"] for f in found if f["check"] == "cache"} >= {"the model keeps no cache"}
    (tmp_path / "mine.yaml").write_text(
        "description: windows\nruns:\n  small: {overrides: [model.window=2]}\n"
        "metrics: [perplexity]\n"
        f"overrides: [model=window_lm, {', '.join(repr(w) for w in package[:-2])}]\n"
    )
    assert run("suite", "mine.yaml", "threads=1", f"cache_dir={tmp_path / 'cache'}", *OWN) == 0
    assert "small" in capfd.readouterr().out


def test_the_model_generates_and_is_quantized_with_a_word(
    package: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["model=window_lm", *OWN, *[w for w in package if not w.startswith("threads")]]
    with pytest.raises(UserError) as error:
        run("inspect", *words, "method=nf4")
    assert "Layers: layer, out, output." in str(error.value)
    assert run("inspect", *words, "method=nf4", "method.nf4.targets=[layer]") == 0
    said = capfd.readouterr().out
    assert "Matrices that stay floats" in said and "embedding" in said


def test_the_method_trains_biases_and_nothing_else(
    package: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["model=window_lm", "method=bitfit", *OWN]
    with pytest.raises(UserError, match="no such bias"):
        run("train", *words, "method.bitfit.layers=attention", *package)
    assert run("train", *words, "run_id=one", *package) == 0
    found = figures(tmp_path / "outputs/window_lm-text_file/one")
    assert found["trainable_parameters"] == 2 * 8 + 8 * 8  # out, layer, and a norm of 64
    assert run("inspect", *words, *[w for w in package if not w.startswith("threads")]) == 0
    assert re.search(r"biases, trained\D+80\b", capfd.readouterr().out)


def test_the_data_set_and_the_evaluator_work_in_every_verb_that_they_have(
    package: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    moons = ["dataset=two_moons", "evaluator=[classification,calibration]", *OWN, "threads=1"]
    assert run("list", "evaluator", "calibration", *OWN) == 0
    assert run("list", "dataset", "two_moons", *OWN) == 0
    assert "dataset.noise=0.2 " in capfd.readouterr().out
    assert run("train", "model=logistic", "run_id=one", *moons) == 0
    folder = tmp_path / "outputs/logistic-two_moons/one"
    found = figures(folder)
    assert 0.75 < found["accuracy"] < 1 and 0 < found["calibration_error"] < 0.3
    assert run("eval", str(folder), "evaluator.calibration.bins=1") == 0
    (measured,) = (folder / "evaluations").glob("[0-9]*")
    assert figures(measured)["accuracy"] == found["accuracy"]
    assert figures(measured)["calibration_error"] < found["calibration_error"]
    capfd.readouterr()
    assert run("predict", str(folder), "0,1") == 0
    assert "upper" in capfd.readouterr().out
    assert run("data", "describe", "two_moons") == 0
    assert "across" in capfd.readouterr().out


@pytest.mark.slow
def test_the_same_files_work_inside_the_package(shown: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "scratchlab", tmp_path / "scratchlab")
    shutil.copytree(ROOT / "configs", tmp_path / "scratchlab/configs", dirs_exist_ok=True)
    for path, text in shown.items():
        place = tmp_path / (path if path.startswith("scratchlab/") else f"scratchlab/{path}")
        assert not place.exists()
        place.write_text(text, encoding="utf-8")
    place = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for line in (
        "list model window_lm",
        "inspect model=window_lm method=bitfit",
        "data describe two_moons",
        "train model=logistic dataset=two_moons evaluator=[classification,calibration] threads=1",
    ):
        command = [sys.executable, "-m", "scratchlab", *line.split()]
        done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    (folder,) = (tmp_path / "outputs/logistic-two_moons").glob("[0-9]*")
    assert figures(folder)["calibration_error"] > 0
