"""Sweeps: grids, random points and TPE, through the command line."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import yaml

from .conftest import outcomes

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
