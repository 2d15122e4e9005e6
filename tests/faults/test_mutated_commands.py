"""Command lines that someone mistyped, drawn and made smaller by Hypothesis: done, or refused in a
short message; never a traceback, and never taken for a command when a word of them means nothing.

Two hundred examples; with the slow tests there are more than a thousand.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchlab import cli
from scratchlab.config.compose import compose
from scratchlab.run.folder import RunFolder
from tests.support.examples import few_and_many, of_examples

LONGEST = 3000  # characters of a message

TRANSLATOR = ["model=transformer_mt", "dataset=phrasebook_en_fr", "model.d_model=32", "seed=1"]
CLASSIC = ["model=mlp", "dataset=wine_cultivars", "model.hidden=[3]", "model.epochs=2"]
GPT = ["model=gpt", "dataset=python_docs", "method=[lora]", "method.lora.rank=2"]
LINES: tuple[list[str], ...] = (
    ["train", *TRANSLATOR, "optimizer.lr=1e-3", "evaluator=[bleu,chrf]"],
    ["train", *CLASSIC, "name=mine", "run_id=one", "resume=true"],
    ["train", *GPT, "trainer.max_steps=3", "description=two words"],
    ["train", "resume=outputs/done/one", "model.epochs=3"],
    ["inspect", *TRANSLATOR, "batch=4", "length=8"],
    ["inspect", *GPT, "batch=4"],
    ["sweep", *CLASSIC, "model.learning_rate=1e-3,1e-2", "seed=range(2)", "threads=1"],
    ["sweep", *CLASSIC, "model.l2=interval(0,1)", "sweep=tpe", "sweep.trials=3", "sweep.seed=4"],
    ["suite", "wine_embedded", "seeds=[0,1]", "workers=1", "logistic.model.epochs=3", "name=mine"],
    ["suite", "wine_embedded", "only=[logistic]", "threads=1", "--dry-run"],
    ["eval", "outputs/done/one", "evaluator=[size]", "evaluate_split=val", "seed=2"],
    ["predict", "outputs/done/one", "1,2,3", "evaluate_checkpoint=last", "seed=2"],
    ["list", "model", "gpt"],
    ["data", "check", "wine_cultivars", "test_fraction=0.3"],
    ["data", "describe", "phrasebook_en_fr", "vocab_size=200"],
)
VALUES = (
    "", "null", "true", "-1", "0", "1e999", "nan", "9" * 400, "1" * 9000, "0x10", "[", "{",
    "[1,2", "{a: 1", "'open", '"open', "a,b", "[a,[b,[c]]]", "{a: {b: {c: 1}}}", "range(",
    "range(0,1e12)", "interval(1", "choice()", "tag(log,", "glob(*)", "sort(3,1)",
    "${seed}", "${oc.env:HOME}", "${", "${.}", "../../x", "/", "é" * 50, "漢字", "\u202e", "\udcff",
    "a=b", "a b", "\t", "\n", "x" * 5000, "*", "$HOME", "!!python/object:os.system", "&a", "@x",
)  # fmt: skip
MARKS = "'\"[]{}(),=~+$\u00e9\u202e\udcff 0"
FLAGS = (
    "--", "-", "-x", "---", "--=", "--cfg", "--cfg=jobs", "--cfg=job", "--config-dir",
    "--config-dir=", "--config-dir=nowhere", "--config-name=nothing", "--package=no.such", "-m",
    "--multirun", "--dry-run", "--resolve", "-c", "-p", "~", "~model", "+", "=", "==", "=1",
)  # fmt: skip


def of_a_word(change: Callable[[str, int], str]) -> Callable[[list[str], random.Random], list[str]]:
    """A mutation that changes a word at one of its characters."""

    def mutate(words: list[str], draw: random.Random) -> list[str]:
        at = draw.randrange(len(words))
        word = words[at]
        return [*words[:at], change(word, draw.randrange(len(word) or 1)), *words[at + 1 :]]

    return mutate


def other_value(words: list[str], draw: random.Random) -> list[str]:
    at = draw.randrange(len(words))
    key, mark, _ = words[at].partition("=")
    value = draw.choice(VALUES)
    return [*words[:at], f"{key}={value}" if mark else value, *words[at + 1 :]]


def more(words: list[str], draw: random.Random) -> list[str]:
    at = draw.randrange(len(words) + 1)
    return [*words[:at], draw.choice((*FLAGS, *words)), *words[at:]]


def shuffled(words: list[str], draw: random.Random) -> list[str]:
    return draw.sample(words, draw.randrange(len(words) + 1))


MUTATIONS = (
    of_a_word(lambda word, at: word[:at] + word[at + 1 :]),
    of_a_word(lambda word, at: word[: at + 1] + word[at:]),
    of_a_word(lambda word, at: word[:at] + word[at : at + 2][::-1] + word[at + 2 :]),
    of_a_word(lambda word, at: word[:at] + MARKS[at % len(MARKS)] + word[at:]),
    other_value,
    other_value,
    more,
    shuffled,
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with one run, in which commands end where they would begin to compute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCHLAB_CACHE", str(tmp_path / "cache"))
    run = RunFolder.create("outputs", "done", "one")
    run.write_config(compose(CLASSIC).config, CLASSIC)
    (run.path / "checkpoints").mkdir(exist_ok=True)
    ends: dict[str, Any] = {
        "scratchlab.lab.train.train": None,
        "scratchlab.lab.evaluate.evaluate": None,
        "scratchlab.lab.predict.predict": [["x"]],
        "scratchlab.commands.sweep._run": 0,
        "scratchlab.commands.suite._work": (_Seen(), False),
        "scratchlab.commands.data._get": 0,
        "scratchlab.commands.data._check": 0,
        "scratchlab.commands.data._describe": 0,
    }
    for name, answer in ends.items():
        monkeypatch.setattr(name, lambda *_, answer=answer, **__: answer)
    monkeypatch.setattr("scratchlab.lab.inspect.inspect", lambda *_: _Seen())
    monkeypatch.setattr("scratchlab.lab.inspect.tables", lambda _: [])


class _Seen:
    length = 10**9

    def missing(self) -> int:
        return 0


def ended(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command and what it said; what would be a traceback is an assertion."""
    capfd.readouterr()
    try:
        code = cli.main(words)
    except BaseException as error:
        raise AssertionError(f"{type(error).__name__} left main: {words}") from error
    said = capfd.readouterr().err
    assert len(said) < LONGEST, (len(said), words, said[:400])
    assert code in (0, 1, 2) and (code == 0 or "error: " in said), (words, code, said)
    assert "Traceback" not in said, words
    return code, said


