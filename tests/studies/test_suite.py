"""Suites: several runs that belong together, through the command line."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import outcomes

PIPELINE = {
    "seeds": [0, 1],
    "runs": {
        "small": {"label": "small model", "reference": {"perplexity": 12.5}},
        "wide": {"overrides": ["model.d_model=32"], "seeds": [0]},
        "tuned": {"from": "small", "overrides": ["optimizer.lr=1e-3"], "seeds": [0]},
        "measured": {
            "eval": "small/last",
            "row": "small",
            "overrides": ["evaluator=[size,perplexity]", "evaluate_split=val"],
        },
    },
    "metrics": ["perplexity", "parameters"],
    "scatter": {"size": {"x": "training_time", "y": "perplexity", "log": ["x"]}},
}
# Files of a run that hold no times, and so are equal in equal runs.
TRAINED = [
    "metrics.jsonl",
    "results.json",
    "config.yaml",
    "checkpoints/last/model.safetensors",
    "checkpoints/last/optimizer.safetensors",
    "checkpoints/best/model.safetensors",
]
RUNS = ["small-seed0", "small-seed1", "wide-seed0", "tuned-seed0"]
EVALUATIONS = ["measured-seed0", "measured-seed1"]
PICTURES = [
    "plots/bars_perplexity.png",
    "plots/curves_val_loss.png",
    "plots/scatter_size.png",
]


def values(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["run"], row["metric"]): row for row in csv.DictReader(file)}


def measured(folder: Path, run: str, metric: str) -> float:
    results = json.loads((folder / run / "results.json").read_text())
    return next(r["value"] for r in results if r["name"] == metric)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a finished suite that must not depend on how it came about."""
    trained = [p.parent for p in folder.glob("*/checkpoints")]
    files = [run / name for run in trained for name in TRAINED]
    files += [p for name in ("*/results.json", "tables/*", "plots/*") for p in folder.glob(name)]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if "timed" not in path.name
    }


