"""A study in PostgreSQL: several workers, several commands, kills at random moments."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.support.postgresql import postgresql

from . import pulling
from .test_sharing import started, statuses

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


def study(url: str, name: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(storage=url, study_name=name, load_if_exists=True)


def test_workers_at_one_study_run_each_trial_once(server: str, tmp_path: Path) -> None:
    open_it = partial(study, server, "shared")
    open_it()._storage.remove_session()
    work = partial(pulling.pull, open_it, tmp_path, 24, lease=30.0)
    codes = [os.waitpid(pid, 0)[1] for pid in [pulling.start(work) for _ in range(4)]]
    assert codes == [0] * 4
    pulling.require_each_once(open_it(), tmp_path, 24)
    assert all(len((tmp_path / f"trial-{n:03d}").read_text().split()) == 1 for n in range(24))


@pytest.mark.parametrize("seed", range(2))
def test_of_workers_that_are_killed_no_trial_is_lost_and_none_done_twice(
    server: str, tmp_path: Path, seed: int
) -> None:
    open_it = partial(study, server, f"killed{seed}")
    open_it()._storage.remove_session()
    pulling.killed_at_random(open_it, tmp_path, trials=40, kills=20, seed=seed)
    pulling.require_each_once(open_it(), tmp_path, 40)


def test_two_commands_in_two_folders_share_the_trials(
    launcher: Any, model_words: list[str], server: str, tmp_path: Path
) -> None:
    words = ["sweep", *model_words, "model.dropout=0,0.1,0.2,0.3,0.4,0.5", "name=both"]
    words += [f"sweep.storage='{server}'", "sweep.lease=4"]
    first = launcher.start(*words, "output_dir=a", cwd=tmp_path, fork_runs=True)
    assert first.wait_until(lambda: any((tmp_path / "a/both").glob("trial-*")))
    second = launcher.run(*words, "output_dir=b", cwd=tmp_path, fork_runs=True)
    ended = first.wait()
    assert ended.code == second.code == 0, ended.err + second.err
    both = started(ended.err) + started(second.err)
    assert sorted(both.items()) == [(f"trial-{n:03d}", 1) for n in range(6)]
    found = [statuses(tmp_path / folder / "both") for folder in ("a", "b")]
    assert ["done"] * 6 in found, found
    status = launcher.run(*words, "output_dir=c", "--status", cwd=tmp_path)
    assert status.out == "both: 6 trials: 6 done\n" and not (tmp_path / "c").exists()


def test_a_server_that_goes_away_ends_the_command_in_a_line(
    launcher: Any, model_words: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *model_words, "model.dropout=0,0.1", "name=gone", "trainer.max_steps=400"]
    folder = tmp_path / "outputs/gone"
    with postgresql() as url:
        words.append(f"sweep.storage='{url}'")
        command = launcher.start(*words, cwd=tmp_path, fork_runs=True)
        assert command.wait_until(lambda: (folder / "trial-000/checkpoints/last").exists())
    done = command.wait()
    assert done.code == 2 and "Traceback" not in done.err, done.err
    assert "error: sweep.storage: the study cannot be reached: " in done.err
    status = json.loads((folder / "trial-000/status.json").read_text())
    assert status["status"] in ("stopped", "done")
