"""``scratchlab predict`` for language models: arguments, file, standard input, odd prompts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

RHYME = """One for sorrow,
Two for joy,
Three for a girl,
Four for a boy,
Five for silver,
Six for gold,
Seven for a secret never to be told.
"""
SMALL = [
    "model.d_model=16",
    "model.n_layers=1",
    "dataset=text_file",
    "dataset.paths=[rhyme.txt]",
    "dataset.block_size=16",
    "dataset.batch_size=4",
    "trainer.max_steps=12",
    "trainer.precision=fp32",
    "trainer.keep_every=5",
    "evaluator=[perplexity]",
    "threads=1",
    "tracker=[jsonl]",
    "run_id=one",
]
GPT = ["train", "model=gpt", "model.n_heads=2", *SMALL, "name=rhyme"]
RUN = "outputs/rhyme/one"


@pytest.fixture(scope="module")
def home(launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model of characters."""
    cwd: Path = tmp_path_factory.mktemp("rhyme")
    (cwd / "rhyme.txt").write_text(RHYME * 20)
    done = launcher.run(*GPT, cwd=cwd)
    assert done.code == 0, done.err
    return cwd


@pytest.mark.slow
def test_a_text_goes_on_alike_from_arguments_a_file_and_standard_input(
    launcher: Any, home: Path
) -> None:
    prompts = ["One for", "Three for a", "One for", "Seven"]
    (home / "prompts.txt").write_text("".join(f"{p}\n" for p in prompts))
    options = ["decoding.max_new_tokens=12", "decoding.top_k=5", "decoding.top_p=0.9"]
    given = launcher.run("predict", RUN, *prompts, *options, cwd=home)
    file = launcher.run("predict", RUN, "input=prompts.txt", *options, cwd=home)
    stream = launcher.run("predict", RUN, *options, cwd=home, stdin=str(home / "prompts.txt"))
    assert given.code == 0 and given.err == "", given.err
    assert given.out == file.out == stream.out  # the last was written one by one
    alone = [launcher.run("predict", RUN, p, *options, cwd=home).out for p in prompts[:2]]
    assert given.out.startswith("".join(alone))
    assert all(text.startswith(p) for text, p in zip(alone, prompts, strict=False))
    assert [len(text) for text in alone] == [len(p) + 12 + 1 for p in prompts[:2]]


def test_a_prompt_longer_than_the_block_is_read_from_its_end_and_that_is_said(
    launcher: Any, home: Path
) -> None:
    long = "Four for a boy, Five for silver"
    done = launcher.run("predict", RUN, long, "decoding.max_new_tokens=3", cwd=home)
    assert done.code == 0
    assert done.out.startswith(long) and len(done.out) == len(long) + 4
    assert "prompt 1 has 31 characters, more than the model's block of 16" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Zwölf"], "prompt 1, line 1, column 1: the vocabulary has no 'Z' (U+005A), 'ö'"),
        ([""], "the prompt is empty"),
        (["One", "decoding.top_p=1.5"], "decoding.top_p: 1.5 is out of range"),
        (["One", "decoding=greedy"], "greedy is for seq2seq"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused_in_one_message(
    launcher: Any, home: Path, words: list[str], message: str
) -> None:
    done = launcher.run("predict", RUN, *words, cwd=home)
    assert message in done.refused()
    assert done.out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "the text is empty"), ("Too short.", "but one block needs 17")],
)
def test_a_text_that_is_empty_or_shorter_than_a_block_is_refused(
    launcher: Any, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "rhyme.txt").write_text(text)
    assert message in launcher.run(*GPT, cwd=tmp_path).refused()


def test_a_word_that_the_vocabulary_lacks_is_read_as_unknown_and_that_is_said(
    launcher: Any, tmp_path: Path
) -> None:
    (tmp_path / "rhyme.txt").write_text(RHYME * 20)
    assert launcher.run(*GPT, "dataset.tokenizer=word", cwd=tmp_path).code == 0
    done = launcher.run("predict", RUN, "Nine for joy", cwd=tmp_path)
    assert done.code == 0 and done.out.startswith("<unk> for joy") is False
    assert "1 of 3 words are not in the vocabulary" in done.err


@pytest.mark.parametrize(
    ("tokens", "times", "size"),
    [([], 20, "119 characters"), (["tokenizer=bpe", "vocab_size=200"], 80, r"\d+ tokens")],
)
def test_a_run_on_questions_answers_them(
    launcher: Any, home: Path, tokens: list[str], times: int, size: str
) -> None:
    people = ["people=12", "train_questions=6", "val_questions=3", "test_questions=3"]
    options = [
        f"dataset.{option}" for option in [*people, *tokens, "block_size=64", "batch_size=6"]
    ]
    words = ["train", "model=gpt", "model.d_model=16", "model.n_heads=2", "model.n_layers=1"]
    words += ["dataset=biography_questions", *options, "trainer.max_steps=3", f"name=asked{times}"]
    words += ["trainer.precision=fp32", "evaluator=[exact_match]", "threads=1", "run_id=one"]
    done = launcher.run(*words, cwd=home)
    assert done.code == 0, done.err
    run = f"outputs/asked{times}/one"
    questions = ["Where was Nora Win born?", "Where was Ada Lo born?", "Where?"]
    asked = launcher.run("predict", run, *questions, cwd=home)
    assert asked.code == 0 and len(asked.out.splitlines()) == 3, asked.err
    assert not any(special in asked.out for special in ("<unk>", "<pad>", "□", "⁇"))
    long = launcher.run("predict", run, "Where " * times, cwd=home).refused()
    assert re.search(rf"question 1 has {size}; with an answer, the model reads at most 62", long)


def test_a_recurrent_run_goes_on_from_a_checkpoint_with_the_state_it_carried(
    launcher: Any, home: Path
) -> None:
    words = ["train", "model=rnn_lm", *SMALL, "name=carried", "dataset.batch_size=2"]
    assert launcher.run(*words, cwd=home).code == 0
    whole, again = home / "outputs/carried/one", home / "outputs/carried/two"
    shutil.copytree(whole, again)
    for name in ("best", "last", "previous"):
        shutil.rmtree(again / "checkpoints" / name, ignore_errors=True)
    (again / "checkpoints/step-5").rename(again / "checkpoints/last")
    shutil.rmtree(again / "checkpoints/step-10", ignore_errors=True)
    done = launcher.run("train", f"resume={again}", cwd=home)
    assert done.code == 0, done.err
    for name in ("model", "optimizer"):
        file = f"checkpoints/last/{name}.safetensors"
        assert (whole / file).read_bytes() == (again / file).read_bytes()
    assert (whole / "results.json").read_bytes() == (again / "results.json").read_bytes()


def test_perplexity_says_its_unit_context_and_stride(launcher: Any, home: Path) -> None:
    done = launcher.run("eval", RUN, "dataset.eval_stride=4", cwd=home)
    assert done.code == 0, done.err
    folder = home / RUN / "evaluations" / "latest"
    (row,) = [m for m in json.loads((folder / "results.json").read_text())
              if m["name"] == "perplexity"]  # fmt: skip
    settings = row["settings"]
    assert (settings["unit"], settings["context"], settings["stride"]) == ("character", 16, 4)
    assert "context" in (folder / "tables/perplexity.md").read_text()
