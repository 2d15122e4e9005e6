"""Every registered estimator as a run: train, evaluate, resume, same bits from the same seed."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from scratchlab.commands.predict import remarks_shown
from scratchlab.config.compose import change, compose
from scratchlab.errors import UnansweredRows, UserError
from scratchlab.lab import train as experiment
from scratchlab.lab.evaluate import evaluate
from scratchlab.lab.predict import predict
from scratchlab.registry import parts
from scratchlab.run.folder import read_config
from scratchlab.verifying.verify import verify
from tests.support.outputs import made_again

# What makes each estimator quick; anything not named here runs with its file's own options.
QUICK: dict[str, list[str]] = {
    "mlp": ["model.epochs=6", "model.hidden=[16]"],
    "mlp_regressor": ["model.epochs=6", "model.hidden=[16]"],
    "logistic": ["model.epochs=30"],
    "linear": ["model.solver=gradient", "model.epochs=12"],
    "perceptron": ["model.epochs=8"],
    "adaline": ["model.epochs=20"],
    "bagging": ["model.n_estimators=3"],
    "bagging_regressor": ["model.n_estimators=3"],
    "stacking": [
        "model.folds=2",
        "model.level0={tree: {name: decision_tree}, line: {name: logistic, epochs: 20}}",
    ],
    "stacking_regressor": [
        "model.folds=2",
        "model.level0={tree: {name: decision_tree_regressor}, line: {name: linear}}",
    ],
    "random_forest": ["model.n_estimators=5"],
    "random_forest_regressor": ["model.n_estimators=5"],
    "boosted_trees": ["model.n_rounds=5"],
    "boosted_trees_regressor": ["model.n_rounds=5"],
    "skipgram": ["model.epochs=2", "model.vector_size=8", "dataset.min_frequency=20"],
    "cbow": ["model.epochs=2", "model.vector_size=8", "dataset.min_frequency=20"],
    "fasttext": [
        "model.epochs=2",
        "model.vector_size=8",
        "model.buckets=5000",
        "dataset.min_frequency=20",
    ],
    "glove": ["model.epochs=2", "model.vector_size=8", "dataset.min_frequency=20"],
    "ngram": ["model.order=2", "dataset.vocab_size=200"],
}
EQUAL = ["metrics.jsonl", "checkpoints/last/model.safetensors"]


def train(cwd: Path, name: str, run_id: str, *words: str) -> Path:
    """A run in this process."""
    quick = QUICK.get(name, [])
    own = ["name=x", f"run_id={run_id}", f"output_dir={cwd}", "tracker=[jsonl]"]
    config = compose([f"model={name}", *quick, *own, *words]).config
    return experiment.train(config, [*words], ["train"])


@pytest.mark.parametrize("name", parts("estimator"))
def test_an_estimator_trains_evaluates_and_repeats_itself(tmp_path: Path, name: str) -> None:
    run = train(tmp_path, name, "one")
    steps = {json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert (run / "plots/loss.png").is_file() == (len(steps) > 1)  # one point is no curve
    config = change(read_config(run / "config.yaml"), [])
    certificate = verify(config, run, ["seed", "save"])
    assert certificate.equal, certificate.remarks()
    found = evaluate(config, run, run, ["eval"])
    results = json.loads((run / "results.json").read_text())
    assert {m["name"]: m["value"] for m in results} == {
        m.name: m.value for m in found if not m.timing
    }
    assert made_again(run), "no figure can be made again from what was kept of the examples"
    kinds = {p.suffix for p in (run / "checkpoints").rglob("*") if p.is_file()}
    assert kinds <= {".safetensors", ".json", ".yaml"}


def test_another_seed_gives_another_network(tmp_path: Path) -> None:
    runs = [train(tmp_path, "mlp", f"s{s}", f"seed={s}", "evaluate=false") for s in (0, 1)]
    weights = [(run / "checkpoints/last/model.safetensors").read_bytes() for run in runs]
    assert weights[0] != weights[1]


@pytest.mark.slow
def test_a_killed_run_ends_with_the_bits_of_one_left_alone(launcher: Any, tmp_path: Path) -> None:
    words = ["model.epochs=60", "model.schedule=cosine", "model.early_stopping=true"]
    words += ["model.patience=60", "trainer.validate_every=2", "trainer.checkpoint_every=5"]
    words += ["trainer.keep_every=20", "evaluator=[classification]"]
    whole = train(tmp_path, "mlp", "whole", *words)
    run = tmp_path / "x/killed"
    given = ["train", "model=mlp", *QUICK["mlp"], *words, "name=x", f"output_dir={tmp_path}"]
    command = launcher.start(*given, "run_id=killed", "tracker=[jsonl]", cwd=tmp_path)
    codes = []
    for number, epoch in ((signal.SIGKILL, 12), (signal.SIGTERM, 31)):
        log = run / "metrics.jsonl"

        def reached(log: Path = log, epoch: int = epoch) -> bool:
            return log.exists() and f'"step": {epoch},'.encode() in log.read_bytes()

        if command.wait_until(reached):
            command.signal(number)
        codes.append(command.wait().code)
        command = launcher.start("train", f"resume={run}", cwd=tmp_path)
    done = command.wait()
    assert done.code == 0, done.err
    assert codes[0] == -signal.SIGKILL
    for file in (*EQUAL, "results.json", "checkpoints/best/model.safetensors"):
        assert (run / file).read_bytes() == (whole / file).read_bytes(), file


def test_patience_of_the_trainer_ends_training_after_the_best_epoch(tmp_path: Path) -> None:
    words = ["model.epochs=400", "trainer.patience=3", "trainer.validate_every=1"]
    run = train(tmp_path, "mlp_regressor", "early", *words, "model.learning_rate=0.05")
    last = json.loads((run / "checkpoints/last/state.json").read_text())["state"]
    best = json.loads((run / "checkpoints/best/state.json").read_text())["state"]
    assert last["step"] == best["step"] + 3 < 400
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {e["step"]: e["val/loss"] for e in entries if "val/loss" in e}
    assert min(losses, key=losses.__getitem__) == best["step"] == last["best_step"]


def test_more_epochs_go_on_where_fewer_ended(tmp_path: Path) -> None:
    whole = train(tmp_path, "mlp", "whole", "model.epochs=9", "evaluate=false")
    short = train(tmp_path, "mlp", "short", "model.epochs=4", "evaluate=false")
    config = change(read_config(short / "config.yaml"), ["model.epochs=9", "resume=true"])
    assert experiment.train(config, [], ["train"]) == short
    a, b = (r / "checkpoints/last/model.safetensors" for r in (whole, short))
    assert a.read_bytes() == b.read_bytes()


def test_predict_answers_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path, "random_forest", "rows", "evaluate=false")
    config = change(read_config(run / "config.yaml"), [])
    row = "14.23,1.71,2.43,15.6,127,2.8,3.06,.28,2.29,5.64,1.04,3.92,1065"
    ((answer,),) = predict(config, run, iter([row]))
    assert answer.startswith("class_0\t")
    for line, message in (("1,2", "reads 13"), (row.replace("1.71", "x"), "'x' is no number")):
        refused = pytest.raises(UnansweredRows, match="1 of 2 rows were not answered")
        with refused, remarks_shown():
            list(predict(config, run, iter([line, row])))
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=mlp", "dataset=diabetes"], "mlp_regressor"),
        (["model=mlp", "optimizer=sgd"], "has its own way to learn"),
        (["model=mlp", "trainer=gradient"], "Choose trainer=fit"),
        (["model=gpt", "optimizer=null"], "is missing: choose one for gpt"),
        (["model=mlp", "init_from=outputs/x"], "there is no run"),
        (["model=mlp", "trainer.monitor=val/bleu"], "Measured: val/accuracy, val/loss"),
        (["model=bagging", "model.base={name: mlpp}"], "Did you mean 'mlp'?"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    tmp_path: Path, words: list[str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        config = compose([*words, f"output_dir={tmp_path}", "tracker=[jsonl]"]).config
        experiment.train(config, [], ["train"])
    assert message in str(caught.value)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("mlp_regressor", "random_forest")]


@pytest.mark.parametrize("name", ["logistic", *SLOW])
def test_an_estimator_is_trained_and_measured_without_torch(
    light_launcher: Any, tmp_path: Path, name: str
) -> None:
    modules = tmp_path / "modules"
    words = [f"model={name}", *QUICK[name], "name=x", "run_id=one", "threads=1"]
    for command in (["train", *words], ["eval", "x/one"]):
        done = light_launcher.run(*command, cwd=tmp_path, modules=str(modules))
        assert done.code == 0, done.err
        assert "torch" not in json.loads(modules.read_text())
    manifest = json.loads((tmp_path / "outputs/x/one/manifest.json").read_text())
    assert manifest["machine"]["blas_threads"] == 1
