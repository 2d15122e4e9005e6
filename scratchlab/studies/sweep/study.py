"""The study of a sweep: opened on its storage, with Optuna's samplers and pruners."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import optuna

from scratchlab.errors import MissingPackageError, UserError
from scratchlab.regular_files import expanded
from scratchlab.studies.runs import JOURNALS, StudyFolder, completed, differences
from scratchlab.studies.sweep.journal import Journal, WithoutSnapshots
from scratchlab.studies.sweep.options import Config
from scratchlab.studies.sweep.plan import Sweep
from scratchlab.studies.sweep.space import seed_of

SECONDS_OF_SQLITE = 60.0  # that a writer waits for another one
MOST_TRIES = 5
# Packages that speak to a kind of storage, and our extra that installs them.
DRIVERS = {"postgresql": ("psycopg", "postgresql"), "redis": ("redis", None)}


def open_study(
    sweep: Sweep, folder: StudyFolder, say: Callable[[str], None] = lambda text: None
) -> optuna.Study:
    """Make the study or go on with it; UserError if it is a study of something else."""
    study = _opened(sweep, folder, say)
    _require_same(study, sweep)
    return study


@contextlib.contextmanager
def within_reach() -> Iterator[None]:
    """Inside, a database that cannot be reached any more is a UserError."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("sqlalchemy", "optuna.exceptions", "redis")):
            raise
        cause = error.__cause__ or error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise UserError(
            f"sweep.storage: the study cannot be reached: {reason}",
            "The same command goes on with it once it can be.",
        ) from error


def find_study(sweep: Sweep, folder: StudyFolder) -> optuna.Study | None:
    """The study if it has been begun, to look at it."""
    if sweep.options.storage is None and not (folder.path / JOURNALS["sweep"]).is_file():
        return None
    return _opened(sweep, folder)


def _opened(
    sweep: Sweep, folder: StudyFolder, say: Callable[[str], None] = lambda text: None
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = sweep.options
    tries = 1
    while True:
        try:
            return optuna.create_study(
                storage=_storage(options.storage, folder, say),
                study_name=folder.path.name,
                direction="minimize" if options.better == "lower" else "maximize",
                load_if_exists=True,
            )
        except UserError:
            raise
        except ImportError as error:
            raise _driver_missing(str(options.storage)) from error
        except Exception as error:
            # Of several commands that find an empty database, one makes its tables.
            if tries < MOST_TRIES and type(error).__module__.startswith(("sqlalchemy", "optuna")):
                tries += 1
                time.sleep(random.random() / 2)
                continue
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"sweep.storage: the study cannot be opened: {reason}") from error


def _driver_missing(url: str) -> UserError:
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme in DRIVERS:
        return MissingPackageError(DRIVERS[scheme][0], f"sweep.storage={url}", DRIVERS[scheme][1])
    return UserError(
        f"sweep.storage: there is no driver for {scheme}:// here",
        "Install the one that SQLAlchemy names for this kind of database.",
    )


def _storage(
    given: str | None, folder: StudyFolder, say: Callable[[str], None]
) -> optuna.storages.BaseStorage:
    from optuna.storages.journal import JournalRedisBackend, JournalStorage

    if given is None:
        return JournalStorage(Journal(folder.path / JOURNALS["sweep"], say))
    if given.startswith("redis"):
        return JournalStorage(WithoutSnapshots(JournalRedisBackend(given)))
    if given.startswith("sqlite"):
        return sqlite(given)
    if "://" in given:
        return optuna.storages.get_storage(given)
    path = expanded(given)
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(Journal(path, say))


def sqlite(url: str) -> optuna.storages.BaseStorage:
    """SQLite whose transactions take the right to write at once and wait for it.

    By default it takes it at the first writing, when another may have written what was read, and
    gives up if two wait for each other.
    """
    from sqlalchemy import event

    waiting = {"connect_args": {"timeout": SECONDS_OF_SQLITE}}
    backend = optuna.storages.RDBStorage(url, engine_kwargs=waiting)
    backend.engine.dispose()

    @event.listens_for(backend.engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself

    @event.listens_for(backend.engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return optuna.storages.get_storage(backend)


def pruner_of(sweep: Sweep) -> optuna.pruners.BasePruner:
    """What ends trials early, by the updates at which they were validated."""
    options, trainer = sweep.options, sweep.config["trainer"]
    if options.pruner == "median":
        return optuna.pruners.MedianPruner(options.pruner_trials, options.pruner_warmup)
    if options.pruner == "hyperband":
        # As many brackets as there are rungs between the first validation and the last.
        first = max(options.pruner_warmup, trainer.get("validate_every") or 1)
        last = trainer.get("max_steps") or "auto"  # auto: that of the first trial to end
        return optuna.pruners.HyperbandPruner(first, last)
    return optuna.pruners.NopPruner()


def sampler_of(options: Config, number: int) -> optuna.samplers.BaseSampler:
    """A sampler whose draws depend on the trial's number and the trials before it alone."""
    seed = seed_of(options.seed, number)
    if options.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _require_same(study: optuna.Study, sweep: Sweep) -> None:
    """The study's trials must be comparable with those to come."""
    now: dict[str, Any] = {
        "metric": sweep.options.chosen,
        "space": sweep.space(),
        "repeats": [repeat.suffix for repeat in sweep.repeats],
        "config": sweep.config,
    }
    before = study.user_attrs
    if not study.get_trials(deepcopy=False) or "config" not in before:
        for key, value in now.items():
            study.set_user_attr(key, value)
        return
    hint = "Write name=NAME for a new sweep beside it."
    meanings = {"metric": "metric", "space": "space", "repeats": "list of seeds or folds"}
    for key, meant in meanings.items():
        was = before.get(key, [""])
        if was != now[key]:
            raise UserError(
                f"the sweep {study.study_name} has another {meant}: {was}, now {now[key]}", hint
            )
    changed = list(differences(completed(before["config"]), now["config"]))
    if changed:
        key, old, new = changed[0]
        raise UserError(
            f"the sweep {study.study_name} was begun with {key}={old!r}, now it is {new!r}", hint
        )
