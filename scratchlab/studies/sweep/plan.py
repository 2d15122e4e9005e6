"""A sweep before it runs: its overrides and search space read, every value in it checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scratchlab.config.check import MULTIPLE, SECTIONS, check
from scratchlab.config.compose import Composed, compose
from scratchlab.config.groups import config_groups
from scratchlab.config.overrides import key_of
from scratchlab.config.root import NO_MATTER
from scratchlab.errors import ConfigError, Fault, UserError
from scratchlab.registry import is_estimator, section_parts
from scratchlab.studies.sweep.metric import choose_metric
from scratchlab.studies.sweep.options import Config
from scratchlab.studies.sweep.space import (
    MOST_TRIALS,
    Dimension,
    first,
    grid_size,
    point_words,
    read_space,
)


@dataclass(frozen=True)
class Repeat:
    """One of the runs that a trial consists of: its seed and its fold, where there are several."""

    seed: int | None = None
    fold: int | None = None

    @property
    def suffix(self) -> str:
        """What follows the trial's name in that of the run."""
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return seed + ("" if self.fold is None else f"-fold{self.fold}")

    @property
    def words(self) -> list[str]:
        found = [] if self.seed is None else [f"seed={self.seed}"]
        return found + ([] if self.fold is None else [f"dataset.fold={self.fold}"])


@dataclass(frozen=True)
class Sweep:
    """A checked sweep: overrides of every trial, what varies, and how points are chosen.

    ``config`` is the whole configuration of the first point; ``defaults`` are overrides of every
    trial that the best configuration is to be without (what trials need not measure).
    """

    words: tuple[str, ...]
    defaults: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    options: Config
    config: dict[str, Any]
    config_dir: str | None = None
    note: str = ""  # why the metric is another than the usual one

    @property
    def trials(self) -> int:
        if self.options.sampler == "grid":
            return grid_size(self.dimensions)
        assert self.options.trials is not None
        return self.options.trials

    @property
    def repeats(self) -> tuple[Repeat, ...]:
        """The runs of a trial: one for each seed and fold."""
        seeds: Sequence[int | None] = self.options.seeds or [None]
        folds = range(self.options.folds) if self.options.folds else [None]
        return tuple(Repeat(seed, fold) for seed in seeds for fold in folds)

    def space(self) -> dict[str, Any]:
        return {d.key: d.as_dict() for d in self.dimensions}


def plan_sweep(words: Sequence[str], options: Config, config_dir: str | None) -> Sweep:
    """Read and check; :class:`ConfigError` with all faults of all values."""
    fixed, dimensions, faults = read_space(words, NO_MATTER)
    given = set(map(key_of, fixed))
    for key in ("run_id", "resume"):
        if key in given:
            faults.append(Fault(key, "is not for sweeps", "Trials name and resume themselves."))
    faults += _misfits(dimensions, options)
    faults += _misfits_of_repeats(options, {*given, *(d.key for d in dimensions)})
    if faults:
        raise ConfigError([*faults, *_others(faults, fixed, dimensions, config_dir)])
    if not dimensions:
        hint = "For example optimizer.lr=1e-4,1e-3 or optimizer.lr=interval(1e-4,1e-2)."
        raise UserError("nothing varies: no key has several values", hint)
    folded = [f"dataset.folds={options.folds}"] if options.folds else []
    words = [*fixed, *folded]
    composed = _composed([*words, *point_words(dimensions, first(dimensions))], config_dir)
    dimensions = [_whole(d, composed.config) for d in dimensions]
    variants, faults = _variants(words, dimensions, composed, config_dir)
    if faults:
        raise ConfigError(faults)
    options, note = choose_metric(options, variants)
    faults = _misfits_of_metric(options) + _misfits_of_backend(options, composed.config)
    if faults:
        raise ConfigError(faults)
    fitted = all(is_estimator(config) for config in variants.values())
    defaults = [w for w in _defaults(options, fitted) if key_of(w) not in given] + folded
    return Sweep(
        tuple(fixed), tuple(defaults), tuple(dimensions), options, composed.config, config_dir, note
    )


def _others(
    faults: Sequence[Fault],
    words: Sequence[str],
    dimensions: Sequence[Dimension],
    config_dir: str | None,
) -> list[Fault]:
    """What is wrong with the configuration of the first point beside ``faults``: a misspelt
    ``sweep`` is an unknown key, and may be the reason of them all."""
    try:
        compose([*words, *point_words(dimensions, first(dimensions))], config_dir=config_dir)
    except ConfigError as error:
        told = {fault.where for fault in faults}
        return [fault for fault in error.faults if fault.where not in told]
    return []


def _composed(words: Sequence[str], config_dir: str | None) -> Composed:
    try:
        return compose(words, config_dir=config_dir)
    except ConfigError as error:
        faults = [_of_folds(f) if f.where == "dataset.folds" else f for f in error.faults]
        raise ConfigError(faults) from error


def _of_folds(fault: Fault) -> Fault:
    """What is wrong with an option that ``sweep.folds`` has set, if the data set lacks it."""
    if fault.problem != "no such option":
        return Fault("sweep.folds", fault.problem, fault.hint)
    hint = "Rows, images and labelled texts have folds where they are divided by chance."
    return Fault("sweep.folds", "the data set has no folds", hint)


