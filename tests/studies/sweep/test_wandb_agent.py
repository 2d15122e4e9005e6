"""A sweep whose points come from W&B, with a stand-in for its server and agent."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from scratchlab.errors import ConfigError, UserError
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.sweep import wandb_agent
from scratchlab.studies.sweep.options import read_sweep_options
from scratchlab.studies.sweep.plan import Sweep, plan_sweep
from scratchlab.studies.sweep.wandb_agent import WandbSweep, configuration

GPT = ["model=gpt", "dataset=python_docs", "trainer.max_steps=20"]
TRACKED = [*GPT, "tracker=[jsonl,wandb]", "tracker.wandb.project=mine", "sweep.backend=wandb"]


def planned(*words: str) -> Sweep:
    options, rest = read_sweep_options(list(words), None)
    return plan_sweep(rest, options, None)


class Server:
    """What of the package ``wandb`` is used: asks for points, and keeps what it is told."""

    class Error(Exception):
        """Its errors."""

    def __init__(self, folder: Path, points: Sequence[Mapping[str, Any]]) -> None:
        self.folder, self.points = folder, list(points)
        self.sweeps: list[dict[str, Any]] = []
        self.summaries: dict[str, dict[str, Any]] = {}
        self.errors: list[BaseException] = []

    def sweep(self, told: dict[str, Any], project: str, entity: str | None) -> str:
        assert project == "mine" and entity is None
        self.sweeps.append(json.loads(json.dumps(told)))
        return "sw33p"

    def agent(self, name: str, function: Callable[[], None], **options: Any) -> None:
        assert name == "sw33p" and options["project"] == "mine"
        with pytest.MonkeyPatch.context() as patch:
            for point in self.points:
                number = len(list(self.folder.glob("point*.yaml")))
                path = self.folder / f"point{number}.yaml"
                path.write_text(yaml.safe_dump({k: {"value": v} for k, v in point.items()}))
                patch.setenv("WANDB_SWEEP_PARAM_PATH", str(path))
                patch.setenv("WANDB_RUN_ID", f"run{number}")
                patch.setenv("WANDB_SWEEP_ID", name)
                try:
                    function()
                except Exception as error:
                    self.errors.append(error)
        self.points = []

    def Api(self) -> SimpleNamespace:
        return SimpleNamespace(run=self._run)

    def _run(self, path: str) -> SimpleNamespace:
        summary = self.summaries.setdefault(path, {"val/loss": 9.0})

        class Summary(dict[str, Any]):
            def update(self, *_: Any) -> None:
                summary.update(dict(self))

        return SimpleNamespace(summary=Summary())


class Trained:
    """A process that has trained: the loss is a hundred times the learning rate; 0.5 fails."""

    def __init__(self, *_: Any) -> None:
        self.started: list[dict[str, str]] = []

    def __enter__(self) -> Trained:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start(self, words: Sequence[str], log: Path, variables: Mapping[str, str]) -> Any:
        values = dict(word.split("=", 1) for word in words if "=" in word)
        self.started.append({**values, **variables})
        rate = float(values["optimizer.lr"])
        folder = Path(values["output_dir"]) / values["name"] / values["run_id"]
        folder.mkdir(parents=True)
        lines = [{"step": 1, "val/loss": 100 * rate}, {"step": 2, "val/loss": 101 * rate}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        (folder / "status.json").write_text(json.dumps({"status": "done"}))
        if rate == 0.5:
            with log.open("a") as file:
                file.write("error: the loss is not finite\n")
        return SimpleNamespace(poll=lambda: int(rate == 0.5))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs an agent at the points; the agent, the server, the nursery, what was said."""
    nursery = Trained()
    monkeypatch.setattr(wandb_agent, "choose_mode", lambda *_: "online")
    monkeypatch.setattr(wandb_agent, "Nursery", lambda *_: nursery)

    def work(sweep: Sweep, *points: Mapping[str, Any]) -> Any:
        folder = StudyFolder(tmp_path / "s")
        folder.path.mkdir(exist_ok=True)
        server, said = Server(tmp_path, points), list[str]()
        monkeypatch.setitem(sys.modules, "wandb", server)
        agent = WandbSweep(sweep, folder, said.append, 1)
        return agent.run(), server, nursery, said

    return work


