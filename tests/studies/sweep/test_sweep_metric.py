"""What the trials of a sweep are compared by, told before the first of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from scratchlab.errors import ConfigError
from scratchlab.evaluation.comparable import directions, expected
from scratchlab.registry import section_parts
from scratchlab.studies.sweep.options import read_sweep_options
from scratchlab.studies.sweep.plan import Sweep, plan_sweep


def planned(*words: str) -> Sweep:
    options, rest = read_sweep_options(words, None)
    return plan_sweep(rest, options, None)


def refusal(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        planned(*words)
    return str(caught.value)


def test_the_best_of_two_regressions_has_the_lower_rmse_whatever_their_losses_count(
    launcher: Any, tmp_path: Path
) -> None:
    words = ["sweep", "model=linear,mlp_regressor", "dataset=diabetes", "model.epochs=2"]
    done = launcher.run(*words, "name=two", "threads=1", cwd=tmp_path, fork_runs=True)
    assert done.code == 0, done.err
    assert "val/loss is not the same in all trials" in done.err and "by val/rmse" in done.err
    folder = tmp_path / "outputs/two"
    best, lowest = {}, {}
    for trial, model in (("trial-000", "linear"), ("trial-001", "mlp_regressor")):
        lines = (folder / trial / "metrics.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        best[model] = min(e["val/rmse"] for e in entries if "val/rmse" in e)
        lowest[model] = min(e["val/loss"] for e in entries if "val/loss" in e)
    # The loss of the network is that of the standardised target: thousands of times smaller.
    assert lowest["mlp_regressor"] < 1 < 100 < lowest["linear"]
    assert best["linear"] < best["mlp_regressor"]
    with (folder / "tables/trials.csv").open(newline="") as file:
        rows = {row["model"]: float(row["val/rmse"]) for row in csv.DictReader(file)}
    assert rows == best
    assert "/model: linear\n" in (folder / "configs/experiment/best.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "metric", "better"),
    [
        (("model=gpt", "optimizer.lr=1e-3,1e-2"), "val/loss", "lower"),
        (("model=gpt", "dataset.block_size=64,128"), "val/loss", "lower"),
        (("model=linear,random_forest_regressor",), "val/rmse", "lower"),
        (("model=mlp_regressor", "model.scale_target=true,false"), "val/rmse", "lower"),
        (("model=logistic,random_forest", "dataset=digits"), "val/loss", "lower"),
        (("model=logistic,adaline", "dataset=digits"), "val/accuracy", "higher"),
        (
            (
                *("model=gpt", "dataset.tokenizer=char,word"),
                "evaluator.perplexity.per_character=true",
            ),
            "bits_per_character",
            "lower",
        ),
    ],
)
def test_trials_are_compared_by_the_loss_or_by_what_is_alike_in_all(
    words: tuple[str, ...], metric: str, better: str
) -> None:
    options = planned(*words).options
    assert (options.chosen, options.better) == (metric, better)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            ("model=linear,mlp_regressor", "sweep.metric=val/loss"),
            ("val/loss is not the same", "scale_target=True", "val/rmse"),
        ),
        (
            ("model=gpt", "dataset.tokenizer=char,word"),
            ("not the same in all trials", "tokenizer=char", "metric=bits_per_character"),
        ),
        (
            ("model=gpt", "dataset.tokenizer=char,word", "sweep.metric=perplexity"),
            ("perplexity is not the same", "metric=bits_per_character"),
        ),
        (
            ("model=gpt", "dataset.vocab_size=300,600", "dataset.tokenizer=bpe"),
            ("val/loss is not the same", "vocab_size=300"),
        ),
        (("model=logistic", "dataset=wine_cultivars,digits"), ("dataset: the trials differ",)),
        (("model=gpt", "seed=0,1", "sweep.metric=val/los"), ("no trial", "'val/loss'")),
        (("model=gpt", "seed=0,1", "sweep.metric=bleu"), ("no trial measures 'bleu'",)),
        (
            ("model=gpt", "seed=0,1", "evaluate=false", "sweep.metric=perplexity"),
            ("no trial measures 'perplexity'",),
        ),
        (
            ("model=linear,mlp_regressor", "sweep.metric=rmse", "sweep.direction=higher"),
            ("sweep.direction: higher is the wrong way: rmse is better when lower",),
        ),
        (
            (
                "model=gpt",
                "seed=0,1",
                "evaluator=[attention_shares]",
                "sweep.metric=attention_first",
            ),
            ("sweep.direction: must be set",),
        ),
    ],
)
def test_what_does_not_compare_is_refused_before_any_trial(
    words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    text = refusal(*words)
    assert all(part in text for part in parts), text


def test_a_dry_run_refuses_what_the_sweep_would(launcher: Any, tmp_path: Path) -> None:
    words = ["sweep", "--dry-run", "model=linear,mlp_regressor", "sweep.metric=val/rmsse"]
    done = launcher.run(*words, cwd=tmp_path)
    assert done.code == 2 and "Did you mean 'val/rmse'?" in done.err


def test_every_evaluator_of_the_package_says_what_it_measures_and_which_way() -> None:
    for name, part in section_parts("evaluator").items():
        if name == "hf_metric":  # the metric's own script does
            assert "measures" not in part.facts
            continue
        assert set(part.facts["measures"].values()) <= {"higher", "lower", ""}, name
        assert set(part.facts.get("per_token", ())) <= set(part.facts["measures"])
        known = {o.name for o in part.options}
        assert set(part.facts.get("changed_by", ())) <= known, name
        assert {o for o, _ in part.facts.get("asked_by", {}).values()} <= known, name
    assert directions()["rmse"] == "lower" and directions()["r2"] == "higher"


def test_evaluators_of_strangers_that_say_nothing_forbid_nothing() -> None:
    config = {"dataset": {"name": "digits"}, "task": {"name": "classification"}}
    config |= {"evaluator": {"own": {"name": "a_stranger"}}, "trainer": {"name": "fit"}}
    metrics, whole = expected(config)
    assert not whole and metrics["val/accuracy"].better == "higher"