def _defaults(options: Config, fitted: bool) -> list[str]:
    """Trials are compared on the validation split; the test split is for the best of them. To draw
    takes longer than many an estimator is ``fitted``, so pictures are made of the best."""
    measured = options.chosen.startswith(("val/", "train/"))
    words = ["evaluate=false" if measured else "evaluate_split=val"]
    return [*words, "pictures=false"] if fitted else words


def _misfits(dimensions: Sequence[Dimension], options: Config) -> list[Fault]:
    faults = []
    endless = [d.key for d in dimensions if not d.finite]
    if options.sampler == "grid" and endless:
        hint = "Write sweep=random or sweep=tpe with sweep.trials=N, or list values."
        faults.append(Fault(endless[0], "a grid has no intervals", hint))
    if options.sampler == "grid" and not endless and grid_size(dimensions) > MOST_TRIALS:
        problem = f"{grid_size(dimensions):,} combinations, more than {MOST_TRIALS:,}"
        hint = "Write sweep=random or sweep=tpe with sweep.trials=N, or fewer values."
        faults.append(Fault("sweep", problem, hint))
    if options.sampler == "grid" and options.trials is not None:
        faults.append(Fault("sweep.trials", "a grid has as many trials as combinations"))
    if options.sampler != "grid" and options.trials is None:
        faults.append(Fault("sweep.trials", f"must be set for sweep={options.sampler}"))
    return faults


def _misfits_of_repeats(options: Config, keys: set[str]) -> list[Fault]:
    """``keys`` are those that the command sets or varies."""
    faults = []
    if len(set(options.seeds)) < len(options.seeds):
        faults.append(Fault("sweep.seeds", "names a seed twice"))
    if options.seeds and "seed" in keys:
        faults.append(Fault("seed", "sweep.seeds says with which seeds trials are run"))
    for key in ("dataset.folds", "dataset.fold"):
        if options.folds and key in keys:
            faults.append(Fault(key, "sweep.folds says on which folds trials are run"))
    return faults


def _misfits_of_metric(options: Config) -> list[Fault]:
    if not options.pruner or options.chosen.startswith("val/"):
        return []
    hint = "Choose sweep.metric=val/NAME."
    return [Fault("sweep.pruner", "watches validations, not what ends a run", hint)]


def _misfits_of_backend(options: Config, config: Mapping[str, Any]) -> list[Fault]:
    if options.backend == "optuna":
        return []
    trackers = [entry.get("name") for entry in (config.get("tracker") or {}).values()]
    if "wandb" not in trackers:
        names = ",".join(map(str, [*trackers, "wandb"]))
        problem = "sweep.backend=wandb compares what trials tell to W&B"
        return [Fault("tracker", problem, f"Write tracker=[{names}].")]
    theirs = {
        "sweep.storage": options.storage is not None,
        "sweep.seeds": bool(options.seeds),
        "sweep.folds": options.folds is not None,
        "sweep.pruner": options.pruner == "median",
        "sweep.workers": options.workers > 1,
    }
    hints = {
        "sweep.pruner": "Choose hyperband.",
        "sweep.workers": "Start the same command again, here or elsewhere: each is an agent.",
    }
    return [
        Fault(key, "is not for sweep.backend=wandb", hints.get(key, "Leave it out."))
        for key, given in theirs.items()
        if given
    ]


def _whole(dimension: Dimension, config: dict[str, Any]) -> Dimension:
    """An interval of an option that is declared as a whole number holds whole numbers."""
    ends = (dimension.low, dimension.high)
    if dimension.finite or dimension.integer or any(e != int(e) for e in ends):
        return dimension
    section, _, name = dimension.key.partition(".")
    entry = config.get(section)
    if section in MULTIPLE and isinstance(entry, dict):
        key, _, name = name.partition(".")
        entry = entry.get(key)
    if section not in SECTIONS or not isinstance(entry, dict):
        return dimension
    part = section_parts(section).get(str(entry.get("name")))
    types = [o.type for o in part.options if o.name == name] if part else []
    whole = bool(types) and "int" in types[0] and "float" not in types[0]
    return replace(dimension, integer=True) if whole else dimension


def _variants(
    fixed: Sequence[str],
    dimensions: Sequence[Dimension],
    composed: Composed,
    config_dir: str | None,
) -> tuple[dict[str, dict[str, Any]], list[Fault]]:
    """The configuration with each value of a dimension (the others keep their first), and what is
    wrong with any of them."""
    start = first(dimensions)
    groups = config_groups(config_dir)
    found: dict[tuple[str, str], Fault] = {}
    variants = {"": composed.config}
    for dimension in dimensions:
        for value in dimension.ends():
            faults: list[Fault] = []
            grouped = dimension.key in groups
            if not grouped:
                variant, faults = check(_changed(composed.config, dimension.key, value))
            if grouped or (faults and isinstance(value, str)):  # a text may stand for a list
                point = point_words(dimensions, {**start, dimension.key: value})
                try:
                    variant = compose([*fixed, *point], config_dir=config_dir).config
                    faults = []
                except ConfigError as error:
                    faults = error.faults
            for fault in faults:
                found[(fault.where, fault.problem)] = fault
            if not faults:
                variants[dimension.word(value)] = variant
    return variants, list(found.values())


def _changed(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    *parents, leaf = key.split(".")
    node = changed
    for parent in parents:
        node = node[parent]
    node[leaf] = value
    return changed
