"""Weights & Biases as the back end of a sweep: its server chooses, its agent has trials run here.

The server is told the search space and the metric once; its name of the sweep is kept in the
folder, so that the same command again, or on another machine that shares the folder, is one more
agent. Of what the server says only values are taken, and only such as the search space holds:
nothing that it sends is run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scratchlab.config.reading import read_json, require
from scratchlab.errors import MissingPackageError, UserError
from scratchlab.reporting.search import Tried, shown_value
from scratchlab.run.atomic import open_to_append, write_json
from scratchlab.studies.nursery import Nursery
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.sweep.plan import Sweep
from scratchlab.studies.sweep.space import Dimension, point_words
from scratchlab.studies.sweep.values import objective
from scratchlab.studies.workers import THREAD_VARIABLES, Job, Outcome, outcome_of, start
from scratchlab.tracking.wandb import choose_mode

NAME = "wandb-sweep.json"
TRIALS = "wandb-trials.jsonl"
METHODS = {"grid": "grid", "random": "random", "tpe": "bayes"}
PARAMETERS = "WANDB_SWEEP_PARAM_PATH"  # the agent's: where the point of a run is written
OF_A_RUN = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", PARAMETERS, "WANDB_PROJECT", "WANDB_ENTITY")
SECONDS_BETWEEN_LOOKS = 0.2


def configuration(sweep: Sweep, name: str) -> dict[str, Any]:
    """The sweep as W&B describes one."""
    options = sweep.options
    goal = "minimize" if options.better == "lower" else "maximize"
    found: dict[str, Any] = {
        "name": name,
        "method": METHODS[options.sampler],
        "metric": {"name": options.chosen, "goal": goal},
        "parameters": {d.key: _parameter(d) for d in sweep.dimensions},
    }
    if options.sampler != "grid":
        found["run_cap"] = options.trials
    if options.pruner == "hyperband":  # counts how often the metric was logged
        found["early_terminate"] = {"type": "hyperband", "min_iter": 1, "eta": 3}
    return found


def _parameter(dimension: Dimension) -> dict[str, Any]:
    if dimension.finite:
        return {"values": list(dimension.values)}
    low, high = dimension.ends()
    whole = {"q": 1} if dimension.integer and dimension.log else {}
    name = {
        (False, False): "uniform",
        (True, False): "int_uniform",
        (False, True): "log_uniform_values",
        (True, True): "q_log_uniform_values",
    }[dimension.integer, dimension.log]
    return {"distribution": name, "min": low, "max": high, **whole}


class WandbSweep:
    """An agent: runs what the server asks for, and keeps what came of it in the folder."""

    def __init__(
        self,
        sweep: Sweep,
        folder: StudyFolder,
        say: Callable[[str], None],
        threads: int | None = None,
    ) -> None:
        self.sweep, self.folder, self.say = sweep, folder, say
        self.threads = [] if threads is None else [f"threads={threads}"]
        self.variables = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
        tracker = sweep.config.get("tracker") or {}
        options: dict[str, Any] = next(
            (t for t in tracker.values() if t.get("name") == "wandb"), {}
        )
        self.project = str(options.get("project", "scratchlab"))
        self.entity: str | None = options.get("entity")
        if choose_mode(options.get("mode", "auto"), os.environ) != "online":
            raise UserError(
                "sweep.backend=wandb: the points come from W&B's server, which needs an account",
                "wandb login, or leave out sweep.backend to have them chosen here.",
            )
        try:
            import wandb
        except ImportError as error:
            raise MissingPackageError("wandb", "sweep.backend=wandb", "wandb") from error
        self.wandb: Any = wandb

    def run(self) -> list[Tried]:
        """Run trials until the server has no more; all that were run into this folder."""
        os.environ["WANDB_DIR"] = str(self.folder.path.resolve())
        try:
            with self.folder.reporting():  # of several commands at once one makes the sweep
                name = self._name()
            self.say(f"W&B sweep {name}: this is an agent of it, Ctrl-C ends it")
            with Nursery(self.variables) as self.nursery:
                self.wandb.agent(
                    name,
                    function=self._trial,
                    project=self.project,
                    entity=self.entity,
                    max_consecutive_failed_runs=self.sweep.options.fail_fast,
                )
        except self.wandb.Error as error:
            raise UserError(f"W&B: {error}", "Is the account set up? wandb login") from error
        return self.tried()

    def _name(self) -> str:
        """The server's name of the sweep, which is made if there is none."""
        path = self.folder.path / NAME
        told = configuration(self.sweep, self.folder.path.name)
        if path.is_file():
            kept = require(read_json(path), {"sweep": "str", "told": {}}, path)
            if kept["told"] != json.loads(json.dumps(told)):
                raise UserError(
                    f"{path} is of a sweep with other options",
                    "Write name=NAME for a new sweep beside it.",
                )
            return str(kept["sweep"])
        name = str(self.wandb.sweep(told, project=self.project, entity=self.entity))
        write_json(path, {"sweep": name, "told": told})
        return name

    def _trial(self) -> None:
        """Called by the agent with the environment of a run; raises if it failed."""
        run = os.environ["WANDB_RUN_ID"]
        point = self._point(Path(os.environ[PARAMETERS]))
        sweep = self.sweep
        flags = ["--config-dir", sweep.config_dir] if sweep.config_dir else []
        words = [*sweep.words, *sweep.defaults, *self.threads]
        words += point_words(sweep.dimensions, point)
        job = self.folder.job(run, ["train", *flags], words)
        shown = " ".join(f"{key}={shown_value(value)}" for key, value in point.items())
        self.say(f"{run}: started: {shown} (log: {job.log})")
        try:
            outcome = self._outcome(job)
        except BaseException:
            self._keep(run, point, None, Outcome(run, "pruned", "ended by W&B", str(job.log)))
            raise
        value = None
        if outcome.status == "done":
            try:
                value = objective(job.folder, sweep.options)
            except UserError as error:
                outcome.status, outcome.reason = "failed", error.message
        self._keep(run, point, value, outcome)
        if value is None:
            raise RuntimeError(f"{outcome.reason} (log: {outcome.log})")
        self._tell(run, value)

    def _point(self, path: Path) -> dict[str, Any]:
        from scratchlab.run.folder import read_config

        told = read_config(path)
        point = {}
        for dimension in self.sweep.dimensions:
            entry = told.get(dimension.key)
            try:
                point[dimension.key] = dimension.known(
                    entry.get("value") if isinstance(entry, dict) else None
                )
            except ValueError as error:
                raise UserError(f"W&B asks for a point that is not searched: {error}") from None
        return point

    def _outcome(self, job: Job) -> Outcome:
        """Run it. The agent ends this early by an exception in this thread."""
        variables = {key: os.environ[key] for key in OF_A_RUN if key in os.environ}
        one = start(job, self.nursery, variables)
        try:
            while (code := one.process.poll()) is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
        except BaseException:
            one.process.terminate()
            one.process.wait()
            raise
        return outcome_of(one, code)

    def _tell(self, run: str, value: float) -> None:
        """The server is to compare by the same figure as the tables: the best validation of a run,
        or what an evaluator measured at its end, where it knows what was logged last."""
        path = "/".join(filter(None, (self.entity, self.project, run)))
        found = self.wandb.Api().run(path)
        found.summary[self.sweep.options.chosen] = value
        found.summary.update()

    def _keep(self, run: str, point: dict[str, Any], value: float | None, how: Outcome) -> None:
        text = f"{self.sweep.options.chosen} {value:.5g}" if value is not None else how.reason
        self.say(f"{run}: {how.status} after {how.seconds:.0f} s: {text}")
        entry = {"run": run, "params": point, "value": value, "status": how.status}
        entry |= {"reason": how.reason, "log": how.log, "seconds": how.seconds}
        with open_to_append(self.folder.path / TRIALS) as file:
            file.write(json.dumps(entry).encode() + b"\n")
        self.folder.record([Outcome(t.run, t.status, t.reason, t.log) for t in self.tried()])

    def tried(self) -> list[Tried]:
        """The trials that were run into this folder."""
        path = self.folder.path / TRIALS
        lines = path.read_bytes().splitlines() if path.is_file() else []
        return [Tried(**json.loads(line)) for line in lines]
