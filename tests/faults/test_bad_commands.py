"""Mistakes in a command: one clear message with the nearest name, before torch is even imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scratchlab.cli import main, plain_warning

MT = "model=transformer_mt"

# What is typed, and what the message must say.
MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "unknown verb": (["trian", MT], ["no verb 'trian'", "Did you mean 'train'?"]),
    "unknown flag for a verb": (["--hepl"], ["unknown flag '--hepl'", "Did you mean '--help'?"]),
    "unknown flag of a verb": (["train", MT, "--foo"], ["unrecognized arguments: --foo"]),
    "no model": (["train"], ["no model is chosen: write model=NAME", "Choices: "]),
    "a choice without its group": (
        ["train", "transformer_mt"],
        ["transformer_mt: is not KEY=VALUE", "Did you mean model=transformer_mt?"],
    ),
    "unknown group": (
        ["train", "modle=transformer_mt", "sed=1"],
        ["unknown key 'modle'", "Did you mean 'model'?", "unknown key 'sed'", "'seed'"],
    ),
    "unknown choice": (
        ["train", MT, "dataset=phrasebok"],
        ["dataset=phrasebok", "Did you mean 'phrasebook_en_fr'?"],
    ),
    "unknown choice in a list": (
        ["train", MT, "evaluator=[bleu,chrff]"],
        ["evaluator=chrff", "Did you mean 'chrf'?"],
    ),
    "unknown experiment": (
        ["train", "experiment=multi"],
        ["experiment=multi", "Did you mean 'multi30k_"],
    ),
    "unknown nested key": (
        ["train", MT, "model.d_modl=5"],
        ["model.d_modl: no such option", "Did you mean 'd_model'?"],
    ),
    "key of another section": (
        ["train", "model=mlp", "trainer.epochs=5"],
        ["trainer.epochs: no such option", "Did you mean model.epochs?"],
    ),
    "unknown key of an evaluator": (
        ["train", MT, "evaluator.bleu.tokenise=char"],
        ["evaluator.bleu.tokenise", "Did you mean 'tokenize'?"],
    ),
    "option of an evaluator that is not there": (
        ["train", MT, "evaluator.bluu.x=3"],
        ["no evaluator of this name in the run", "Did you mean 'bleu'?"],
    ),
    "key below a value": (["train", MT, "model.d_model.x=5"], ["model.d_model: {'x': 5} is not"]),
    "wrong type": (
        ["train", MT, "model.d_model=wide", "optimizer.lr=fast", "evaluate=perhaps"],
        ["'wide' is not a whole number", "'fast' is not a number", "'perhaps' is not true or"],
    ),
    "half a number": (["train", MT, "model.d_model=64.5"], ["64.5 is not a whole number"]),
    "empty value": (["train", MT, "seed="], ["seed: '' is not a whole number"]),
    "out of range": (
        ["train", MT, "model.dropout=1.5", "threads=0", "trainer.patience=0"],
        ["1.5 is out of range", "threads: 0 is out of range: must be at least 1", "patience: 0"],
    ),
    "no choice of an option": (
        ["train", MT, "trainer.precision=fp8", "device=gpu"],
        ["'fp8' is not a choice. Did you mean 'fp32'?", "'gpu' is not a choice", "cuda"],
    ),
    "conflicting options": (
        ["train", MT, "model.d_model=10", "model.n_heads=3"],
        ["n_heads must divide d_model (now model.d_model=10, model.n_heads=3)"],
    ),
    "model on the wrong data set": (
        ["train", MT, "dataset=python_docs"],
        [
            "the model transformer_mt is for seq2seq, but the data set python_docs poses",
            "Models for language_modeling or word_vectors or masked_lm: cbow, fasttext, glove, gpt",
            "Data sets for transformer_mt: ",
            "phrasebook_en_fr",
        ],
    ),
    "evaluator for another task": (
        ["train", MT, "evaluator=[exact_match]"],
        ["evaluator.exact_match: exact_match is for language_modeling", "bleu"],
    ),
    "task of another data set": (
        ["train", MT, "task=language_modeling"],
        ["task: the data set phrasebook_en_fr poses seq2seq, not language_modeling"],
    ),
    "several values": (
        ["train", MT, "model.d_model=64,128"],
        ["holds more than one value", "a list [a,b]"],
    ),
    "blanks": (["train", MT, "description=two words", "x y"], ["x y: is not KEY=VALUE"]),
    "a part that must be there": (["train", MT, "~optimizer"], ["optimizer: is missing", "adamw"]),
    "no model on purpose": (
        ["train", "model=null"],
        ["no model is chosen: write model=NAME", "gpt"],
    ),
    "names of folders": (
        ["train", MT, "name=a/b", "run_id=../x"],
        ["name: 'a/b' cannot be the name of a folder", "run_id: '../x' cannot"],
    ),
    "resume without a name": (["train", MT, "resume=true"], ["needs the run's name", "run_id="]),
    "checkpoint that cannot be": (
        ["train", MT, "evaluate_checkpoint=bst"],
        ["evaluate_checkpoint: 'bst' is no checkpoint", "Did you mean 'best'?"],
    ),
    "evaluators between epochs": (
        ["train", MT, "trainer.validation_evaluators=[bluu]", "trainer.monitor=bleu"],
        ["no evaluator 'bluu'", "'bleu'?", "trainer.monitor: 'bleu' is not measured"],
    ),
    "interpolation": (["train", MT, "model.d_model=${oops}"], ["'oops' not found"]),
    "hydra's own keys": (["train", MT, "hydra.run.dir=x"], ["see output_dir, run_id"]),
    "group for list": (["list", "modl"], ["no group 'modl'", "Did you mean 'model'?"]),
    "name for list": (["list", "model", "gptt"], ["no model 'gptt'", "Did you mean 'gpt'?"]),
    "action of data": (["data", "lst"], ["no action 'lst'", "Did you mean 'list'?"]),
    "option of a member": (
        ["train", "model=bagging", "model.base={name: mlp, epoch: 3}"],
        ["model.base.epoch: no such option", "Did you mean 'epochs'?"],
    ),
    "name of a member": (
        ["train", "model=stacking", "model.level0={a: {name: mlp}, b: {name: random_forst}}"],
        ["model.level0.b.name", "Did you mean 'random_forest'?"],
    ),
    "name of data": (["data", "check", "phrasebok"], ["'phrasebok'", "'phrasebook_en_fr'?"]),
    "size for inspect": (["inspect", MT, "batch=0"], ["batch=0: must be a whole number"]),
    "no run": (["eval", "outputs/nope"], ["no run 'outputs/nope'", "no runs below outputs"]),
    "no run to go on with": (["train", "resume=nope"], ["there is no run 'nope'"]),
    "a folder that is no run": (["predict", ".", "hello"], [". is no run", "config.yaml"]),
    "format of no model": (["train", "model=gpt", "export=onnx"], ["'onnx' is not a choice"]),
    "option of a method that is not there": (
        ["train", "model=gpt", "method.rank=0"],
        ["Did you mean method.lora.rank?"],
    ),
    "no seeds": (["suite", "wine", "seeds=[]"], ["seeds: the list is empty"]),
    "choices that are there": (
        ["train", MT, "dataset=python_docs"],
        [
            "Models for language_modeling or word_vectors or masked_lm: cbow, fasttext, glove, "
            "gpt, gpt2, ngram, rnn_lm, skipgram, smollm2, text_encoder, text_encoder_pretraining."
        ],
    ),
    "a flag of --cfg alone": (
        ["train", MT, "--package=model"],
        ["--package says how a configuration is shown", "Add --cfg job"],
    ),
    "config folder": (["train", MT, "--config-dir", "nope"], ["nope is no folder"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_clear_message_before_torch_is_imported(
    light_launcher: Any, tmp_path: Path, mistake: str
) -> None:
    words, expected = MISTAKES[mistake]
    modules = tmp_path / "modules"
    done = light_launcher.run(*words, cwd=tmp_path, modules=str(modules))
    message = done.refused()
    for text in expected:
        assert text in message, message
    assert "torch" not in json.loads(modules.read_text())
    assert not (tmp_path / "outputs").exists()
    numbered = [line for line in message.splitlines() if line.startswith("  1. ")]
    assert len(numbered) == (1 if "problems:" in message else 0)


def test_all_mistakes_of_a_command_are_reported_together(
    light_launcher: Any, tmp_path: Path
) -> None:
    words = [
        "decoding=beamm",
        "optimizer=adm",
        "model.dmodel=4",
        "seed=-1",
        "nonsense=1",
        "evaluator.chrf.bootstrap=many",
    ]
    message = light_launcher.run("train", MT, *words, cwd=tmp_path).refused()
    assert "6 problems:" in message
    for number, text in enumerate(
        ["decoding=beamm", "optimizer=adm", "nonsense=1", "seed: -1", "model.dmodel"], 1
    ):
        assert f"  {number}. {text}" in message, message
    assert "evaluator.chrf.bootstrap: 'many'" in message


def test_a_wrong_model_does_not_lead_to_false_faults_of_other_words(
    light_launcher: Any, tmp_path: Path
) -> None:
    words = ["model=xyz", "dataset=phrasebook_en_fr", "dataset.train_pairs=many", "trainer.epoch=3"]
    message = light_launcher.run("train", *words, cwd=tmp_path).refused()
    assert "model=xyz: there is no model" in message
    assert "dataset.train_pairs: 'many' is not a whole number" in message
    assert "poses" not in message and "2 problems" in message


def test_help_version_and_list_load_nothing_heavy(clean_environment: dict[str, str]) -> None:
    heavy = ("torch", "hydra", "omegaconf", "numpy", "yaml", "rich", "transformers")
    program = (
        "import sys; from scratchlab.cli import main; code = main(sys.argv[1:]);"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    for words, allowed in ((["--help"], []), (["--version"], []), (["list"], ["yaml"])):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True,
            text=True,
            check=True,
            env=clean_environment,
        )
        loaded = done.stderr.strip().splitlines()[-1]
        assert loaded in (str([]), str(allowed)), (words, loaded)
        assert done.stdout


def test_numbers_are_taken_as_text_where_text_is_wanted(
    light_launcher: Any, tmp_path: Path
) -> None:
    words = ["train", MT, "run_id=1e5", "name=2024", "description=no", "--cfg", "job"]
    done = light_launcher.run(*words, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "run_id: '1e5'\n" in done.out or "run_id: 1e5\n" in done.out
    assert "name: '2024'\n" in done.out


def test_a_model_goes_with_an_optimizer_that_has_other_options(
    light_launcher: Any, tmp_path: Path
) -> None:
    done = light_launcher.run("train", "model=gpt", "optimizer=sgd", "--cfg", "job", cwd=tmp_path)
    assert done.code == 0 and "name: sgd" in done.out and "beta2" not in done.out, done.err
    words = ["model=gpt", "optimizer=sgd", "optimizer.beta2=0.9"]
    message = light_launcher.run("train", *words, cwd=tmp_path).refused()
    assert "optimizer.beta2: no such option" in message


# What is typed, and what the message must say: sizes that no machine has, names, numbers.
TOO_MUCH: dict[str, tuple[list[str], list[str]]] = {
    "many threads": (["train", "model=gpt", "threads=10000"], ["threads: 10000", "at most 1024"]),
    "many workers": (["suite", "wine", "workers=9999"], ["workers: 9999", "at most 256"]),
    "many layers": (["train", "model=gpt", "model.n_layers=1000000000"], ["at most 1000"]),
    "a large seed": (["train", "model=gpt", f"seed={10**25}"], ["seed: 1", "at most 922337203685"]),
    "a large seed of a split": (
        ["train", "model=mlp", "dataset=wine_quality", "dataset.split_seed=99999999999999999999"],
        ["dataset.split_seed: 99999999999999999999 is out of range", "at most 4294967295"],
    ),
    "400 digits": (["train", "model=gpt", f"dataset.batch_size={10**399}"], ["400 characters"]),
    "5,000 digits": (["train", "model=gpt", "seed=" + "7" * 5000], ["is not a whole number"]),
    "a large batch": (["train", "model=gpt", f"dataset.batch_size={2**40}"], ["at most 21474836"]),
    "infinity": (["train", "model=gpt", "optimizer.lr=inf"], ["inf is not finite"]),
    "nested lists": (["train", "model=gpt", "seed=" + "[" * 300], ["seed: '[[[["]),
    "a long name": (["train", "model=gpt", "name=" + "n" * 300], ["name: ", "302 characters"]),
    "a long run_id": (["train", "model=gpt", "run_id=" + "n" * 300], ["run_id: ", "302 char"]),
    "a long path of a run": (["eval", "r" * 5000], ["there is no run"]),
    "a long folder": (["train", "model=gpt", "--config-dir", "r" * 5000], ["the name is too long"]),
    "a long suite": (["suite", "s" * 300], ["there is no suite"]),
    "a range without end": (
        ["sweep", "model=gpt", "seed=range(1000000000)", "--dry-run"],
        ["has 1,000,000,000 values, more than 1,000"],
    ),
    "a range of rates": (
        ["sweep", "model=gpt", "optimizer.lr=range(1,1000000)", "--dry-run"],
        ["has 999,999 values", "interval(low, high)"],
    ),
    "a range of tiny steps": (
        ["sweep", "model=gpt", "optimizer.lr=range(0,1,1e-300)", "--dry-run"],
        ["1,000,000,000,000,000,000 values"],
    ),
    "a product of ranges": (
        ["sweep", "model=gpt", "seed=range(900)", "model.n_layers=range(1,900)", "--dry-run"],
        ["809,100 combinations, more than 10,000"],
    ),
    "a large batch to inspect": (["inspect", "model=gpt", "batch=" + "9" * 30], ["batch=99"]),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_MUCH)
def test_what_no_machine_has_is_refused_before_it_is_asked_for(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words, expected = TOO_MUCH[case]
    assert main(words) == 2
    message = capsys.readouterr().err
    for text in expected:
        assert text in message, message
    assert all(len(line) < 1200 for line in message.splitlines())
    assert not (tmp_path / "outputs").exists()


FLAGS: dict[str, tuple[list[str], str]] = {
    "the configuration of a sweep": (
        ["sweep", "model=gpt", "seed=1,2", "--cfg", "job"], "name: gpt-python_docs\n"
    ),
    "a part of it": (
        ["sweep", "model=gpt", "seed=1,2", "--cfg", "job", "-p", "model"], "name: gpt\n"
    ),
    "the configurations of a suite": (["suite", "wine", "--cfg", "job"], "logistic-seed0:\n"),
    "help of a sweep": (["sweep", "model=gpt", "--help"], "usage: scratchlab sweep"),
    "help of a run that goes on": (["train", "resume=x", "--help"], "usage: scratchlab train"),
    "help of a run that is measured": (["eval", "x", "-h"], "usage: scratchlab eval"),
    "help of a prediction": (["predict", "--help"], "usage: scratchlab predict"),
    "Hydra's help": (["sweep", "--hydra-help"], "== Flags =="),
    "Hydra's help of a suite": (["suite", "--hydra-help"], "== Flags =="),
    "Hydra's help of a run": (["eval", "--hydra-help"], "== Flags =="),
    "how it is put together": (
        ["sweep", "model=gpt", "seed=1,2", "--info", "defaults"], "model/gpt"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FLAGS)
def test_flags_mean_the_same_in_every_verb_and_run_nothing(
    light_launcher: Any, case: str, tmp_path: Path
) -> None:
    words, expected = FLAGS[case]  # in a process: Hydra's logging closes handlers of others
    done = light_launcher.run(*words, cwd=tmp_path)
    assert done.code == 0, done.err
    assert expected in done.out
    assert not (tmp_path / "outputs").exists()


def test_of_many_runs_a_hint_names_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(60):
        run = tmp_path / "outputs" / "gpt" / f"run-{number:02}"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text("{}")
    assert main(["eval", "outputs/gpt/run-071"]) == 2
    message = capsys.readouterr().err
    assert "Did you mean 'outputs/gpt/run-07'?" in message and "and 50 more." in message
    assert message.count("run-") == 12


def test_warnings_of_libraries_have_no_place_in_their_sources() -> None:
    assert plain_warning(UserWarning("x is\nodd"), UserWarning, "a.py", 3) == "warning: x is\n"


def test_completion_of_the_shell_knows_verbs_options_and_suites(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line, expected in (
        ("scratchlab tr", "train"),
        ("scratchlab train model=rnn_l", "model=rnn_lm"),
        ("scratchlab suite lang", "language_models"),
    ):
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        assert main(["-sc", "query=bash"]) == 0
        assert capsys.readouterr().out.split() == [expected]
    assert main(["-sc", "install=bash"]) == 0
    assert "complete -o nospace" in capsys.readouterr().out
    assert main(["-sc"]) == 2 and main(["-sc", "install=tcsh"]) == 2


def test_a_text_that_looks_like_an_option_is_text_for_predict(trained: Any, launcher: Any) -> None:
    for words in (["E=mc2 is"], ["x=3"], ["--", "seed=3"], ["--", "--help"]):
        done = launcher.run("predict", str(trained.path), *words, cwd=trained.cwd)
        assert done.code == 0 and done.out.count("\n") == 1, (words, done)
    for word in ("decodin.max_length=3", "decoding.max_lengt=3"):
        assert (
            word[:8] in launcher.run("predict", str(trained.path), word, cwd=trained.cwd).refused()
        )


def test_a_user_without_a_name_and_a_home_trains_and_lists(
    tmp_path: Path,
    tiny: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unknown(uid: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "SCRATCHLAB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["data", "list"]) == 0
    words = ["trainer.max_steps=1", "evaluate=false", "tracker=[]", "output_dir=~/runs"]
    assert main(["train", *tiny, *words]) == 0, capsys.readouterr().err
    assert [p.name for p in tmp_path.glob("scratchlab-cache-*/*")]
    assert list(tmp_path.glob("~/runs/tiny/*/checkpoints/last/state.json"))
    assert main(["eval", "nope"]) == 2 and "there is no run" in capsys.readouterr().err
