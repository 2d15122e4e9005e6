"""What is written after ``=`` is read as its option is declared, in every verb in the same way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scratchlab.commands.data import read_options
from scratchlab.config.compose import compose
from scratchlab.config.overrides import (
    entries,
    last_of_each,
    last_value,
    overridden,
    read_override,
    unquoted,
)
from scratchlab.data.catalog import find_dataset
from scratchlab.errors import ConfigError
from scratchlab.studies.runs import quoted

TEXTS = (
    "a=b(1).csv", "2019", "yes", "true", "1e5", "1_000", "2024-01-01", "a,b", "[x]", "{a: b}", "#1",
    ";", "it's", "~/x", "é加", "a b", "(", "]", "range(3)", "choice(a,b)", "12:30", "=", "null ",
    "'", '"', "a:b", "%d", "@x", "*", "C-[1]", "0x10", "nan",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_taken_as_it_stands(text: str) -> None:
    assert compose(["model=gpt", f"description={text}"]).config["description"] == text
    options = [f"path={text}", "target=y", f"dataset.drop=[{quoted(text)}]"]
    read = read_options(find_dataset("table"), options)
    assert read["path"] == text and read["drop"] == [text]


@pytest.mark.parametrize("text", [*TEXTS, "a'b\"c\\", "\\'", "null", "", "'a'", "${x}"])
def test_quotes_around_a_whole_text_are_taken_off(text: str) -> None:
    assert unquoted(quoted(text)) == text
    word = read_override(f"name={quoted(text)}")
    assert word is not None and word.value("str") == text


def test_lists_of_text_hold_texts() -> None:
    word = read_override("drop=[2019, yes, 2024-01-01, 'a, b', \"c\", f(1,2).csv, d\\,e]")
    assert word is not None
    expected = ["2019", "yes", "2024-01-01", "a, b", "c", "f(1,2).csv", "d,e"]
    assert word.value("list[str]") == expected
    assert entries("") == [] and entries("a,,b") == ["a", "", "b"]


def test_other_types_are_read_in_hydras_grammar() -> None:
    words = [
        "model=mlp",
        "model.hidden=[3,4]",
        "model.l2=1e-4",
        "model.shuffle=false",
        "threads=null",
    ]
    config = compose(words).config
    assert config["model"]["hidden"] == [3, 4] and config["model"]["l2"] == 1e-4
    assert config["model"]["shuffle"] is False and config["threads"] is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("seed=1,2", "holds more than one value"),
        ("model=gpt,rnn_lm", "holds more than one value"),
        ("trainer.precision=fp32,bf16", "holds more than one value"),
        ("seed=a=b(1", "'a=b(1' is not a whole number"),
        ("dataset=a=b(1).csv", "there is no dataset of this name"),
        ("seed=" + "7" * 5000, "is not a whole number"),
        ("seed=" + "[" * 3000, "is not a whole number"),
        ("optimizer.lr=" + "9" * 400, "is too large for a number"),
    ],
)
def test_what_is_no_text_is_refused_in_a_line(word: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["model=gpt", word])
    assert expected in str(caught.value).replace("\n", " ")
    assert len(str(caught.value).splitlines()[0]) < 300


def test_one_table_with_a_strange_name_is_trained_and_described(
    launcher: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a=b(1), é加.csv"
    rows = [f"{i},{i % 3},{i % 2}" for i in range(40)]
    path.write_text("\n".join(["x,2019,yes", *rows]) + "\n", encoding="utf-8")
    options = [f"path={path.name}", "target=yes", "drop=[2019]"]
    described = launcher.run("data", "describe", "table", *options, cwd=tmp_path)
    assert described.code == 0, described.err
    words = [f"dataset.{o}" for o in options]
    trained = launcher.run(
        "train", "model=logistic", "dataset=table", *words, "model.epochs=1", "run_id=r",
        "name=odd", "evaluator=[]", cwd=tmp_path,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    kept = json.loads(
        (tmp_path / "outputs/odd/r/checkpoints/last/preparation.json").read_text(encoding="utf-8")
    )
    assert kept["own"]["target"] == "yes"
    assert [c["name"] for c in kept["own"]["columns"]] == ["x"]


def test_a_key_written_twice_is_told_once_and_the_last_counts() -> None:
    words = ["model=gpt", "model=cnn", "seed=1", "seed=1", "~scheduler"]
    assert overridden(words) == ["model=gpt does nothing: model=cnn comes later"]
    assert last_of_each(words) == ["model=cnn", "seed=1", "~scheduler"]
    assert last_value(["+name='a b'", "name=c=d"], "name") == "c=d"
    assert last_value(words, "name") is None


def test_a_part_named_twice_in_a_list_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        compose(["model=gpt", "evaluator=[size,perplexity,size]"])
    assert "evaluator=[size,perplexity,size]: names size twice" in str(error.value)


def test_an_option_of_another_variant_of_a_part_is_told() -> None:
    notes = compose(["model=autoencoder", "model.hidden=[64]"]).notes
    assert notes == ["model.hidden=[64] does nothing here: it is for model.kind=dense"]
    assert compose(["model=autoencoder", "model.kind=dense", "model.hidden=[64]"]).notes == []
    notes = compose(["model=gpt", "method=finetune", "method.finetune.last_blocks=1"]).notes
    assert len(notes) == 1 and notes[0].endswith("it is for method.finetune.train=blocks")
