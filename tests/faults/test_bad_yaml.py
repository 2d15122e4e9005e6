"""Mistakes in YAML files of the user's: one line with the file and the place, never a traceback."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchlab.cli import main
from scratchlab.config.reading import DEPTH, read_json, read_yaml, require
from scratchlab.errors import UserError
from tests.support.examples import few_and_many, of_examples

EXPERIMENT = """# @package _global_
# A small run.
defaults:
  - override /model: gpt
  - override /optimizer: adamw
  - _self_

name: small
seed: 3
model:
  d_model: 32
  n_heads: 2
trainer:
  epochs: 2
dataset:
  vocab_size: 300
"""
MODEL = """# @package _global_
defaults:
  - override /dataset: python_docs
  - override /task: language_modeling
  - override /optimizer: adamw
  - override /evaluator: [perplexity]
  - _self_
name: mine
model:
  name: gpt
  d_model: 32
"""
DATASET = "name: text_file\npaths: [my.txt]\ntokenizer: word\n"
SUITE = """description: Two of them
seeds: [0, 1]
overrides: [model=gpt]
runs:
  small:
    label: a small one
    overrides: [model.d_model=32]
  tuned:
    from: small
metrics: [perplexity]
scatter:
  size: {x: parameters, y: perplexity}
"""
SWEEP = "sampler: random\ntrials: 4\noverrides: ['optimizer.lr=interval(1e-4,1e-2)']\n"

# file below the user's folder -> (content, the command that reads it)
FILES: dict[str, tuple[str, list[str]]] = {
    "experiment/mine.yaml": (EXPERIMENT, ["train", "experiment=mine", "--cfg", "job"]),
    "model/mine.yaml": (MODEL, ["train", "model=mine", "--cfg", "job"]),
    "dataset/mine.yaml": (DATASET, ["train", "model=gpt", "dataset=mine", "--cfg", "job"]),
    "suite/mine.yaml": (SUITE, ["suite", "mine", "--dry-run"]),
    "sweep/mine.yaml": (SWEEP, ["sweep", "sweep=mine", "model=gpt", "--dry-run"]),
}
BAD_VALUES = (
    "5", "-1", "3.5", "true", "null", "wide", "[]", "[1, [2, {a: b}]]", "{}", "{a: {b: 1}}",
    "2024-01-01", "!!python/object/apply:os.system [ls]", "!!binary aGk=", "${oc.env:HOME}", "${a",
    "*nowhere", "&a [*a]", "1" * 5000, "[" * 300 + "]" * 300, "'", '"\\q"', "{a", "a: b", "\t x",
    "? [a]", "|", "@x", "%x", "1e999", ".nan", "~", "é加",
)  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn, text: str) -> bytes:
    """A file that differs from ``text`` in one way: a value, an indent, a line, some bytes."""
    lines = text.splitlines()
    value = st.sampled_from(BAD_VALUES)
    kind, at = draw(st.integers(0, 8)), draw(st.integers(0, len(lines) - 1))
    changed = list(lines)
    key = lines[at].partition(":")[0]
    if kind <= 3:
        changed[at] = f"{key}: {draw(value)}"
    elif kind == 4:
        changed[at] = " " * draw(st.integers(1, 3)) + lines[at]
    elif kind == 5:
        changed.insert(at, lines[at])
    elif kind == 6:
        changed[at] = f"{draw(value)}: {draw(value)}"
    elif kind == 7:
        changed[at:] = [lines[at][: draw(st.integers(0, len(lines[at])))]]
    else:
        data = bytearray(text.encode())
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        return bytes(data)
    return "\n".join(changed).encode() + b"\n"


@pytest.fixture(params=FILES)
def mine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[str]]:
    """A file of the user's, and the command that reads it."""
    monkeypatch.chdir(tmp_path)
    text, command = FILES[request.param]
    path = tmp_path / "groups" / request.param
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path, [*command, "--config-dir", str(tmp_path / "groups")]


@few_and_many(5, 40)
def test_a_damaged_file_of_the_users_is_refused_in_a_line_or_read(
    mine: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], number: int
) -> None:
    path, words = mine
    text = path.read_text(encoding="utf-8")
    assert main(words) == 0, capsys.readouterr().err

    @of_examples(number)
    @given(mutations(text))
    def is_refused_or_read(content: bytes) -> None:
        path.write_bytes(content)
        capsys.readouterr()
        code = main(words)  # raises what would be a traceback
        shown = capsys.readouterr().err
        assert (code == 0) or (code == 2 and "error: " in shown), (code, shown, content)
        assert all(len(line) < 900 for line in shown.splitlines()), content

    is_refused_or_read()


