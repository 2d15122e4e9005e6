"""The journal of a study: what killed processes, full disks and strange files do to it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalStorage

from scratchlab.errors import UserError
from scratchlab.run.temporary import this_process
from scratchlab.studies.sweep import journal as module
from scratchlab.studies.sweep.journal import Journal


def study(path: Path, **options: object) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(Journal(path, **options))  # type: ignore[arg-type]
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


def trials(path: Path) -> int:
    return len(study(path).get_trials())


def test_a_line_that_was_not_ended_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study(path).ask()
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x","stu')
    first = study(path)
    first.ask()
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    assert trials(path) == 2 and len(first.get_trials()) == 2


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study(path).ask()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"torn" + lines[1], *lines[2:]]))
    with pytest.raises(UserError, match=r"study\.journal, line 2: is damaged"):
        study(path)


@pytest.mark.parametrize("content", ["my notes\n", '{"mine": 1}\n', "no newline", "\n", "[1]\n"])
def test_a_file_that_is_no_journal_is_not_written_to(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(UserError, match="is no journal of a study"):
        study(path)
    assert path.read_text() == content and list(tmp_path.iterdir()) == [path]


def test_the_lock_of_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    named = "from scratchlab.run.temporary import this_process; print(this_process())"
    gone = subprocess.run([sys.executable, "-c", named], capture_output=True, text=True)
    path = tmp_path / "study.journal"
    lock = tmp_path / "study.journal.lock"
    lock.symlink_to(f"{socket.gethostname()}:{gone.stdout.strip()}:abcd")
    said: list[str] = []
    study(path, say=said.append).ask()
    assert said == [f"{lock} was left behind by a process that is gone; it is taken away"]
    assert not lock.is_symlink()


def test_a_wait_for_another_process_is_said_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_OF_SILENCE", 0.0)
    monkeypatch.setattr(module, "SECONDS_OF_GRACE", 0.1)
    path = tmp_path / "study.journal"
    lock = tmp_path / "study.journal.lock"
    holder = f"{socket.gethostname()}:{this_process()}:abcd"
    lock.symlink_to(holder)
    said: list[str] = []
    study(path, say=said.append)
    assert said[0] == f"waiting for {lock}, held by {holder}"
    assert "taken away" in said[1] and len(said) == 2


def test_a_full_disk_is_one_line_and_leaves_the_journal_whole(small_disk: Path) -> None:
    path = small_disk / "study.journal"
    first = study(path)
    with (small_disk / "filling").open("ab", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(UserError, match=r"Cannot write .*study\.journal: the disk is full"):
        for _ in range(200):
            first.ask()
    assert path.read_bytes().endswith(b"\n")
    (small_disk / "filling").unlink()
    before = trials(path)
    study(path).ask()
    assert trials(path) == before + 1