def test_the_points_of_the_server_are_run_and_it_is_told_what_the_tables_say(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    sweep = planned(*TRACKED, "optimizer.lr=0.001,0.01,0.5")
    rows, server, nursery, said = run(sweep, *({"optimizer.lr": v} for v in (0.01, 0.5)))
    (told,) = server.sweeps
    assert told["method"] == "grid" and "run_cap" not in told
    assert told["metric"] == {"name": "val/loss", "goal": "minimize"}
    assert told["parameters"] == {"optimizer.lr": {"values": [0.001, 0.01, 0.5]}}
    assert [(r.run, r.status, r.value) for r in rows] == [
        ("run0", "done", 1.0),
        ("run1", "failed", None),
    ]
    # The best validation, not the last one, which W&B would take by itself.
    assert server.summaries == {"mine/run0": {"val/loss": 1.0}}
    assert [str(e).split(" (")[0] for e in server.errors] == ["the loss is not finite"]
    first = nursery.started[0]
    assert first["optimizer.lr"] == "0.01" and first["WANDB_RUN_ID"] == "run0"
    assert first["WANDB_SWEEP_ID"] == "sw33p" and first["threads"] == "1"
    assert "run0: done after 0 s: val/loss 1" in said
    # The same command again is one more agent of the same sweep.
    again, server, _, _ = run(sweep, {"optimizer.lr": 0.001})
    assert not server.sweeps and [r.run for r in again] == ["run0", "run1", "run2"]
    with pytest.raises(UserError, match="is of a sweep with other options"):
        run(planned(*TRACKED, "optimizer.lr=0.001,0.02"))


def test_a_point_that_is_not_searched_is_refused(run: Callable[..., Any]) -> None:
    sweep = planned(*TRACKED, "sweep=random", "optimizer.lr=interval(0.001,0.1)")
    points = [{"optimizer.lr": 5.0}, {"optimizer.lr": "1;rm"}, {}, {"model": "gpt"}]
    rows, server, nursery, _ = run(sweep, *points)
    assert not rows and not nursery.started and len(server.errors) == 4
    for error in server.errors:
        assert "W&B asks for a point that is not searched: optimizer.lr=" in str(error)


def test_search_spaces_are_told_in_the_words_of_wandb() -> None:
    words = ["optimizer.lr=tag(log,interval(1e-4,1e-1))", "model.dropout=interval(0,0.5)"]
    words += ["model.d_model=interval(16,64)", "model.n_heads=1", "optimizer=adam,adamw"]
    sweep = planned(*TRACKED, *words, "sweep=tpe", "sweep.trials=7", "sweep.pruner=hyperband")
    told = configuration(sweep, "s")
    assert told["method"] == "bayes" and told["run_cap"] == 7
    assert told["early_terminate"]["type"] == "hyperband"
    assert told["parameters"] == {
        "optimizer.lr": {"distribution": "log_uniform_values", "min": 0.0001, "max": 0.1},
        "model.dropout": {"distribution": "uniform", "min": 0, "max": 0.5},
        "model.d_model": {"distribution": "int_uniform", "min": 16, "max": 64},
        "optimizer": {"values": ["adam", "adamw"]},
    }


def test_what_the_back_end_cannot_do_is_said(tmp_path: Path) -> None:
    rates = "optimizer.lr=0.1,0.2"
    with pytest.raises(ConfigError, match=r"tracker=\[.*wandb\]"):
        planned(*GPT, rates, "sweep.backend=wandb")
    with pytest.raises(ConfigError, match=r"sweep\.seeds.*\n.*\n.*sweep\.workers"):
        planned(*TRACKED, rates, "sweep.seeds=[1,2]", "sweep.workers=2")
    with pytest.raises(UserError, match="needs an account"):
        WandbSweep(
            planned(*TRACKED, rates, "tracker.wandb.mode=offline"), StudyFolder(tmp_path), print
        )
