"""Training that stops where a validation finds what was asked for, and how that is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import compose
from scratchlab.errors import UserError
from scratchlab.lab.train import train
from scratchlab.training.contract import Progress
from scratchlab.training.target import goals, meets, said, still_reached

STEPS = ["trainer.max_steps=24", "trainer.validate_every=4", "trainer.log_every=4"]


def run(tiny: list[str], folder: Path, name: str, *more: str) -> Path:
    own = [f"output_dir={folder}", f"run_id={name}", "resume=true", "tracker=[jsonl]"]
    words = [*tiny, *STEPS, *own, "pictures=false", "scheduler=constant", *more]
    return train(compose(words).config, words, ["train"])


def losses(path: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["val/loss"] for line in lines if "val/loss" in line}


def figures(path: Path) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for file in path.glob("results*.json"):
        found = json.loads(file.read_text())
        entries += found["measurements"] if isinstance(found, dict) else found
    return {entry["name"]: entry for entry in entries}


def test_training_stops_at_the_validation_that_finds_it_and_goes_on_if_more_is_wanted(
    tiny: list[str], tmp_path: Path
) -> None:
    whole = losses(run(tiny, tmp_path, "whole"))
    steps = sorted(whole)
    assert steps == [4, 8, 12, 16, 20, 24]
    third = whole[12] + 1e-4
    assert min(whole[4], whole[8]) > third
    stopped = run(tiny, tmp_path, "early", f"trainer.stop_at={{val/loss: {third}}}")
    assert losses(stopped) == {step: whole[step] for step in (4, 8, 12)}
    reached = json.loads((stopped / "manifest.json").read_text())["reached"]
    assert reached["step"] == 12 and reached["found"] == {"val/loss": whole[12]}
    assert 0 < reached["training_seconds"] < reached["seconds"]
    time = figures(stopped)["time_to_target"]
    assert time["value"] == reached["seconds"] and time["better"] == "lower" and time["timing"]
    assert time["settings"]["target"] == {"val/loss": third}
    # the same again has nothing to do; what is harder goes on, from there, to the same bits
    again = run(tiny, tmp_path, "early", f"trainer.stop_at={{val/loss: {third}}}")
    assert losses(again) == losses(stopped)
    harder = whole[20] + 1e-4
    wanted = min(step for step in steps if whole[step] <= harder)
    more = run(tiny, tmp_path, "early", f"trainer.stop_at={{val/loss: {harder}}}")
    assert losses(more) == {step: whole[step] for step in steps if step <= wanted}
    manifest = json.loads((more / "manifest.json").read_text())
    assert manifest["reached"]["step"] == wanted
    assert manifest["reached"]["seconds"] > reached["seconds"]
    # without a target it goes on to the end, and has reached none
    end = run(tiny, tmp_path, "early")
    assert losses(end) == whole
    assert "reached" not in json.loads((end / "manifest.json").read_text())
    assert "time_to_target" not in figures(end)


def test_the_direction_is_that_of_the_metric_and_all_must_be_reached(tiny: list[str]) -> None:
    words = [*tiny, "trainer.validation_evaluators=[bleu]"]
    words += ["trainer.stop_at={val/loss: 2, val/bleu: 30}"]
    wanted = goals(compose(words).config)
    assert wanted == {"val/loss": (2.0, "lower"), "val/bleu": (30.0, "higher")}
    assert said(wanted) == "val/loss ≤ 2, val/bleu ≥ 30"
    assert meets({"val/loss": 2.0, "val/bleu": 30.0}, wanted)
    assert not meets({"val/loss": 2.0, "val/bleu": 29.9}, wanted)
    assert not meets({"val/loss": 2.1, "val/bleu": 31.0}, wanted)
    assert not meets({"val/loss": 1.0}, wanted) and not meets({"val/loss": 1.0}, {})


def test_what_was_reached_is_forgotten_where_more_is_wanted(tiny: list[str]) -> None:
    found = {"found": {"val/loss": 2.0}, "step": 3}
    for goal, kept in (("2.5", True), ("2.0", True), ("1.9", False)):
        at = Progress(reached=dict(found))
        config = compose([*tiny, f"trainer.stop_at={{val/loss: {goal}}}"]).config
        assert still_reached(at, config) is kept and (at.reached is not None) is kept


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("{val/los: 2}", r"no validation measures 'val/los'\n.*Did you mean 'val/loss'"),
        ("{val/bleu: 30}", r"no validation measures 'val/bleu'\n.*validation_evaluators"),
        ("{perplexity: 30}", r"no validation measures 'perplexity'"),
    ],
)
def test_what_no_validation_measures_is_refused_before_anything_is_trained(
    tiny: list[str], tmp_path: Path, goal: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(tiny, tmp_path, "one", f"trainer.stop_at={goal}")
    assert not list(tmp_path.glob("tiny/one/checkpoints/*"))


def test_epochs_of_an_estimator_stop_there_too(tmp_path: Path) -> None:
    words = ["model=mlp", "dataset=digits", "model.epochs=12", "model.hidden=[16]", "name=mlp"]
    words += [f"output_dir={tmp_path}", "tracker=[jsonl]", "pictures=false", "resume=true"]

    def fitted(name: str, *more: str) -> Path:
        mine = [*words, f"run_id={name}", *more]
        return train(compose(mine).config, mine, ["train"])

    whole = losses(fitted("whole"))
    goal = f"trainer.stop_at={{val/loss: {whole[5] + 1e-9}}}"
    first = min(step for step, loss in whole.items() if loss <= whole[5] + 1e-9)
    stopped = fitted("early", goal)
    assert losses(stopped) == {step: loss for step, loss in whole.items() if step <= first}
    assert losses(fitted("early", goal)) == losses(stopped)
    assert losses(fitted("early")) == whole


def test_a_harder_goal_goes_on_where_patience_would_have_ended_it_too(
    tiny: list[str], tmp_path: Path
) -> None:
    more = "trainer.patience=3"
    whole = losses(run(tiny, tmp_path, "whole", more))
    run(tiny, tmp_path, "early", more, f"trainer.stop_at={{val/loss: {whole[8] + 1e-4}}}")
    harder = run(tiny, tmp_path, "early", more, f"trainer.stop_at={{val/loss: {whole[16] + 1e-4}}}")
    assert losses(harder) == {step: whole[step] for step in (4, 8, 12, 16)}
