"""What a sweep gives to its workers and makes of what they tell, without any training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from scratchlab.errors import ConfigError, UserError
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.sweep.ledger import Ledger, names_of, tried
from scratchlab.studies.sweep.options import read_sweep_options
from scratchlab.studies.sweep.plan import Sweep, plan_sweep
from scratchlab.studies.sweep.racing import is_hopeless
from scratchlab.studies.sweep.source import SweepSource
from scratchlab.studies.sweep.study import open_study, pruner_of
from scratchlab.studies.workers import STOP, Job, Outcome

GPT = ["model=gpt", "dataset=python_docs", "trainer.max_steps=90", "trainer.validate_every=10"]
RATES = "optimizer.lr=1e-4,2e-4,3e-4,4e-4,5e-4"


def planned(*words: str) -> Sweep:
    options, rest = read_sweep_options(list(words), None)
    return plan_sweep(rest, options, None)


@contextmanager
def at_work(sweep: Sweep, folder: Path) -> Iterator[tuple[SweepSource, list[str]]]:
    """A worker at the sweep, and what it says."""
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    study = open_study(sweep, StudyFolder(folder))
    with Ledger(study, names_of(sweep.trials), 30.0) as ledger:
        yield SweepSource(sweep, ledger, StudyFolder(folder), said.append), said


def train(job: Job, losses: Sequence[float], *, ended: bool = True) -> None:
    """What a run writes that validates every ten updates."""
    job.folder.mkdir(parents=True, exist_ok=True)
    lines = [{"step": 10 * n, "val/loss": loss} for n, loss in enumerate(losses, 1)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (job.folder / "metrics.jsonl").write_text(text)
    if ended:
        (job.folder / "status.json").write_text(json.dumps({"status": "done"}))


def run(source: SweepSource, loss: float) -> Job:
    job = source.take()
    assert job is not None
    source.started(job)
    train(job, [loss])
    source.ended(job, Outcome(job.name, "done"))
    return job


def test_with_seeds_trials_are_ranked_by_the_mean_and_the_hopeless_end_after_the_first(
    tmp_path: Path,
) -> None:
    sweep = planned(*GPT, RATES, "sweep.seeds=[0,1,2]")
    losses = [(1.0, 1.1, 1.2), (1.2, 1.1, 1.0), (0.9, 1.1, 1.15), (2.0,), (1.0, 1.0, 1.3)]
    with at_work(sweep, tmp_path / "s") as (source, said):
        for trial, values in enumerate(losses):
            for seed, loss in enumerate(values):
                job = run(source, loss)
                assert job.name == f"trial-{trial:03d}-seed{seed}"
                assert f"seed={seed}" in job.arguments
        assert source.take() is None and not source.waits() and source.missing() == 0
        rows = tried(source.study)
    assert [r.status for r in rows] == ["done", "done", "done", "pruned", "done"]
    assert [r.value for r in rows] == pytest.approx([1.1, 1.1, 1.05, 2.0, 1.1])
    assert rows[0].spread == pytest.approx(0.1) and rows[3].spread is None
    assert rows[3].reason == "too far behind the best after 1 of 3 runs"
    shown = "trial-002: done after 0 s: val/loss 1.05 ± 0.13 (best 1.05, trial-002); 2 to go"
    assert shown in said
    recorded = json.loads((tmp_path / "s/runs.json").read_text())
    names = {entry["name"]: entry["status"] for entry in recorded}
    assert len(names) == 13 and set(names.values()) == {"done"}


def test_runs_of_a_trial_that_are_done_are_not_made_again_by_who_takes_it_over(
    tmp_path: Path,
) -> None:
    sweep = planned(*GPT, RATES, "sweep.seeds=[0,1]")
    with at_work(sweep, tmp_path / "s") as (source, _):
        run(source, 1.0)
        assert source.take() is not None
        source.release()
    with at_work(sweep, tmp_path / "s") as (source, said):
        job = run(source, 3.0)
        assert job.name == "trial-000-seed1" and tried(source.study)[0].values == (1.0, 3.0)
        assert said[0].startswith("trial-000-seed0: done")
    with pytest.raises(UserError, match="another list of seeds or folds"):
        open_study(planned(*GPT, RATES, "sweep.seeds=[0,2]"), StudyFolder(tmp_path / "s"))


def test_a_trial_is_hopeless_by_what_its_runs_differ_from_those_of_the_best() -> None:
    # What is hard about a seed is hard for all: these trials differ by hardly anything else.
    finished = [[1.0, 2.0, 3.0], [1.1, 2.11, 3.09], [1.2, 2.19, 3.2]]
    assert not is_hopeless([1.01], finished, "lower") and is_hopeless([1.5], finished, "lower")
    assert not is_hopeless([0.9], finished, "lower") and not is_hopeless([], finished, "lower")
    assert not is_hopeless([1.5], finished[:2], "lower")
    # The same upside down; and where seeds make a great difference little is known after one.
    assert is_hopeless([2.5], [[4 - v for v in f] for f in finished], "higher")
    noisy = [[1.0, 2.0, 3.0], [1.5, 1.9, 3.5], [1.2, 2.9, 2.8]]
    assert not is_hopeless([1.5], noisy, "lower") and is_hopeless([4.0], noisy, "lower")
    assert not is_hopeless([4.0, 4.0, 4.0], noisy, "lower")  # it has ended


def test_folds_are_runs_of_a_trial_and_no_part_of_the_best_configuration(tmp_path: Path) -> None:
    words = ["model=logistic", "dataset=wine_cultivars", "model.learning_rate=0.1,0.2"]
    sweep = planned(*words, "sweep.folds=3", "sweep.metric=accuracy", "sweep.seeds=[4,5]")
    suffixes = [f"-seed{s}-fold{f}" for s in (4, 5) for f in range(3)]
    assert [r.suffix for r in sweep.repeats] == suffixes
    assert sweep.config["dataset"]["folds"] == 3
    with at_work(sweep, tmp_path / "s") as (source, _):
        job = source.take()
        assert job is not None and job.name == "trial-000-seed4-fold0"
        for word in ("dataset.folds=3", "dataset.fold=0", "seed=4", "evaluate_split=val"):
            assert word in job.arguments
    assert not any("fold" in word for word in sweep.words)
    with pytest.raises(ConfigError, match="says on which folds trials are run"):
        planned(*words, "sweep.folds=3", "dataset.fold=1")
    with pytest.raises(ConfigError, match="says with which seeds trials are run"):
        planned(*words, "sweep.seeds=[1,2]", "seed=1,2")
    with pytest.raises(ConfigError, match=r"sweep\.folds: the data set has no folds"):
        planned(*GPT, RATES, "sweep.folds=3")


def curve(source: SweepSource, losses: Sequence[float]) -> str:
    """A run that is looked at after each validation; why it was ended, if it was."""
    job = source.take()
    assert job is not None
    for count in range(1, len(losses) + 1):
        train(job, losses[:count], ended=False)
        if reason := source.watch(job):
            source.ended(job, Outcome(job.name, "pruned", reason))
            return reason
    train(job, losses)
    source.ended(job, Outcome(job.name, "done"))
    return ""


def test_the_median_of_all_workers_ends_a_trial_early(tmp_path: Path) -> None:
    sweep = planned(*GPT, RATES, "sweep.pruner=median", "sweep.pruner_trials=2")
    with (
        at_work(sweep, tmp_path / "s") as (one, _),
        at_work(sweep, tmp_path / "s") as (two, _),
    ):
        assert curve(one, [3.0, 2.0, 1.0]) == "" and curve(two, [4.0, 3.0, 2.0]) == ""
        assert curve(one, [3.2, 2.6, 2.5]) == "worse than the median at update 20 (val/loss 2.6)"
        assert curve(two, [3.0, 2.2, 1.1]) == ""
        assert [r.status for r in tried(one.study)] == ["done", "done", "pruned", "done"]


def test_hyperband_has_a_rung_at_each_third_of_the_updates_and_ends_those_that_lag(
    tmp_path: Path,
) -> None:
    rates = "optimizer.lr=" + ",".join(f"{n}e-4" for n in range(1, 25))
    sweep = planned(*GPT, rates, "sweep.pruner=hyperband", "sweep.seed=1")
    pruner = pruner_of(sweep)
    assert isinstance(pruner, optuna.pruners.HyperbandPruner)
    with at_work(sweep, tmp_path / "s") as (source, _):
        ends = []
        for number in range(24):
            reason = curve(source, [5 - 0.1 * step + (number % 7) / 10 for step in range(9)])
            ends.append((number % 7, reason))
        assert source.pruner._n_brackets == 3  # from 10 updates, 30 and 90
    pruned = [(lag, reason) for lag, reason in ends if reason]
    assert pruned and all("not among the best third at update" in reason for _, reason in pruned)
    assert {reason.split(" (")[0].split()[-1] for _, reason in pruned} <= {"10", "30", "90"}
    assert sum(lag for lag, _ in pruned) / len(pruned) > 3  # of 0 to 6
    assert all(reason == "" for lag, reason in ends if lag == 0)


def test_trials_that_fail_for_the_same_reason_end_the_sweep(tmp_path: Path) -> None:
    sweep = planned(*GPT, RATES, "sweep.fail_fast=2")
    with (
        at_work(sweep, tmp_path / "s") as (one, said),
        at_work(sweep, tmp_path / "s") as (two, _),
    ):
        jobs = [source.take() for source in (one, two, one, two)]
        assert all(jobs)
        for source, job, why in zip((one, two), jobs, ("at update 3", "no memory"), strict=False):
            source.ended(job, Outcome(job.name, "failed", f"the loss is not finite {why}"))
        assert one.watch(jobs[2]) == ""
        one.ended(jobs[2], Outcome(jobs[2].name, "failed", "the loss is not finite at update 17"))
        assert one.take() is None and two.take() is None
        shown = "2 trials failed alike: the loss is not finite at update 3; no more are begun"
        assert said[-1] == f"{shown} (sweep.fail_fast=2)"
        assert two.watch(jobs[3]) == STOP and not one.waits()
        two.ended(jobs[3], Outcome(jobs[3].name, "stopped"))
        two.ledger.ask_for_failed()  # the command again
    with at_work(sweep, tmp_path / "s") as (again, _):
        job = again.take()
        assert job is not None and job.name == "trial-000"
