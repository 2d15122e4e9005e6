"""Runs that learn from other runs: what they learn, what they keep, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from scratchlab.config.compose import change, compose
from scratchlab.errors import ConfigError, UserError
from scratchlab.lab import predict as predicting
from scratchlab.lab import train as training
from scratchlab.lab.inspect import inspect, tables
from scratchlab.lab.parts import build_parts
from scratchlab.lab.teachers import teach
from scratchlab.run import checkpoint as checkpoints
from scratchlab.run.folder import read_config
from scratchlab.verifying.verify import verify

PAIRS = [
    *("model=transformer_mt", "model.n_heads=2", "model.d_ff=32", "model.encoder_layers=1"),
    *("model.decoder_layers=1", "dataset.train_pairs=150", "dataset.val_pairs=10"),
    *("dataset.test_pairs=10", "dataset.vocab_size=300", "model.dropout=0.0"),
    *("trainer.validation_evaluators=[]", "evaluator=[perplexity]", "decoding.max_length_factor=1"),
]
RUN = ["trainer.max_steps=6", "trainer.precision=fp32", "threads=1", "pictures=false"]
TEACHER, OTHER, STUDENT = "model.d_model=32", "model.d_model=24", "model.d_model=16"


def train(folder: Path, name: str, *words: str, **changes: Any) -> Path:
    given = [f"name={name}", "run_id=one", f"output_dir={folder / 'outputs'}", "tracker=[jsonl]"]
    own = RUN if "model=random_forest" not in words else RUN[2:]
    given += [f"cache_dir={folder / 'cache'}", *own, *words]
    return training.train({**compose(given).config, **changes}, given, ["train", *given])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two translators that may be read, not changed."""
    folder = tmp_path_factory.mktemp("teachers")
    train(folder, "teacher", *PAIRS, TEACHER)
    train(folder, "other", *PAIRS, OTHER, "seed=3")
    return folder


@pytest.fixture
def here(runs: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(runs, tmp_path / "runs", symlinks=True))


def taught_by(*names: str, **options: object) -> list[str]:
    words = [f"method.distill.{key}={value}" for key, value in options.items()]
    return ["method=distill", f"method.distill.teachers=[{','.join(names)}]", *words]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["train/objective"] for line in lines if "train/objective" in line]


def test_a_student_learns_from_two_teachers_and_keeps_nothing_of_them(here: Path) -> None:
    alone = train(here, "alone", *PAIRS, STUDENT)
    run = train(here, "student", *PAIRS, STUDENT, *taught_by("teacher", "other"))
    assert losses(run)[0] != losses(alone)[0]
    kept, own = (checkpoints.load(r / "checkpoints/last") for r in (run, alone))
    assert {n: t.shape for n, t in kept.model.items()} == {n: t.shape for n, t in own.model.items()}
    assert {*kept.optimizer} == {*own.optimizer}
    manifest = json.loads((run / "manifest.json").read_text())
    assert len(manifest["taught_by"]["teachers"]) == 2 and "targets" not in manifest["taught_by"]

    shutil.rmtree(here / "outputs/teacher")
    shutil.rmtree(here / "outputs/other")
    config = change(read_config(run / "config.yaml"), [])
    (answer,) = predicting.predict(config, run, iter(["Our coats are old."]))
    assert list(answer)
    # Weights that nothing was added to may be gone on with, or measured in 8 bits.
    words = ["init_from=student/one", "trainer.max_steps=1"]
    assert train(here, "tuned", *PAIRS, STUDENT, *words).is_dir()
    small = change(config, ["method=int8"])
    assert list(predicting.predict(small, run, iter(["Our coats are old."])))


def test_teachers_write_the_training_targets_once(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*PAIRS, STUDENT, *taught_by("teacher", "other", level="both", keep_targets="true")]
    run = train(here, "student", *words)
    taught = json.loads((run / "manifest.json").read_text())["taught_by"]
    assert len(taught["targets"]) == 64
    monkeypatch.setattr("scratchlab.decoding.beam.Beam.n_best", None)  # nobody searches again
    again = train(here, "again", *words)
    same = json.loads((again / "manifest.json").read_text())["taught_by"]
    assert same == taught and losses(again) == losses(run)
    config = compose([*words, f"output_dir={here}/outputs", f"cache_dir={here}/cache"]).config
    parts = build_parts(config)
    plain = parts.dataset
    teach(parts, print)
    assert parts.dataset.size("train") == 2 * plain.size("train")
    assert parts.dataset.references("train")[:150] == plain.references("train")
    assert parts.dataset.references("val") == plain.references("val")


@pytest.mark.parametrize("level", ["word", "both"])
def test_a_student_that_is_stopped_goes_on_to_the_same_bits(here: Path, level: str) -> None:
    name = str(here / "outputs/teacher/one")
    words = [*PAIRS, STUDENT, "model.dropout=0.1", *taught_by(name, level=level), "threads=1"]
    found = verify(compose([*words, f"cache_dir={here}/cache"]).config, None, ["stop", "batch"])
    assert found.equal, found.remarks()
    if level == "word":  # updates with the teacher's part of the loss
        found = verify(compose(words).config, None, ["accumulation"])
        assert found.equal, found.remarks()