def test_a_suite_trains_starts_from_others_measures_and_compares(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    words = ["suite", suite(**PIPELINE), "workers=2"]
    done = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert done.code == 0, done.err
    folder = tmp_path / "outputs/tiny"
    assert {name: o["status"] for name, o in outcomes(folder).items()} == dict.fromkeys(
        [*RUNS, *EVALUATIONS], "done"
    )

    # The fine-tuned run began where the other's best checkpoint ended, with the same seed.
    log = (folder / "logs/tuned-seed0.log").read_text()
    assert "starts from the weights of" in log and "small-seed0/checkpoints/best" in log

    # What an evaluation measured stands in the row of the run that it names, over the seeds.
    table = values(folder / "tables/comparison.csv")
    found = [measured(folder, f"measured-seed{seed}", "perplexity") for seed in (0, 1)]
    row = table["small model", "perplexity"]
    mean = sum(found) / 2
    assert float(row["mean"]) == pytest.approx(mean)
    assert float(row["std"]) == pytest.approx(abs(found[0] - found[1]) / 2**0.5)
    assert (row["n"], row["reference"]) == ("2", "12.5")
    assert [float(v) for v in row["values"].split()] == found
    assert float(table["wide", "perplexity"]["mean"]) == measured(
        folder, "wide-seed0", "perplexity"
    )
    assert ("measured", "perplexity") not in table
    assert table["small model", "parameters"]["mean"]
    assert ("wide", "parameters") not in table

    markdown = (folder / "tables/comparison.md").read_text()
    header, _, *lines = markdown.splitlines()
    assert "perplexity (per character) ↓" in header and "reference perplexity" in header
    assert " ± " in lines[0] and "12.50" in lines[0] and " ± " not in lines[1]
    assert "small model" in done.out and " ± " in done.out
    for name in PICTURES:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")

    # The same again: nothing runs, nothing changes. (An option that did not exist when a run was
    # made has its default.)
    config = folder / "wide-seed0/config.yaml"
    assert "  monitor: val/loss\n" in config.read_text()
    config.write_text(config.read_text().replace("  monitor: val/loss\n", ""))
    before = content(folder)
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*/status.json")}
    again = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert again.code == 0 and "6 runs, 0 to do" in again.err
    assert content(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/status.json")} == stamps


@pytest.mark.slow
def test_a_suite_killed_at_any_moment_ends_with_the_same_bits(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    runs = {"one": {}, "two": {"from": "one"}, "three": {"eval": "two"}}
    words = ["suite", suite(runs=runs), "workers=2"]
    whole = launcher.run(*words, "output_dir=whole", cwd=tmp_path, fork_runs=True)
    assert whole.code == 0, whole.err
    chance = random.Random(0)
    folder = tmp_path / "killed/tiny"
    kills = 0
    for _ in range(40):
        command = launcher.start(*words, "output_dir=killed", cwd=tmp_path, fork_runs=True)
        wanted = progress(folder) + chance.randint(1, 12)
        if command.wait_until(lambda wanted=wanted: progress(folder) >= wanted):
            time.sleep(chance.uniform(0, 0.03))
        if command.running():
            command.signal(signal.SIGKILL)
        done = command.wait()
        if done.code == 0:
            break
        assert done.code == -signal.SIGKILL, done.err
        kills += 1
    assert done.code == 0 and kills >= 4, kills
    assert "failed" not in {o["status"] for o in outcomes(folder).values()}
    assert content(folder) == {
        name: data.replace(b"output_dir: whole", b"output_dir: killed")
        for name, data in content(tmp_path / "whole/tiny").items()
    }


def progress(folder: Path) -> int:
    """Lines of metrics and finished runs: a clock of what a suite has done."""
    lines = sum(path.read_bytes().count(b"\n") for path in folder.glob("*/metrics.jsonl"))
    return lines + len(list(folder.glob("*/results.json")))


def test_a_run_that_fails_is_recorded_and_the_others_go_on(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    path = suite(
        runs={
            "bad": {},
            "after": {"from": "bad"},
            "good": {},
        }
    )
    blocked = tmp_path / "outputs/tiny/bad-seed0"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the run's folder should be")
    done = launcher.run("suite", path, cwd=tmp_path, fork_runs=True)
    assert done.code == 1
    found = outcomes(tmp_path / "outputs/tiny")
    assert {name: o["status"] for name, o in found.items()} == {
        "bad-seed0": "failed",
        "after-seed0": "left out",
        "good-seed0": "done",
    }
    assert "a file is in the way" in found["bad-seed0"]["reason"]
    assert "a file is in the way" in (tmp_path / found["bad-seed0"]["log"]).read_text()
    assert found["bad-seed0"]["log"] in done.err
    table = (tmp_path / "outputs/tiny/tables/comparison.md").read_text()
    assert "bad-seed0 failed" in table and "after-seed0 left out: bad-seed0 is not done" in table

    blocked.unlink()
    again = launcher.run("suite", path, cwd=tmp_path, fork_runs=True)
    assert again.code == 0 and "3 runs, 2 to do" in again.err, again.err
    assert "missing" not in (tmp_path / "outputs/tiny/tables/comparison.md").read_text()


def test_a_run_killed_from_outside_is_recorded_and_goes_on_in_the_next_call(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    path = suite(runs={"one": {"overrides": ["trainer.max_steps=4000"]}})
    folder = tmp_path / "outputs/tiny/one-seed0"
    command = launcher.start("suite", path, cwd=tmp_path, fork_runs=True)
    assert command.wait_until(lambda: progress(folder.parent) > 10)
    os.kill(json.loads((folder / "status.json").read_text())["process"], signal.SIGKILL)
    done = command.wait()
    assert done.code == 1
    assert "killed by SIGKILL" in outcomes(folder.parent)["one-seed0"]["reason"]
    # A run with a checkpoint does not go on as another.
    words = ["suite", path, "one.trainer.max_steps=30"]
    message = launcher.run(*words, cwd=tmp_path, fork_runs=True).refused()
    assert "was made with trainer.max_steps=4000, now it is 30" in message
    assert "name=NAME" in message


@pytest.mark.slow
def test_ctrl_c_saves_every_run_and_the_same_command_goes_on(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    runs = {"one": {}, "two": {"overrides": ["model.d_model=32"]}, "late": {}}
    path = suite(runs=runs)
    words = ["suite", path, "workers=2", "trainer.max_steps=300"]
    folder = tmp_path / "outputs/tiny"
    command = launcher.start(*words, cwd=tmp_path, fork_runs=True)
    busy = ["one-seed0", "two-seed0"]
    assert command.wait_until(lambda: all(progress_of(folder / r) > 3 for r in busy))
    pids = [json.loads((folder / r / "status.json").read_text())["process"] for r in busy]
    command.signal(signal.SIGINT)
    done = command.wait()
    assert done.code == 130 and "Traceback" not in done.err
    assert "SIGINT: asking 2 runs to save and stop" in done.err
    assert "0 of 3 runs are done; the same command goes on" in done.err
    for run, pid in zip(busy, pids, strict=True):
        assert json.loads((folder / run / "status.json").read_text())["status"] == "stopped"
        assert not Path(f"/proc/{pid}").exists()
    assert {o["status"] for o in outcomes(folder).values()} == {"stopped"}
    assert not (folder / "late-seed0").exists()
    again = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert again.code == 0, again.err
    assert "one-seed0: started again" in again.err and "late-seed0: started (" in again.err
    assert "goes on from update" in (folder / "logs/one-seed0.log").read_text()


def progress_of(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_words_of_the_command_go_to_every_run_or_to_one(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    path = suite(runs={"one": {}, "two": {}, "three": {"from": "two"}})
    words = [path, "seeds=[3,4]", "only=[three,one]", "optimizer=adam", "two.model.n_heads=4"]
    done = launcher.run("suite", *words, "three.model.n_heads=4", "--dry-run", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "6 runs" in done.out
    text = " ".join(done.out.replace("│", " ").split())
    assert text.count("optimizer=adam ") == 6
    assert text.count("model.n_heads=4") == 4
    for name in ("one-seed3", "two-seed4", "three-seed3"):
        assert f"run_id={name}" in text
    assert not (tmp_path / "outputs").exists()
    part = launcher.run("suite", path, "only=[three]", "--dry-run", cwd=tmp_path)
    assert "2 runs" in part.out and "one-seed0" not in part.out


def test_another_data_set_may_be_chosen_for_the_whole_suite(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    path = suite(runs={"one": {}}, overrides=["model=gpt", "model.d_model=16", "model.n_heads=2"])
    text = tmp_path / "text.txt"
    words = ["dataset=text_file", f"dataset.paths=[{text}]", "dataset.test_fraction=0.1"]
    words += ["dataset.tokenizer=char", "trainer.max_steps=3", "dataset.block_size=16"]
    done = launcher.run("suite", path, *words, cwd=tmp_path, fork_runs=True)
    assert done.code == 0, done.err
    assert "name: text_file" in (tmp_path / "outputs/tiny/one-seed0/config.yaml").read_text()
    # With another data set, what is done is another run.
    other = launcher.run("suite", path, "dataset=python_docs", cwd=tmp_path, fork_runs=True)
    assert "was made with" in other.refused()


def test_mistakes_are_named_before_anything_runs(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    def message(*words: str) -> str:
        text = launcher.run("suite", *words, cwd=tmp_path).refused()
        assert not (tmp_path / "outputs").exists()
        return text

    assert "there is no suite 'language_modls'" in message("language_modls")
    assert "Did you mean 'language_models'?" in message("language_modls")
    good = suite(runs={"one": {}, "two": {"overrides": ["model.d_modell=8"]}})
    assert "only: there is no run 'tow'" in message(good, "only=[tow]")
    assert "'on' is neither an option nor a run" in message(good, "on.model.d_model=8")
    assert "Did you mean 'one'?" in message(good, "on.model.d_model=8")
    assert "workers" in message(good, "workers=0")
    both = message(good, "optimizer.lrr=1")
    assert "two: model.d_modell: no such option" in both and "optimizer.lrr" in both
    bad = suite(
        runs={
            "a": {"from": "nothing"},
            "b": {"from": "c"},
            "c": {"from": "b"},
            "d": {"from": "a", "eval": "a"},
            "e": {"overides": []},
            "model": {},
            "f": {"eval": "a", "row": "z"},
            "g": {"eval": "f"},
            "h": {"row": "a"},
        }
    )
    text = message(bad)
    for part in (
        "runs.a.from: there is no run 'nothing'",
        "runs.b.from: b waits for itself",
        "runs.d: has both from and eval",
        "runs.e.overides: no such option",
        "runs.model: is the name of a group",
        "runs.f.row: there is no row 'z'",
        "runs.g.eval: f is an evaluation and has no weights",
        "runs.h.row: is for evaluations only",
    ):
        assert part in text, (part, text)
    text = message(
        suite(
            runs={"a": {}, "b": {"eval": "a", "row": "a"}},
            scatter={
                "p": {"x": "size"},
                "q": {"x": "size", "y": "loss", "log": ["z"]},
                "r": {"x": "size", "y": "loss", "lines": ["b"]},
                "s": {"x": "size", "y": "loss", "lne": []},
                "t": "size",
                "a/b": {},
            },
        )
    )
    for part in (
        "scatter.p.y: must be set (metric upwards)",
        "scatter.q.log: 'z' is not a choice",
        "scatter.r.lines: there is no row 'b'",
        "scatter.s.lne: no such option\n    Did you mean 'lines'?",
        "scatter.t: 'size' is no picture",
        "scatter.a/b: is no name for a picture",
    ):
        assert part in text, (part, text)
    (tmp_path / "broken.yaml").write_text("runs: [1\n")
    assert "broken.yaml, line 2, column 1 is no valid YAML" in message(
        str(tmp_path / "broken.yaml")
    )
    assert "one suite at a time" in message("translation", "other")


def test_figures_that_nobody_measured_are_pointed_out(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    path = suite(
        runs={"one": {"overrides": ["trainer.max_steps=2"], "reference": {"bleu": 30}}},
        metrics=["perplexity", "perplexty"],
        tables=["perplexity_by_length"],
    )
    done = launcher.run("suite", path, cwd=tmp_path, fork_runs=True)
    assert done.code == 0, done.err
    assert (
        "warning: no run measured 'perplexty'. Did you mean 'perplexity'? Measured were" in done.err
    )
    assert "warning: one: there is a reference for 'bleu'" in done.err
    assert "warning: no run has a table of numbers 'perplexity_by_length'" in done.err


def test_two_commands_share_one_suite(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    runs = {"one": {"overrides": ["trainer.max_steps=9000"]}, "two": {}}
    words, folder = ["suite", suite(runs=runs)], tmp_path / "outputs/tiny"
    first = launcher.start(*words, cwd=tmp_path, fork_runs=True)
    assert first.wait_until(lambda: progress(folder) > 0)
    other = launcher.run(*words, "one.trainer.max_steps=7", cwd=tmp_path, fork_runs=True).refused()
    assert "was made with trainer.max_steps=9000, now it is 7" in other
    second = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert second.code == 0 and "[1/2] two-seed0: started (" in second.err, second.err
    assert "one-seed0 is run by " in second.err and "whoever ends last" in second.err
    assert "one-seed0 running: " in (folder / "tables/comparison.md").read_text()
    first.signal(signal.SIGTERM)
    done = first.wait()
    assert done.code == 130 and "1 of 2 runs are done" in done.err, done.err
    sweep = ["sweep", *words[2:], "model=logistic", "dataset=wine_cultivars", "model.l2=0,1"]
    message = launcher.run(*sweep, "name=tiny", cwd=tmp_path).refused()
    assert "outputs/tiny is a suite's folder" in message


def test_runs_are_processes_of_their_own(
    launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    words = ["suite", suite(runs={"one": {"overrides": ["trainer.max_steps=2"]}})]
    (tmp_path / "random.py").write_text("raise ImportError('a file of the current folder')")
    done = launcher.run(*words, cwd=tmp_path)
    assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "outputs/tiny/one-seed0/manifest.json").read_text())
    assert manifest["machine"]["torch_threads"] == 1
    log = (tmp_path / "outputs/tiny/logs/one-seed0.log").read_text()
    assert log.startswith("$ scratchlab train model=gpt") and "Results of tiny/one-seed0" in log


def test_suites_are_listed_with_what_they_are_for(light_launcher: Any, tmp_path: Path) -> None:
    listed = light_launcher.run("suite", cwd=tmp_path)
    assert listed.code == 0 and "translation" in listed.out
    assert "translation Transformer with sinusoidal" in " ".join(listed.out.split())
    group = light_launcher.run("list", "suite", cwd=tmp_path)
    assert group.code == 0 and "does each kind of position give the translation" in group.out
    help_text = light_launcher.run("suite", "--help", cwd=tmp_path)
    assert "workers=2" in help_text.out and help_text.code == 0