def test_the_commands_themselves_are_taken(capfd: pytest.CaptureFixture[str]) -> None:
    for words in LINES:
        assert ended(words, capfd)[0] == 0, words


@st.composite
def mistyped(draw: st.DrawFn) -> list[str]:
    """A command with up to three mistakes, some of which leave it a command."""
    words = draw(st.sampled_from(LINES))
    chance = draw(st.randoms(use_true_random=False))
    for _ in range(draw(st.integers(1, 3))):
        words = draw(st.sampled_from(MUTATIONS))(words, chance) or ["train"]
    return words


@st.composite
def with_a_key_of_nothing(draw: st.DrawFn) -> tuple[list[str], str]:
    """A command of which one key has two letters more than any key, and its part that has them."""
    line = draw(st.sampled_from([line for line in LINES if line[0] not in ("predict", "list")]))
    at = draw(st.sampled_from([at for at, word in enumerate(line) if "=" in word]))
    key, _, value = line[at].partition("=")
    cut = draw(st.integers(0, len(key)))
    wrong = f"{key[:cut]}qz{key[cut:]}"
    named = next(part for part in wrong.split(".") if "qz" in part)
    return [*line[:at], f"{wrong}={value}", *line[at + 1 :]], named


NO_NUMBERS = ("many", "1e999", "1x", "--3", "[1", "{a: 1}", "1..2", "'", "1 2", "\u00e9", "seed")


@st.composite
def with_a_number_that_is_none(draw: st.DrawFn) -> tuple[list[str], str]:
    """A command of which one number is none, and its key."""
    places = [
        (line, at)
        for line in LINES
        for at, word in enumerate(line)
        if word.partition("=")[2].replace(".", "").isdigit()
    ]
    line, at = draw(st.sampled_from(places))
    key = line[at].partition("=")[0]
    return [*line[:at], f"{key}={draw(st.sampled_from(NO_NUMBERS))}", *line[at + 1 :]], key


@few_and_many(100, 1000)
def test_a_mistyped_command_ends_with_a_short_message_or_is_a_command(
    number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    codes = []

    @of_examples(number)
    @given(mistyped())
    def ends(words: list[str]) -> None:
        codes.append(ended(words, capfd)[0])

    ends()
    assert codes.count(2) > number // 3


@few_and_many(50, 250)
def test_a_word_that_means_nothing_is_refused_and_its_key_named(
    number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    @of_examples(number)
    @given(st.one_of(with_a_key_of_nothing(), with_a_number_that_is_none()))
    def is_refused(example: tuple[list[str], str]) -> None:
        words, key = example
        code, said = ended(words, capfd)
        # A suite says "row: key" of what is written as row.key.
        assert code == 2 and (key in said or key.replace(".", ": ", 1) in said), (code, words, said)

    is_refused()