@few_and_many(3, 20)
def test_a_key_that_means_nothing_is_refused_and_named(
    mine: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], number: int
) -> None:
    path, words = mine
    lines = path.read_text(encoding="utf-8").splitlines()
    keyed = [at for at, line in enumerate(lines) if re.match(r" *\w+:", line)]

    @of_examples(number)
    @given(st.sampled_from(keyed), st.integers(0, 20))
    def is_refused(at: int, cut: int) -> None:
        key = lines[at].partition(":")[0].strip()
        wrong = f"{key[:cut]}qz{key[cut:]}"
        changed = [*lines[:at], lines[at].replace(key, wrong, 1), *lines[at + 1 :]]
        path.write_text("\n".join(changed) + "\n", encoding="utf-8")
        capsys.readouterr()
        code = main(words)
        shown = capsys.readouterr().err
        free = path.parent.name == "suite" and key in ("small", "tuned", "size")  # names of its own
        assert (code == 2 and wrong in shown) or (free and code in (0, 2)), (code, wrong, shown)

    is_refused()


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
REFUSED: dict[str, tuple[str | bytes, list[str]]] = {
    "wrong indent": ("a: 1\n  b: 2\n", ["line 2, column 4", "no valid YAML"]),
    "a tab": ("a:\n\tb: 2\n", ["line 2, column 1", "no valid YAML"]),
    "latin-1": ("a: caf\xe9\n".encode("latin-1"), ["line 1, column 7", "0xE9 is no UTF-8"]),
    "a key twice": ("a: 1\nb: 2\na: 3\n", ["line 3, column 1", "'a' is there twice"]),
    "a date as key": ("2024-01-01: 1\n", ["line 1, column 1", "'2024-01-01' is a date"]),
    "yes as key": ("x:\n  yes: 1\n", ["line 2, column 3", "'yes' is true or false"]),
    "a list as key": ("? [a]\n: 1\n", ["line 1, column 3", "not text"]),
    "aliases that expand": (LAUGHS, ["more than 200,000 values"]),
    "a part of itself": ("a: &a [*a]\n", ["line 1, column 4", "a part of itself"]),
    "nested lists": ("a: " + "[" * 300 + "]" * 300, ["line 1, column 63", "60 deep"]),
    "nested through aliases": (
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 99)),
        ["60 deep"],
    ),
    "many digits": (f"a: {'7' * 5000}\n", ["line 1, column 4", "5,000 digits"]),
    "a tag": ("a: !!python/name:os.system ''\n", ["line 1, column 4", "is not used here"]),
    "a control character": ("a: 1\nb: \x07\n", ["line 2, column 4", "U+0007"]),
    "a large file": (b"#" * 5_000_000, ["5,000,000 bytes"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_yaml_may_not_hold_is_named_with_its_place_at_once(tmp_path: Path, kind: str) -> None:
    content, expected = REFUSED[kind]
    path = tmp_path / "x.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started = time.perf_counter()
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert time.perf_counter() - started < 5
    for text in [str(path), *expected]:
        assert text in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_file_that_chooses_no_model_is_told_so_in_our_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "experiment/mine.yaml"
    path.parent.mkdir()
    words = ["train", "experiment=mine", "--cfg", "job", "--config-dir", str(tmp_path)]
    path.write_text("# @package _global_\nname: small\n")
    assert main(words) == 2
    assert "model: no model is chosen: write model=NAME" in capsys.readouterr().err
    path.write_text("# @package _global_\ndefalts:\n  - override /model: gpt\nname: small\n")
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert f"{path}: unknown key 'defalts'" in shown and "Did you mean 'defaults'?" in shown


@pytest.mark.parametrize(
    ("name", "section"), [("model/mine", "model"), ("dataset/mine", "dataset")]
)
def test_a_part_whose_name_is_misspelt_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, section: str
) -> None:
    text, command = FILES[f"{name}.yaml"]
    path = tmp_path / f"{name}.yaml"
    path.parent.mkdir()
    part = "gpt" if section == "model" else "text_file"
    path.write_text(text.replace(f"name: {part}", f"nme: {part}"))
    assert main([*command, "--config-dir", str(tmp_path)]) == 2
    assert f"Is {section}.name meant by {section}.nme?" in capsys.readouterr().err


def test_plain_yaml_is_read_with_aliases_and_dates_as_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("\ufeffa: &a [1, 2.5, yes]\nb: *a\nc: 2024-01-01\n7: {d: null}\n", "utf-8")
    both = [1, 2.5, True]
    assert read_yaml(path) == {"a": both, "b": both, "c": "2024-01-01", 7: {"d": None}}


def test_pipes_devices_and_folders_are_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in (
        (tmp_path / "pipe", "a named pipe"),
        (Path("/dev/zero"), "a device"),
        (tmp_path, "a folder"),
        (tmp_path / "nope", "No such file"),
        (tmp_path / ("n" * 300), "too long"),
    ):
        with pytest.raises(UserError, match=what):
            read_yaml(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": 1,}', "line 1, column 9"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ("[" * 100_000, f"nested more than {DEPTH} deep"),
        ("[" * 300 + "]" * 300, f"nested more than {DEPTH} deep"),
        ('{"a": ' + "7" * 5000 + "}", "no valid JSON"),
    ],
)
def test_bad_json_is_one_line_with_the_place(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UserError, match=expected) as caught:
        read_json(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_schema_names_the_first_key_of_another_type(tmp_path: Path) -> None:
    schema: dict[str, Any] = {"step": "int", "best?": {"loss": "float"}, "names": "list[str]"}
    found = require({"step": 3, "best": {"loss": 1}, "names": [], "more": None}, schema, "state")
    assert found == {"step": 3, "best": {"loss": 1.0}, "names": [], "more": None}
    for content, expected in (
        ([], "state holds no mapping"),
        ({"names": []}, "state: step is missing"),
        ({"step": True, "names": []}, "state: step: True is not a whole number"),
        ({"step": 1, "best": 5, "names": []}, "state: best holds no mapping"),
        ({"step": 1, "best": {"loss": "x"}, "names": []}, "state: best.loss: 'x' is not a number"),
        ({"step": 1, "names": [1]}, "state: names: 1 is not text"),
    ):
        with pytest.raises(UserError, match=expected):
            require(content, schema, "state")
