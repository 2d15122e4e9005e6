"""Several commands at one sweep, and what random kills leave of it."""

from __future__ import annotations

import csv
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.storages.journal import JournalStorage
from optuna.trial import TrialState

from scratchlab.studies.sweep.journal import Journal
from scratchlab.studies.sweep.ledger import attempts_in

from ..conftest import outcomes

pytestmark = pytest.mark.slow


def started(*errors: str) -> Counter[str]:
    """How often each trial was begun, by what commands said."""
    lines = [line for text in errors for line in text.splitlines()]
    return Counter(line.split(":")[0] for line in lines if ": started" in line)


def statuses(folder: Path) -> list[str]:
    with (folder / "tables/trials.csv").open(encoding="utf-8", newline="") as file:
        return [row["status"] for row in csv.DictReader(file)]


def study(folder: Path) -> optuna.Study:
    storage = JournalStorage(Journal(folder / "study.journal"))
    return optuna.load_study(study_name=folder.name, storage=storage)


def training(command: Any) -> list[int]:
    """The processes that a command trains in."""
    try:
        return [child.pid for child in psutil.Process(command.pid).children()]
    except psutil.NoSuchProcess:
        return []


def test_two_commands_in_one_folder_share_its_trials(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *model_words, "model.dropout=0,0.1,0.2,0.3,0.4,0.5", "name=both"]
    words += ["sweep.lease=4"]
    folder = tmp_path / "outputs/both"
    first = launcher.start(*words, cwd=tmp_path, fork_runs=True)
    assert first.wait_until(lambda: any(folder.glob("trial-*/config.yaml")))
    status = launcher.run(*words, "--status", cwd=tmp_path)
    assert "both: 6 trials: " in status.out and ", process " in status.out, status.out
    second = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    ended = first.wait()
    assert ended.code == second.code == 0, ended.err + second.err
    both = [started(ended.err), started(second.err)]
    assert sorted((both[0] + both[1]).items()) == [(f"trial-{n:03d}", 1) for n in range(6)]
    assert all(both) and statuses(folder) == ["done"] * 6
    status = launcher.run(*words, "--status", cwd=tmp_path)
    assert status.out == "both: 6 trials: 6 done\n"
    assert "another space" in launcher.run(*words, "seed=1,2", cwd=tmp_path).refused()


def test_a_stopped_command_leaves_its_trial_to_the_others(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *model_words, "model.dropout=0,0.1", "name=left", "trainer.max_steps=200"]
    folder = tmp_path / "outputs/left"
    first = launcher.start(*words, cwd=tmp_path, fork_runs=True)
    assert first.wait_until(lambda: (folder / "trial-000/checkpoints/last").exists())
    first.signal(signal.SIGTERM)
    stopped = first.wait()
    assert stopped.code == 130 and outcomes(folder)["trial-000"]["status"] == "stopped"
    second = launcher.run(*words, "--worker", cwd=tmp_path, fork_runs=True)
    assert second.code == 0, second.err
    assert "trial-000: started again" in second.err and statuses(folder) == ["done"] * 2


def test_after_kills_at_random_moments_every_trial_is_done_once(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    values = ",".join(str(n / 20) for n in range(8))
    words = ["sweep", *model_words, f"model.dropout={values}", "name=killed", "sweep.lease=2"]
    words += ["trainer.max_steps=60"]
    folder = tmp_path / "outputs/killed"
    draw, kills = random.Random(0), 0
    commands = [launcher.start(*words, cwd=tmp_path, fork_runs=True) for _ in range(2)]
    while kills < 20:
        time.sleep(draw.uniform(0.1, 0.8))
        running = [c for c in commands if c.running()]
        victims = [c.pid for c in running] + [pid for c in running for pid in training(c)]
        if victims:
            os.kill(draw.choice(victims), signal.SIGKILL)
            kills += 1
        if len(running) < 2:
            commands = [*running, launcher.start(*words, cwd=tmp_path, fork_runs=True)]
    for command in commands:
        command.wait()
    last = launcher.run(*words, cwd=tmp_path, fork_runs=True)
    assert last.code == 0 and "Traceback" not in last.err, last.err
    assert statuses(folder) == ["done"] * 8
    found = study(folder)
    states = Counter(t.state for t in found.get_trials())
    assert states[TrialState.COMPLETE] == 8 and not states[TrialState.RUNNING], states
    assert len(attempts_in(found)) == 8 and len(list(folder.glob("trial-*"))) == 8
