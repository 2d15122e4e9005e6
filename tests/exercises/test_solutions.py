"""Every exercise: its start file fails, a right solution passes, wrong ones are called by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from scratchlab.exercises.checking.judging import Verdict, expected, judge
from scratchlab.exercises.checking.solution import (
    Solution,
    exercise_parts,
    functions_of,
    load_exercise,
    not_from_scratch,
    run_module,
)
from scratchlab.exercises.contract import Case, Seen
from tests.exercises.alternatives import right, with_mistakes, written

NAMES = sorted(exercise_parts())


@cache
def cases(name: str) -> list[tuple[Case, Seen]]:
    return expected(load_exercise(name))


def judged(name: str, source: str) -> list[Verdict]:
    exercise = load_exercise(name)
    solution = Solution(Path(f"{name}.py"), source, "", name)
    functions = functions_of(run_module(solution), exercise, solution.path)
    assert not not_from_scratch(solution, exercise)
    return list(judge(exercise, cases(name), functions, solution))


def found(verdicts: list[Verdict]) -> list[tuple[str, str]]:
    return [(v.function, name) for v in verdicts for name in v.mistakes]


def test_there_are_twenty_exercises_or_more() -> None:
    asked = {"cross_entropy", "layer_norm", "positions", "rotary", "attention", "dropout", "adam",
             "multi_head_attention", "bpe", "beam_search", "nucleus", "lstm", "backprop", "lora",
             "kneser_ney", "int8", "nf4", "skipgram", "tfidf", "bleu"}  # fmt: skip
    assert asked <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_start_file_fails_as_not_written_yet(name: str) -> None:
    verdicts = judged(name, load_exercise(name).START)
    assert verdicts and all(v.kind == "unwritten" for v in verdicts)
    assert "line " in verdicts[0].problem


@pytest.mark.parametrize("name", NAMES)
def test_a_right_solution_passes(name: str) -> None:
    wrong = [v for v in judged(name, right(name)) if v.wrong]
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_the_plain_functions_are_right_without_mistakes(name: str) -> None:
    exercise = load_exercise(name)
    solution = Solution(Path("plain.py"), "", "", name)
    plain = exercise.plain(frozenset())
    assert not [v for v in judge(exercise, cases(name), plain, solution) if v.wrong]


@pytest.mark.parametrize("name", NAMES)
def test_every_wrong_solution_is_found_and_named(name: str) -> None:
    exercise = load_exercise(name)
    mistakes = written(exercise, name)
    assert len(mistakes) >= 3 and mistakes == list(exercise.MISTAKES)
    misnamed = {}
    for mistake in mistakes:
        verdicts = judged(name, with_mistakes(name, mistake))
        if found(verdicts) != [(mistake.function, mistake.name)]:
            misnamed[mistake.name] = [v for v in verdicts if v.wrong]
    assert not misnamed


@pytest.mark.parametrize(
    ("name", "both"),
    [
        ("attention", ("missing √d", "mask after softmax")),
        ("layer_norm", ("unbiased variance", "eps outside the root")),
        ("bleu", ("not clipped", "no brevity penalty")),
        ("adam", ("no bias correction", "eps inside the root")),
    ],
)
def test_two_mistakes_at_once_are_both_named(name: str, both: tuple[str, str]) -> None:
    known = {m.name: m for m in load_exercise(name).MISTAKES}
    verdicts = judged(name, with_mistakes(name, *(known[n] for n in both)))
    assert {n for _, n in found(verdicts)} == set(both)


def test_an_unknown_mistake_is_told_by_its_first_difference() -> None:
    source = right("layer_norm").replace(") + bias", ") + 2 * bias")
    (verdict,) = judged("layer_norm", source)
    assert verdict.wrong == verdict.cases and not verdict.mistakes
    assert "the result differs at [0, 0]: yours is" in verdict.problem


def test_changed_arguments_lost_gradients_and_other_types_are_told() -> None:
    changed = right("layer_norm").replace("    mean = ", "    x -= 0 * x + 1\n    mean = ", 1)
    (verdict,) = judged("layer_norm", changed.replace("def layer_norm(x", "def layer_norm(y"
                        ).replace("    x -=", "    x = y.data\n    x -="))  # fmt: skip
    assert "changes its argument x" in verdict.problem
    cut = right("layer_norm").replace("    mean = ", "    x = x.detach()\n    mean = ", 1)
    (verdict,) = judged("layer_norm", cut)
    assert "no gradient of what layer_norm returns reaches x" in verdict.problem
    single = right("layer_norm").replace("    mean = ", "    x = x.float()\n    mean = ", 1)
    (verdict,) = judged("layer_norm", single.replace("weight *", "weight.float() *").replace(
                        "+ bias", "+ bias.float()"))  # fmt: skip
    assert "the result is float32, right is float64" in verdict.problem
    transposed = right("int8").replace("return q, scale, z", "return q.T, scale, z")
    verdicts = judged("int8", transposed)
    assert "q has the shape [9, 4], right is [4, 9]" in verdicts[1].problem


@pytest.mark.parametrize("name", NAMES)
def test_hints_and_facts_are_there(name: str) -> None:
    exercise, facts = load_exercise(name), exercise_parts()[name].facts
    assert len(exercise.HINTS) >= 3 and facts["paper"]
    assert ("use" in facts) != ("unused" in facts)
    assert exercise.START.startswith(f'"""Exercise {name}: ')
    assert len({(m.function, m.name) for m in exercise.MISTAKES}) == len(exercise.MISTAKES)
    assert facts["with_torch"] == ("import torch" in exercise.START)
