"""``scratchlab eval``: a run, a run with other parts, a checkpoint alone, a stranger's tricks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scratchlab.run import checkpoint as checkpoints


def results(folder: Path) -> dict[str, dict[str, Any]]:
    return {m["name"]: m for m in json.loads((folder / "results.json").read_text())}


def newest(folder: Path) -> dict[str, dict[str, Any]]:
    return results(folder / "evaluations" / "latest")


@pytest.fixture
def run(trained: Any, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(trained.path, tmp_path / "outputs/tiny/one"))


def test_a_run_is_measured_again_with_the_same_result(launcher: Any, run: Path) -> None:
    before = (run / "results.json").read_bytes()
    done = launcher.run("eval", "tiny/one", cwd=run.parents[2])
    assert done.code == 0, done.err
    assert newest(run)["perplexity"] == results(run)["perplexity"]
    assert (run / "results.json").read_bytes() == before


def test_data_set_evaluators_decoding_and_split_may_be_exchanged(
    launcher: Any, run: Path, tmp_path: Path
) -> None:
    pairs = [("the cat sleeps", "le chat dort"), ("the dog eats", "le chien mange")] * 10
    text = "".join(f"{a} {n}\t{b} {n}\n" for n, (a, b) in enumerate(pairs))
    (tmp_path / "own.tsv").write_text(text)
    words = ["dataset=parallel_text", "dataset.tsv=own.tsv", "dataset.val_sentences=3"]
    words += ["dataset.test_sentences=4", "evaluator=[bleu,chrf]", "decoding=beam"]
    words += ["decoding.beam_size=2", "evaluate_split=val"]
    done = launcher.run("eval", str(run), *words, cwd=tmp_path)
    assert done.code == 0, done.err
    found = newest(run)
    assert {"bleu", "chrf"} <= set(found) and "perplexity" not in found
    assert found["bleu"]["split"] == "val" and found["bleu"]["n"] == 2  # a tenth
    assert found["bleu"]["settings"]["beam_size"] == 2
    manifest = json.loads((run / "evaluations/latest/manifest.json").read_text())
    assert "own.tsv" in json.dumps(manifest["data"])


def test_the_model_of_a_run_is_not_exchanged(launcher: Any, run: Path, tmp_path: Path) -> None:
    message = launcher.run("eval", str(run), "model=gpt", cwd=tmp_path).refused()
    assert "model=gpt: the model of a trained run cannot be exchanged" in message
    message = launcher.run("eval", str(run), "model.d_model=32", cwd=tmp_path).refused()
    assert "do not fit the model of this configuration" in message


def test_scores_do_not_move_with_the_size_of_evaluation_batches(
    launcher: Any, run: Path, tmp_path: Path
) -> None:
    found = []
    for tokens in (1, 10_000):  # a sentence a batch; all in one
        words = [f"dataset.eval_batch_tokens={tokens}", "evaluator=[perplexity,bleu,chrf]"]
        assert launcher.run("eval", str(run), *words, cwd=tmp_path).code == 0
        found.append(newest(run))
    for name in ("bleu", "chrf"):
        assert found[0][name] == found[1][name]
    assert found[0]["perplexity"]["value"] == pytest.approx(found[1]["perplexity"]["value"], 1e-6)
    assert found[0]["perplexity"]["n"] == found[1]["perplexity"]["n"]


def test_a_checkpoint_alone_is_measured_and_used_wherever_it_is_copied(
    launcher: Any, trained: Any, tmp_path: Path
) -> None:
    alone = tmp_path / "sent by mail"
    shutil.copytree(trained.path / "checkpoints/best", alone)
    done = launcher.run("eval", str(alone), cwd=tmp_path)
    assert done.code == 0, done.err
    assert newest(tmp_path)["perplexity"] == results(trained.path)["perplexity"]
    there = launcher.run("predict", str(trained.path), "the cat sleeps .", cwd=tmp_path)
    here = launcher.run("predict", str(alone), "the cat sleeps .", cwd=tmp_path)
    assert here.code == there.code == 0 and here.out == there.out


# What a stranger may have written into the configuration of a checkpoint, and what is said to it.
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "unknown part": (lambda c: c["model"].update(name="evil"), "unknown model 'evil'"),
    "import path as a name": (
        lambda c: c["evaluator"].update(x={"name": "os.system"}),
        "unknown evaluator 'os.system'",
    ),
    "import path of Hydra": (
        lambda c: c["model"].update(_target_="os.system", command="touch broken"),
        "model._target_: no such option",
    ),
    "look-up of a variable": (
        lambda c: c.update(description="${oc.env:HOME}"),
        "is an interpolation",
    ),
    "unknown option": (lambda c: c["model"].update(run="touch broken"), "model.run: no such"),
}


def sealed(folder: Path, text: str) -> None:
    """Write a configuration into a checkpoint and make all hashes right."""
    (folder / "config.yaml").write_text(text)
    content = json.loads((folder / "state.json").read_text())
    del content["sha256"]
    import hashlib

    content["files"]["config.yaml"] = hashlib.sha256(text.encode()).hexdigest()
    record = {**content, "sha256": checkpoints._digest(content)}
    (folder / "state.json").write_text(json.dumps(record))


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_checkpoint_cannot_name_what_is_not_registered(
    launcher: Any, trained: Any, tmp_path: Path, trick: str
) -> None:
    change, expected = HOSTILE[trick]
    folder = tmp_path / "stranger"
    shutil.copytree(trained.path / "checkpoints/best", folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    sealed(folder, yaml.safe_dump(config))
    for verb in ("eval", "predict"):
        message = launcher.run(verb, str(folder), cwd=tmp_path).refused()
        assert expected in message and str(folder / "config.yaml") in message, message
    assert not (tmp_path / "broken").exists()


def test_a_configuration_that_would_make_objects_is_refused(
    launcher: Any, trained: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "stranger"
    shutil.copytree(trained.path / "checkpoints/best", folder)
    text = (folder / "config.yaml").read_text()
    sealed(folder, text + "extra: !!python/object/apply:os.system ['touch broken']\n")
    message = launcher.run("eval", str(folder), cwd=tmp_path).refused()
    assert "os.system' is not used here" in message and not (tmp_path / "broken").exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname"])
def test_a_checkpoint_cannot_name_a_file_outside_itself(
    launcher: Any, trained: Any, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "stranger"
    shutil.copytree(trained.path / "checkpoints/best", folder)
    (tmp_path / "secret").write_text("mine")
    content = json.loads((folder / "state.json").read_text())
    del content["sha256"]
    content["files"][name] = "0" * 64
    record = {**content, "sha256": checkpoints._digest(content)}
    (folder / "state.json").write_text(json.dumps(record))
    message = launcher.run("eval", str(folder), cwd=tmp_path).refused()
    assert f"names a file outside itself: {name!r}; refused" in message


@pytest.mark.parametrize("steps", [0, 1])
def test_only_a_run_that_trains_has_a_training_time(
    launcher: Any, tmp_path: Path, steps: int
) -> None:
    words = ["model=gpt", "model.d_model=16", "model.n_heads=2", "model.n_layers=1", "threads=1"]
    words += ["dataset=biographies", "dataset.people=12", "evaluator=[size]", "name=short"]
    words += ["dataset.train_questions=2", "dataset.val_questions=2", "dataset.test_questions=2"]
    words += [f"trainer.max_steps={steps}", "trainer.precision=fp32", "run_id=one"]
    done = launcher.run("train", *words, cwd=tmp_path)
    assert done.code == 0, done.err
    timed = json.loads((tmp_path / "outputs/short/one/results_timed.json").read_text())
    assert ("training_time" in {m["name"] for m in timed}) == (steps > 0)
    assert "peak_memory" in {m["name"] for m in timed}
