"""Where studies are kept: lines of JSON, whoever else writes there."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._base import BaseJournalSnapshot

from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.sweep.study import _storage


class Stranger(BaseJournalBackend, BaseJournalSnapshot):
    """A Redis to which somebody has written a snapshot that runs code when it is loaded."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Any:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += logs

    def save_snapshot(self, snapshot: bytes) -> None:
        raise AssertionError("a pickle is written")

    def load_snapshot(self) -> bytes | None:
        return pickle.dumps(Harm())


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_a_snapshot_that_a_server_keeps_is_never_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("optuna.storages.journal.JournalRedisBackend", Stranger)
    folder = StudyFolder(tmp_path / "study")
    storage = _storage("redis://localhost", folder, lambda text: None)
    study = optuna.create_study(storage=storage, study_name="mine")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=101)  # past a snapshot
    assert len(study.trials) == 101 and not (tmp_path / "ran").exists()
