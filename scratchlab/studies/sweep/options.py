"""The options of a sweep: ``sweep=NAME`` reads configs/sweep/NAME.yaml, ``sweep.KEY`` wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchlab.config.origin import config_folders
from scratchlab.config.overrides import key_of, last_value, read_values
from scratchlab.config.schema import check_options
from scratchlab.errors import ConfigError, UserError, suggest
from scratchlab.registry import Option, option, read_options
from scratchlab.run.folder import read_config

GROUP = "sweep"


@dataclass(frozen=True)
class Config:
    """What ``sweep.KEY=VALUE`` and the files of configs/sweep may say."""

    backend: str = option(
        "optuna",
        "who chooses the points and keeps the study: Optuna here, or the server of Weights & "
        "Biases, whose agent then runs the trials here, one after the other",
        choices=("optuna", "wandb"),
    )
    sampler: str = option("grid", "how points are chosen", choices=("grid", "random", "tpe"))
    trials: int | None = option(
        None, "points in all (random and tpe; a grid has its own number)", min=1, max=10_000
    )
    metric: str | None = option(
        None,
        "what is compared: val/NAME is the best validation of a run; NAME is measured by an "
        "evaluator, on the validation split if the command names no other; null: val/loss, or "
        "what all trials have in one unit",
    )
    direction: str | None = option(
        None,
        "null: as the metric improves",
        choices=("lower", "higher", None),
    )
    workers: int = option(
        1, "trials at a time, each a process with its share of the cores", min=1, max=256
    )
    seeds: list[int] = option(
        [],
        "every trial once with each of these seeds: compared by the mean, shown with the standard "
        "deviation",
        min=0,
    )
    folds: int | None = option(
        None,
        "every trial once for each of so many folds of its data (dataset.folds), compared by the "
        "mean of what the validation splits beside the folds give",
        min=2,
    )
    race: bool = option(
        True,
        "with seeds or folds: end a trial after the first of them that tells that it cannot come "
        "up with the best",
    )
    pruner: str | None = option(
        None,
        "median: end a trial whose validation is worse than the median of the others at the same "
        "update; hyperband: one that is not among the best third of its bracket at 1, 3, 9 … times "
        "the updates before the first validation; of several runs of a trial the first is watched",
        choices=("median", "hyperband", None),
    )
    pruner_trials: int = option(
        5, "median: trials that must have ended before any is pruned", min=1
    )
    pruner_warmup: int = option(0, "updates of a trial before it may be pruned", min=0)
    fail_fast: int | None = option(
        None, "begin no more trials once so many have failed for the same reason", min=1
    )
    storage: str | None = option(
        None,
        "where the study is kept: null is a file in the sweep's folder; several machines share "
        "the path of a journal file or an Optuna storage URL (postgresql+psycopg://…, mysql://…, "
        "sqlite:///…, redis://…)",
    )
    lease: float = option(
        60.0,
        "seconds without a sign of life after which others take a worker for dead and its trial "
        "over (at once where they see that its process is gone)",
        min=0.2,
    )
    seed: int = option(0, "seed of the choice of points", min=0)
    overrides: list[str] = option([], "overrides and search space, as in a command")

    @property
    def better(self) -> str:
        """``lower`` or ``higher``, once the metric is chosen (:func:`choose_metric`)."""
        assert self.direction is not None
        return self.direction

    @property
    def chosen(self) -> str:
        """The metric, once it is chosen."""
        assert self.metric is not None
        return self.metric


def sweep_options() -> tuple[Option, ...]:
    """The declared options."""
    return read_options(Path(__file__), "Config")


def sweep_files(config_dir: str | None) -> dict[str, Path]:
    """The files of the group ``sweep`` by name; a folder of the user's comes first."""
    found: dict[str, Path] = {}
    for folder in config_folders(config_dir):
        for path in sorted((folder / GROUP).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def read_sweep_options(words: Sequence[str], config_dir: str | None) -> tuple[Config, list[str]]:
    """The options of a command, and its other words after those that the chosen file brings."""
    own = [w for w in words if f"{key_of(w)}.".startswith(f"{GROUP}.")]
    chosen = last_value(own, GROUP) or "grid"
    values, faults = read_values(
        [w for w in own if key_of(w) != GROUP], sweep_options(), f"{GROUP}."
    )
    files = sweep_files(config_dir)
    if chosen not in files:
        raise UserError(f"there is no sweep {chosen!r}", suggest(chosen, files))
    complete, found = check_options(
        GROUP, {**read_config(files[chosen]), **values}, sweep_options()
    )
    if faults or found:
        raise ConfigError([*faults, *found])
    config = Config(**complete)
    return config, [*config.overrides, *(w for w in words if w not in own)]