def test_a_run_does_not_go_on_with_another_teacher(here: Path) -> None:
    words = [*PAIRS, STUDENT, *taught_by("teacher")]
    run = train(here, "student", *words)
    train(here, "teacher", *PAIRS, TEACHER, "seed=9", "run_id=two")
    shutil.rmtree(here / "outputs/teacher/one")
    (here / "outputs/teacher/two").rename(here / "outputs/teacher/one")
    (here / "outputs/teacher/latest").unlink()
    (here / "outputs/teacher/latest").symlink_to("one")
    with pytest.raises(UserError, match="the teacher of this run has changed since it was trained"):
        train(here, "student", *words, "resume=true", "trainer.max_steps=8")
    assert json.loads((run / "manifest.json").read_text())["resumed"] == []


def test_inspect_shows_the_teachers(here: Path) -> None:
    words = [*PAIRS, STUDENT, *taught_by("teacher", temperature=2.0), f"output_dir={here}/outputs"]
    shown = {t.title: t.rows for t in tables(inspect(compose(words).config, 2, 8))}
    assert shown["Distillation"][0][1] == "0.5 · CE + 2 · KL(teachers ‖ student)"
    ((where, model, _, times),) = shown["Teachers"]
    assert where.endswith("teacher/one/checkpoints/best") and model == "transformer_mt"
    assert 1.5 < float(times) < 3


CHARACTERS = [
    *("model=gpt", "dataset=text_file", "dataset.tokenizer=char", "dataset.block_size=16"),
    *("dataset.batch_size=4", "model.d_model=16", "model.n_heads=2", "model.n_layers=1"),
    "evaluator=[perplexity]",
]
RECURRENT = [*CHARACTERS[1:4], "model=rnn_lm", "model.d_hidden=16", "dataset.batch_size=4"]


def test_language_models_learn_from_others_unless_their_state_would_be_lost(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\nthe dog sat on the rug\n" * 60)
    data = [f"dataset.paths=[{text}]"]
    gpt, recurrent = [*CHARACTERS, *data], [*RECURRENT, *data, "dataset.block_size=16"]
    train(tmp_path, "gpt", *gpt)
    train(tmp_path, "short", *gpt, "model.block_size=16", "dataset.block_size=8")
    train(tmp_path, "lstm", *recurrent)
    teachers = taught_by("gpt", "lstm", temperature=2.0)
    run = train(tmp_path, "student", *gpt, "model.d_model=8", *teachers)
    assert torch.isfinite(torch.tensor(losses(run))).all()
    again = train(tmp_path, "recurrent", *recurrent, *taught_by("gpt"))
    assert torch.isfinite(torch.tensor(losses(again))).all()
    with pytest.raises(UserError, match="carries its state from batch to batch"):
        train(tmp_path, "refused", *recurrent, *taught_by("lstm"))
    shuffled = [*recurrent, "dataset.batching=shuffled", *taught_by("lstm")]
    assert train(tmp_path, "shuffled", *shuffled).is_dir()
    with pytest.raises(UserError, match=r"reads 16 tokens at most, and this run's texts have"):
        train(tmp_path, "long", *gpt, "dataset.block_size=32", *taught_by("short"))
    other = tmp_path / "other.txt"
    other.write_text("something else with other letters: xyz\n" * 60)
    with pytest.raises(UserError, match=r"another vocabulary than this run \(text_tokenizer.json"):
        train(tmp_path, "other", *CHARACTERS, f"dataset.paths=[{other}]", *taught_by("gpt"))


def refused(folder: Path, *words: str) -> str:
    with pytest.raises((UserError, ConfigError)) as error:
        train(folder, "refused", *words)
    assert not (folder / "outputs/refused/one").exists()
    message: str = str(error.value)
    assert isinstance(error.value, ConfigError) or "\n" not in error.value.message
    return message


def test_teachers_that_do_not_fit_are_refused_in_a_line(here: Path) -> None:
    student = [*PAIRS, STUDENT]
    for unknown in ("teachr", "refused"):  # the second is the name of the run itself
        message = refused(here, *student, *taught_by(unknown))
        assert f"there is no run '{unknown}'" in message
        listed = message.partition("Runs here: ")[2].split(", ")
        assert len(listed) == 4  # two and their latest, not the one that this command has begun
    assert "method.distill.teachers: is empty" in refused(here, *student, "method=distill")
    message = refused(here, *student, "dataset.vocab_size=250", *taught_by("teacher"))
    assert "has another vocabulary than this run (tokenizer.json)" in message
    # Written targets are texts, which any vocabulary can read; an ensemble has one.
    words = [*student, "dataset.vocab_size=250", *taught_by("teacher", level="sequence")]
    assert train(here, "smaller", *words).is_dir()
    train(here, "words", *PAIRS, TEACHER, "dataset.tokenizer=word")
    both = taught_by("teacher", "words", level="sequence")
    assert "another vocabulary than" in refused(here, *student, *both)
    lower = taught_by("words", level="sequence")
    assert "writes lower case only" in refused(here, *student, *lower)
    turned = [*student, "dataset.reverse=true", *taught_by("teacher", level="sequence")]
    assert "translates the other way round" in refused(here, *turned)
    images = ["model=cnn", "dataset=digits"]
    message = refused(here, *images, *taught_by("teacher"))
    assert "was trained for seq2seq, and this run is for classification" in message
    message = refused(here, *images, *taught_by("teacher", level="sequence"))
    assert "sequence is for seq2seq, not for classification" in message
    message = refused(here, "model=autoencoder", "dataset=digits", *taught_by("teacher"))
    assert "distill is for seq2seq" in message and "not for reconstruction" in message
    train(here, "forest", "model=random_forest", "dataset=digits", "model.n_estimators=2")
    assert "the estimator random_forest" in refused(here, *images, *taught_by("forest"))
