"""Hydra's sweep syntax as dimensions, and points as overrides and experiments."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from scratchlab.config.compose import compose
from scratchlab.studies.sweep.best_config import write_best
from scratchlab.studies.sweep.options import Config
from scratchlab.studies.sweep.space import (
    Dimension,
    first,
    grid,
    point_words,
    read_space,
    seed_of,
)
from scratchlab.studies.sweep.study import sampler_of


def dimension(word: str) -> Dimension:
    fixed, dimensions, faults = read_space([word], ())
    assert not faults and not fixed, faults
    return dimensions[0]


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("a=1,2.5,true,null", ["a=1", "a=2.5", "a=true", "a=null"]),
        ("a=choice(x,'y z',[1,2])", ["a=x", r"a=y\ z", "a=[1,2]"]),
        ("a=range(1,10,3)", ["a=1", "a=4", "a=7"]),
        ("a=range(3)", ["a=0", "a=1", "a=2"]),
        ("a=range(0.5,2.0,0.5)", ["a=0.5", "a=1.0", "a=1.5"]),
        ("a=sort(3,1,2)", ["a=1", "a=2", "a=3"]),
        ("evaluator=[bleu,chrf],[]", ["evaluator=[bleu,chrf]", "evaluator=[]"]),
    ],
)
def test_lists_and_ranges_become_overrides_one_by_one(word: str, words: list[str]) -> None:
    found = dimension(word)
    assert found.finite and [found.word(v) for v in found.values] == words


def test_intervals_keep_their_bounds_scale_and_type() -> None:
    found = dimension("lr=tag(log, interval(1e-4, 1e-2))")
    assert (found.low, found.high, found.log, found.integer) == (1e-4, 1e-2, True, False)
    whole = dimension("n=int(interval(2, 8))")
    assert whole.integer and whole.ends() == (2, 8) and not whole.finite
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [whole.suggest(study.ask()) for _ in range(60)]
    assert set(drawn) == set(range(2, 9))


def test_a_grid_holds_every_combination_once() -> None:
    words = ["a=1,2", "model=gpt", "b=x,y,z", "c=range(2)"]
    fixed, dimensions, faults = read_space(words, ())
    points = list(grid(dimensions))
    assert fixed == ["model=gpt"] and not faults and len(points) == 12
    assert len({tuple(point_words(dimensions, p)) for p in points}) == 12
    assert points[0] == first(dimensions) == {"a": 1, "b": "x", "c": 0}


def test_of_several_words_with_one_key_the_last_counts() -> None:
    fixed, dimensions, _ = read_space(["a=1,2", "b=1", "a=3", "b=4,5"], ())
    assert fixed == ["a=3"] and [d.values for d in dimensions] == [(4, 5)]


def test_the_draw_of_a_trial_depends_on_its_number_and_the_seed() -> None:
    seeds = {seed_of(seed, number) for seed in range(20) for number in range(50)}
    assert len(seeds) == 1000 and seed_of(3, 7) == seed_of(3, 7)


def study_of(sampler: str, trials: int) -> list[float]:
    """The values that a sampler draws for one option whose best is 0.3, trial by trial."""
    space = dimension("x=interval(0, 1)")
    options = Config(sampler=sampler, trials=trials)
    study = optuna.create_study()
    for _ in range(trials):
        trial = study.ask()
        study.sampler = sampler_of(options, trial.number)
        value = space.suggest(trial)
        assert isinstance(value, float)
        study.tell(trial, (value - 0.3) ** 2)
    return [t.params["x"] for t in study.trials]


def test_tpe_learns_where_good_trials_are_and_random_draws_do_not() -> None:
    tpe, drawn = study_of("tpe", 40), study_of("random", 40)
    assert sum(abs(x - 0.3) for x in tpe[-15:]) / 15 < 0.1
    assert sum(abs(x - 0.3) for x in drawn[-15:]) / 15 > 0.15
    assert study_of("tpe", 40) == tpe


@pytest.mark.parametrize(
    "words",
    [
        ["model=gpt", "optimizer=adam", "optimizer.lr=0.01", "model.d_model=32"],
        ["model=gpt", "evaluator=[perplexity,size]"],
        ["experiment=multi30k_en_fr", "decoding=beam", "decoding.beam_size=3"],
        ["model=transformer_mt", "tracker=[jsonl]", "description='a: b, c'", "data_dir=null"],
    ],
)
def test_an_experiment_of_overrides_composes_to_the_same_configuration(
    words: list[str], tmp_path: Path
) -> None:
    configs, path = write_best(tmp_path, words, "The best of 9.", None)
    assert path.read_text().startswith("# @package _global_\n# The best of 9.\n")
    written = compose(["experiment=best"], config_dir=str(configs))
    assert written.config == compose(words).config
