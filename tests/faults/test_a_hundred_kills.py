"""Training, suites and sweeps that are killed at random moments, and started again each time: in
the end nothing is lost and nothing is there twice. Six kills, and a hundred if slow."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalStorage
from optuna.trial import TrialState

from scratchlab.studies.sweep.journal import Journal
from tests.support.examples import few_and_many

EPOCHS = 30
FAST = ["model=logistic", "dataset=wine_cultivars", f"model.epochs={EPOCHS}"]
FAST += ["trainer.checkpoint_every=5", "tracker=[jsonl]", "pictures=false"]
COMPARED = ("metrics.jsonl", "results.json", "checkpoints/last/model.safetensors")
RUNS = {"train": 1, "suite": 2, "sweep": 3}


def command_of(verb: str, folder: Path) -> list[str]:
    if verb == "train":
        return ["train", *FAST, "name=killed", "run_id=one", "resume=true", "threads=1"]
    if verb == "sweep":
        return ["sweep", *FAST, "model.l2=0,0.1,1", "name=killed", "sweep.lease=2"]
    path = folder / "killed.yaml"
    runs = {"one": {"overrides": ["model.l2=0"]}, "two": {"overrides": ["model.l2=0.1"]}}
    path.write_text(json.dumps({"name": "killed", "overrides": FAST, "runs": runs}))
    return ["suite", str(path)]


def runs_in(folder: Path) -> list[Path]:
    return sorted(p.parent for p in folder.glob("*/config.yaml") if not p.parent.is_symlink())


def written(folder: Path) -> int:
    """Lines of metrics and files of results: a clock of what was done."""
    lines = sum(path.read_bytes().count(b"\n") for path in folder.glob("*/metrics.jsonl"))
    return lines + len(list(folder.glob("*/results.json")))


def content(folder: Path) -> dict[str, bytes]:
    return {f"{run.name}/{name}": (run / name).read_bytes() for run in runs_in(folder)
            for name in COMPARED}  # fmt: skip


def assert_whole(verb: str, folder: Path, expected: dict[str, bytes]) -> None:
    assert content(folder) == expected
    assert len(runs_in(folder)) == RUNS[verb]
    for run in runs_in(folder):
        assert json.loads((run / "status.json").read_text())["status"] == "done"
        steps = [json.loads(x)["step"] for x in (run / "metrics.jsonl").read_text().splitlines()]
        assert len(steps) == len(set(steps)) or steps == sorted(steps)
        assert not list(run.glob("checkpoints/.*")), "remains of a torn checkpoint"
    if verb != "train":
        outcomes = json.loads((folder / "runs.json").read_text())
        assert [o["status"] for o in outcomes] == ["done"] * RUNS[verb]
    if verb == "sweep":
        storage = JournalStorage(Journal(folder / "study.journal"))
        trials = optuna.load_study(study_name="killed", storage=storage).get_trials()
        states = Counter(t.state for t in trials)
        assert states[TrialState.COMPLETE] == RUNS[verb], states
        assert not states[TrialState.RUNNING], states
        with (folder / "tables/trials.csv").open(encoding="utf-8", newline="") as file:
            assert [row["status"] for row in csv.DictReader(file)] == ["done"] * RUNS[verb]


def ended(launcher: Any, words: Sequence[str], cwd: Path) -> None:
    done = launcher.run(*words, cwd=cwd, fork_runs=True)
    assert done.code == 0 and "Traceback" not in done.err, done.err


@few_and_many(2, 34)
@pytest.mark.parametrize("verb", RUNS)
def test_after_kills_at_random_moments_nothing_is_lost_and_nothing_doubled(
    launcher: Any, tmp_path: Path, verb: str, number: int
) -> None:
    words = command_of(verb, tmp_path)
    ended(launcher, [*words, "output_dir=whole"], tmp_path)
    expected = content(tmp_path / "whole/killed")
    folder = tmp_path / "again/killed"
    words = [*words, "output_dir=again"]
    draw, kills, attempts = random.Random(verb), 0, 0
    while kills < number:
        attempts += 1
        assert attempts < 10 * number + 20, "it is hardly ever met while it runs"
        command = launcher.start(*words, cwd=tmp_path, fork_runs=True)
        wanted = written(folder) + draw.randint(0, 2 * EPOCHS)
        command.wait_until(lambda wanted=wanted: written(folder) >= wanted)
        time.sleep(draw.uniform(0, 0.03))
        if command.running():
            command.signal(signal.SIGKILL)
        done = command.wait()
        if done.code == -signal.SIGKILL:
            kills += 1
        else:
            assert done.code == 0, done.err
            assert_whole(verb, folder, expected)
            shutil.rmtree(folder)
    ended(launcher, words, tmp_path)
    assert_whole(verb, folder, expected)
