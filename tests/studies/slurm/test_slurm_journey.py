"""Sweeps and suites on a real Slurm: submitted, killed, preempted, finished."""

from __future__ import annotations

import csv
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from scratchlab.studies.sweep.ledger import attempts_in, running
from tests.support.slurm import slurm, told, until

from ..conftest import outcomes
from ..sweep.test_sharing import statuses, study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def conf() -> Iterator[str]:
    with slurm() as path:
        yield path


def queue(conf: str) -> dict[str, str]:
    """The states of the tasks that Slurm has, by their names."""
    shown = told(conf, "squeue", "--noheader", "--array", "--format=%i %T")
    return dict(line.split() for line in shown.splitlines())


def at_work(folder: Path) -> dict[str, tuple[int, str]]:
    """The process and Slurm's task that each running trial is in."""
    if not (folder / "study.journal").is_file():
        return {}
    found = {}
    for run, worker, _ in running(study(folder)):
        _, process, _, task = worker.split(":")
        found[run] = (int(process.split("-")[1]), task)
    return found


def preempt(conf: str, task: str) -> None:
    """Have Slurm stop a task and put it back into the queue, and start it again without delay."""
    told(conf, "scontrol", "requeue", task)
    until(lambda: queue(conf).get(task) == "PENDING")
    told(conf, "scontrol", "update", f"JobId={task}", "StartTime=now")


def test_a_sweep_outlives_its_command_a_killed_worker_and_a_preempted_one(
    conf: str, launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    slurm_words = ["launcher=slurm", "sweep.workers=2", "slurm.memory=500M", "slurm.time=1:00:00"]
    words = ["sweep", *model_words, "model.dropout=0,0.1,0.2", "name=far", "trainer.max_steps=250"]
    words += ["sweep.lease=8", *slurm_words]
    folder, environment = tmp_path / "outputs/far", {"SLURM_CONF": conf}

    def command() -> Any:
        return launcher.start(*words, cwd=tmp_path, environment=environment)

    first = command()
    assert first.wait_until(lambda: len(list(folder.glob("trial-*/checkpoints/last"))) == 2)
    shown = launcher.run(*words, "--status", cwd=tmp_path, environment=environment).out
    assert "far: 3 trials: 2 running, 1 to run" in shown and "workers in Slurm" in shown, shown
    assert all(f"Slurm job {task}" in shown for _, task in at_work(folder).values()), shown
    first.signal(signal.SIGINT)  # the laptop is closed
    left = first.wait()
    assert left.code == 130 and "the workers go on in Slurm (scancel " in left.err, left.err

    (killed, task), (_, other) = at_work(folder)["trial-000"], at_work(folder)["trial-001"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: task not in queue(conf))
    preempt(conf, other)
    second = command().wait()
    assert second.code == 0, second.err
    assert "1 worker in Slurm already" in second.err and "submitted 1 worker" in second.err
    assert statuses(folder) == ["done"] * 3 and (folder / "tables/trials.md").is_file()
    until(lambda: not queue(conf))  # the last worker makes its tables as well
    attempts = attempts_in(study(folder))
    ends = Counter(t.state for found in attempts.values() for t in found)
    assert ends[TrialState.COMPLETE] == 3 and len(attempts) == 3, ends
    assert {"lost"} == {t.user_attrs.get("end") for t in attempts["trial-000"][:-1]}
    assert {"stopped"} == {t.user_attrs.get("end") for t in attempts["trial-001"][:-1]}
    log = "".join(path.read_text() for path in folder.glob("logs/slurm-*.log"))
    assert f"a worker in Slurm's job {other}, started again (restart 1)" in log
    assert "trial-000: started again" in log and "trial-001: started again" in log
    assert "Traceback" not in log and not list(folder.rglob("*.pkl"))

    third = launcher.run(*words, cwd=tmp_path, environment=environment)  # nothing is left to do
    assert third.code == 0 and "submitted" not in third.err


def test_workers_of_a_suite_share_its_runs_and_the_last_makes_the_table(
    conf: str, launcher: Any, suite: Callable[..., str], tmp_path: Path
) -> None:
    path = suite(runs={"base": {}, "one": {"from": "base"}, "two": {"eval": "base"}})
    words = ["suite", path, "trainer.max_steps=120", "launcher=slurm", "workers=2"]
    folder, environment = tmp_path / "outputs/tiny", {"SLURM_CONF": conf}
    left = launcher.run(*words, "wait=false", cwd=tmp_path, environment=environment)
    assert left.code == 0 and "the workers go on in Slurm" in left.err, left.err
    until(lambda: (folder / "base-seed0/checkpoints/last").exists())
    shown = launcher.run("suite", path, "--status", cwd=tmp_path, environment=environment).out
    assert "base-seed0" in shown and "running" in shown and "workers in Slurm" in shown, shown
    task = next(t for t in queue(conf) if f"job {t}" in shown)
    preempt(conf, task)
    until(lambda: not queue(conf))
    with (folder / "tables/comparison.csv").open(encoding="utf-8", newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["base", "one", "two"]
    assert {o["status"] for o in outcomes(folder).values()} == {"done"}
    assert len(outcomes(folder)) == 3
    log = "".join(file.read_text() for file in folder.glob("logs/slurm-*.log"))
    assert "base-seed0: started again" in log and "Traceback" not in log
    again = launcher.run(*words, cwd=tmp_path, environment=environment)
    assert again.code == 0 and "3 runs, 0 to do" in again.err and "submitted" not in again.err


def test_what_slurm_refuses_is_said_in_its_words_and_leaves_nothing(
    conf: str, launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *model_words, "model.dropout=0,0.1", "name=bad", "launcher=slurm"]

    def message(word: str) -> str:
        done = launcher.run(*words, word, cwd=tmp_path, environment={"SLURM_CONF": conf})
        assert not (tmp_path / "outputs/bad").exists()
        return done.refused()

    assert "invalid partition specified: usaul" in (text := message("slurm.partition=usaul"))
    assert "Did you mean 'usual'?" in text and "Traceback" not in text
    assert "Memory specification can not be satisfied" in message("slurm.memory=900G")
    assert "Invalid generic resource" in message("slurm.gpus=1")


def test_a_worker_whose_time_is_up_saves_and_queues_again(
    conf: str, launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *model_words, "model.dropout=0,0.1", "name=slow", "trainer.max_steps=100000"]
    words += ["launcher=slurm", "slurm.time=2", "wait=false"]
    folder, environment = tmp_path / "outputs/slow", {"SLURM_CONF": conf}
    assert launcher.run(*words, cwd=tmp_path, environment=environment).code == 0
    until(lambda: at_work(folder) != {})  # it waits in the queue before its start too
    until(lambda: "PENDING" in queue(conf).values() and at_work(folder) == {})
    log = "".join(path.read_text() for path in folder.glob("logs/slurm-*.log"))
    assert "SIGTERM: asking 1 runs to save and stop" in log and "queued again" in log, log
    assert outcomes(folder)["trial-000"]["status"] == "stopped"
    told(conf, "scancel", *{task.split("_")[0] for task in queue(conf)})
    until(lambda: not queue(conf))
