"""Sweeps: grids, random points and TPE, through the command line."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..conftest import outcomes

GRID = ["optimizer.lr=1e-3,3e-3,1e-2", "model.dropout=choice(0.0,0.1,0.2)"]


def trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "tables/trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lowest_loss(run: Path) -> float:
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return min(e["val/loss"] for e in entries if "val/loss" in e)


def statuses(folder: Path) -> dict[str, str]:
    path = folder / "runs.json"
    return {n: o["status"] for n, o in outcomes(folder).items()} if path.exists() else {}


def running(run: Path) -> int | None:
    """The process that trains into a folder, once it has written a few lines of metrics."""
    metrics, status = run / "metrics.jsonl", run / "status.json"
    if not metrics.exists() or metrics.read_bytes().count(b"\n") < 3:
        return None
    told = json.loads(status.read_text())
    return told.get("process") if told["status"] == "running" else None


@pytest.mark.slow
def test_a_grid_with_a_crash_and_a_killed_trial_keeps_the_rest_and_mends_it(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *model_words, *GRID, "sweep.workers=2", "name=grid"]
    folder = tmp_path / "outputs/grid"
    folder.mkdir(parents=True)
    (folder / "trial-002").write_text("a file where the run's folder should be")
    command = launcher.start(*words, cwd=tmp_path, fork_runs=True)
    assert command.wait_until(lambda: running(folder / "trial-005"))
    os.kill(running(folder / "trial-005") or 0, signal.SIGKILL)
    done = command.wait()
    assert done.code == 1 and "Traceback" not in done.err, done.err
    found = outcomes(folder)
    good = [n for n, o in found.items() if o["status"] == "done"]
    assert len(found) == 9 and len(good) == 7
    crashed, killed = found["trial-002"], found["trial-005"]
    assert crashed["status"] == killed["status"] == "failed"
    assert "a file is in the way" in crashed["reason"]
    assert killed["reason"].startswith("killed by SIGKILL")
    assert "a file is in the way" in (tmp_path / crashed["log"]).read_text()
    assert (tmp_path / killed["log"]).stat().st_size > 0
    assert crashed["log"] in done.err and killed["log"] in done.err
    rows = {row["trial"]: row for row in trials(folder)}
    failed = [n for n, row in rows.items() if row["status"] == "failed"]
    assert failed == ["trial-002", "trial-005"]
    for name in good:
        assert float(rows[name]["val/loss"]) == lowest_loss(folder / name)

    # The same command runs what is missing and nothing else.
    (folder / "trial-002").unlink()
    stamps = {n: (folder / n / "status.json").stat().st_mtime_ns for n in good}
    again = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert again.code == 0 and "9 trials, 2 to do" in again.err, again.err
    started = [line.split(":")[0] for line in again.err.splitlines() if ": started" in line]
    assert sorted(started) == ["trial-002", "trial-005"]
    assert {n: (folder / n / "status.json").stat().st_mtime_ns for n in good} == stamps
    assert set(statuses(folder).values()) == {"done"} and len(statuses(folder)) == 9
    points = {(row["optimizer.lr"], row["model.dropout"]) for row in trials(folder)}
    assert len(points) == 9

    names = ["history", "parallel_coordinates", "importance", "heat_map"]
    assert sorted(p.stem for p in (folder / "plots").iterdir()) == sorted(names)
    best = min(trials(folder), key=lambda row: float(row["val/loss"]))
    assert f"best: {best['trial']}, written to" in again.err
    written = yaml.safe_load((folder / "configs/experiment/best.yaml").read_text())
    assert "Trials of" in (folder / "report.html").read_text(encoding="utf-8")
    assert written["optimizer"]["lr"] == float(best["optimizer.lr"])
    # The best configuration, composed, is that of the best trial.
    show = ["train", "--config-dir", str(folder / "configs"), "experiment=best", "--cfg", "job"]
    shown = launcher.run(*show, cwd=tmp_path)
    assert shown.code == 0, shown.err
    composed = yaml.safe_load(shown.out)
    ran = yaml.safe_load((folder / best["trial"] / "config.yaml").read_text())
    place = ("name", "run_id", "resume", "evaluate", "output_dir", "threads")
    assert {k: v for k, v in composed.items() if k not in place} == {
        k: v for k, v in ran.items() if k not in place
    }
    assert composed["evaluate"] is True and ran["evaluate"] is False
    third = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert third.code == 0 and "9 trials, 0 to do" in third.err


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_and_ends_with_the_same_trials(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    space = ["optimizer.lr=tag(log,interval(1e-4,1e-1))", "model.d_model=interval(8,16)"]
    words = ["sweep", "sweep=tpe", "sweep.trials=4", "sweep.metric=perplexity"]
    words += [*model_words, "model.n_heads=1", "model.positions=learned", *space]
    whole = launcher.run(*words, "name=whole", cwd=tmp_path, fork_runs=True)
    assert whole.code == 0, whole.err
    folder = tmp_path / "outputs/asked"
    for number, trial in ((signal.SIGINT, "trial-000"), (signal.SIGKILL, "trial-002")):
        command = launcher.start(*words, "name=asked", cwd=tmp_path, fork_runs=True)
        assert command.wait_until(lambda run=folder / trial: running(run))
        command.signal(number)
        done = command.wait()
        if number == signal.SIGINT:
            assert (
                done.code == 130 and "0 of 4 trials are done; the same command goes on" in done.err
            )
            assert statuses(folder) == {"trial-000": "stopped"}
    # The last words of a killed process may be half a line.
    with (folder / "study.journal").open("ab") as journal:
        journal.write(b'{"op_code":')
    again = launcher.run(*words, "name=asked", cwd=tmp_path, fork_runs=True)
    assert again.code == 0 and "4 trials, 2 to do" in again.err, again.err
    assert "trial-002: started again" in again.err
    drawn = trials(folder)
    for row in drawn:
        row["log"] = row["log"].replace("asked", "whole")
    assert drawn == trials(tmp_path / "outputs/whole")

    # Compared on the validation split; d_model is declared whole, so its interval is too.
    results = json.loads((folder / "trial-001/results.json").read_text())
    assert {r["split"] for r in results if r["name"] == "perplexity"} == {"val"}
    assert float(drawn[1]["perplexity"]) == next(
        r["value"] for r in results if r["name"] == "perplexity"
    )
    assert all(8 <= int(row["model.d_model"]) <= 16 for row in drawn)
    assert all(1e-4 <= float(row["optimizer.lr"]) <= 1e-1 for row in drawn)
    assert "evaluate_split" not in (folder / "configs/experiment/best.yaml").read_text()
    # More trials are added to those that are there; other options make another sweep.
    more = [w.replace("trials=4", "trials=5") for w in words]
    added = launcher.run(*more, "name=asked", cwd=tmp_path, fork_runs=True)
    assert added.code == 0 and "5 trials, 1 to do" in added.err
    other = launcher.run(*words, "name=asked", "trainer.max_steps=9", cwd=tmp_path)
    message = other.refused()
    assert "was begun with trainer.max_steps=20, now it is 9" in message and "name=NAME" in message
    wider = [w.replace("8,16", "8,32") for w in words]
    assert "has another space" in launcher.run(*wider, "name=asked", cwd=tmp_path).refused()


@pytest.mark.slow
def test_a_trial_worse_than_the_median_is_ended_early(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *model_words, "optimizer.lr=1e-2,5e-3,1e-6", "trainer.max_steps=300"]
    words += ["sweep.pruner=median", "sweep.pruner_trials=2", "name=pruned", "sweep.seed=1"]
    done = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert done.code == 0, done.err
    folder = tmp_path / "outputs/pruned"
    assert list(statuses(folder).values()) == ["done", "done", "pruned"]
    reason = outcomes(folder)["trial-002"]["reason"]
    assert reason.startswith("worse than the median at update")
    entries = (folder / "trial-002/metrics.jsonl").read_text().splitlines()
    assert json.loads(entries[-1])["step"] < 300
    again = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert again.code == 0 and "3 trials, 0 to do" in again.err


@pytest.mark.slow
def test_two_commands_share_a_study_behind_a_storage(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *model_words, "model.dropout=0,0.1,0.2,0.3", "name=both"]
    words += [f"sweep.storage=sqlite:///{tmp_path / 'study.db'}"]
    first = launcher.start(*words, "output_dir=a", cwd=tmp_path, fork_runs=True)
    assert first.wait_until(lambda: any((tmp_path / "a/both").glob("trial-*")))
    second = launcher.run(*words, "output_dir=b", cwd=tmp_path, fork_runs=True)
    ended = first.wait()
    assert ended.code == 0 and second.code == 0, ended.err + second.err
    made = [p.name for f in ("a", "b") for p in (tmp_path / f / "both").glob("trial-*")]
    assert sorted(made) == ["trial-000", "trial-001", "trial-002", "trial-003"]
    # Whoever ended last saw all of it.
    found = [[row["status"] for row in trials(tmp_path / f / "both")] for f in ("a", "b")]
    assert ["done"] * 4 in found, found


def test_mistakes_are_named_before_anything_runs(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    def message(*words: str) -> str:
        text = launcher.run("sweep", *model_words, *words, cwd=tmp_path).refused()
        assert not (tmp_path / "outputs").exists()
        return text

    assert "nothing varies" in message()
    assert "a grid has no intervals" in message("optimizer.lr=interval(0,1)")
    assert "unknown key 'swep'" in message("optimizer.lr=interval(0,1)", "swep=tpe")
    unknown = message("sweep=tpee", "seed=1,2")
    assert "there is no sweep 'tpee'" in unknown and "Did you mean 'tpe'?" in unknown
    assert "sweep.trails: no such option" in message("sweep.trails=3", "seed=1,2")
    assert "watches validations" in message(
        "sweep.pruner=median", "sweep.metric=perplexity", "seed=1,2"
    )
    assert "optimizer.lrr" in message("model.dropout=0,0.2", "optimizer.lrr=1,2")
    values = message("model.dropout=0,2", "optimizer.lr=1e-3,-1", "optimizer=adam,adamm")
    for part in ("model.dropout", "optimizer.lr", "optimizer=adamm", "3 problems"):
        assert part in values, (part, values)
    many = message(
        "model.dropout=glob(*)",
        "seed=range(3,3)",
        "run_id=a,b",
        "cache_dir=a,b",
        "~decoding",
        "model.bias=true,true",
    )
    for part in (
        "glob() is not used here",
        "seed=range(3,3): is empty",
        "run_id=a,b: has one value for the whole sweep",
        "cache_dir=a,b: has one value for the whole sweep",
        "~decoding: takes something away",
        "names a value twice",
    ):
        assert part in many, (part, many)
    assert "'1e-' is not a number" in message("optimizer.lr=1e-3,1e-")  # no text stands for it
    log = message(
        "sweep=random", "optimizer.lr=tag(log,interval(0,1))", "model.dropout=interval(1,0)"
    )
    assert "starts above 0" in log and "1.0 is not below 0.0" in log
    storage = launcher.run(
        "sweep", *model_words, "seed=1,2", "sweep.storage=nosql://here", cwd=tmp_path
    )
    assert "sweep.storage: the study cannot be opened" in storage.refused()
    assert not (tmp_path / "outputs").exists()


def test_what_a_sweep_would_do_is_shown_without_doing_it(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    space = ["model.d_model=range(8,33,8)", "optimizer=adam,adamw", "model.n_heads=1"]
    shown = launcher.run("sweep", *model_words, *space, "--dry-run", cwd=tmp_path)
    assert shown.code == 0, shown.err
    text = " ".join(shown.out.split())
    assert "outputs/gpt-text_file-sweep: 8 trials (grid), val/loss" in text
    assert "8, 16, 24, 32" in text and "adam, adamw" in text and "evaluate=false" in text
    assert not (tmp_path / "outputs").exists()
    help_text = launcher.run("sweep", "--help", cwd=tmp_path).out
    assert "sweep.pruner=null" in help_text and "sweep.trials=null" in help_text
    listed = launcher.run("list", "sweep", cwd=tmp_path).out
    assert "Every combination of the listed values" in listed and "tpe" in listed


def test_of_a_sweep_of_estimators_the_best_trial_has_pictures_and_eval_draws_those_of_others(
    launcher: Any, tmp_path: Path
) -> None:
    words = ["sweep", "model=logistic", "dataset=wine_cultivars", "model.epochs=3", "name=few"]
    words += ["model.learning_rate=0.5,0.00001", "sweep.metric=accuracy"]
    done = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert done.code == 0, done.err
    best, other = (tmp_path / f"outputs/few/trial-00{n}" for n in (0, 1))
    names = ["confusion_matrix.png", "loss.png"]
    assert sorted(p.name for p in (best / "plots").iterdir()) == names
    assert not (other / "plots").exists()
    evaluated = launcher.run("eval", str(other), cwd=tmp_path)
    assert evaluated.code == 0, evaluated.err
    assert sorted(p.name for p in (other / "plots").iterdir()) == names[1:]
    assert (other / "evaluations/latest/plots/confusion_matrix.png").is_file()
