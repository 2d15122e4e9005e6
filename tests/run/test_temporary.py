"""What killed processes leave behind goes at the next start; what living ones write stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scratchlab.cli import main
from scratchlab.data.batching.cache import Arrays, cached
from scratchlab.data.batching.token_shards import prepared
from scratchlab.run.atomic import replacing, write_text
from scratchlab.run.temporary import is_abandoned, sweep, temporary_name


def in_a_process_that_is_killed(work: Callable[[], object]) -> None:
    process = os.fork()
    if process == 0:
        try:
            work()
        finally:
            os._exit(3)
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL


def killed(*_: object) -> Arrays:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("is dead")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def half_an_entry(folder: Path) -> None:
    with replacing(folder / "entry.npz") as file:
        file.write(bytes(1000))
        file.flush()
        killed()


def half_a_corpus(folder: Path) -> None:
    def build(incoming: Path) -> dict[str, object]:
        (incoming / "train-0.npy").write_bytes(bytes(1000))
        killed()
        return {}

    prepared(folder, "text", "key", build)


@pytest.mark.parametrize("left", [half_an_entry, half_a_corpus])
def test_preparation_that_was_killed_is_swept_from_the_cache_at_the_next_start(
    tmp_path: Path, left: Callable[[Path], None]
) -> None:
    in_a_process_that_is_killed(lambda: left(tmp_path))
    assert len(names(tmp_path)) == 1 and names(tmp_path)[0].endswith(".tmp")
    living = tmp_path / temporary_name(".mine")
    living.write_text("not yet whole")
    foreign = tmp_path / ".other.0000-1-1-00000000.tmp"  # of another machine, perhaps
    foreign.write_text("")
    cached(tmp_path, "a", "k", lambda: {"ids": np.arange(3)})
    assert set(names(tmp_path)) == {"a-k.npz", living.name, foreign.name}


def test_a_file_is_swept_when_its_folder_is_written_to(tmp_path: Path) -> None:
    in_a_process_that_is_killed(lambda: half_an_entry(tmp_path))
    write_text(tmp_path / "b.txt", "b")
    assert names(tmp_path) == ["b.txt"]


def test_a_number_that_another_process_got_is_not_taken_for_the_old_one() -> None:
    name = temporary_name(".x")
    assert not is_abandoned(name)
    machine, process, started = name.removeprefix(".x.").split("-")[:3]
    earlier = f".x.{machine}-{process}-{int(started, 16) - 100:x}-00000000.tmp"
    assert is_abandoned(earlier)
    for other in (".x.tmp", ".x.0123456789ab.tmp", f"{name}.txt", "notes.txt"):
        assert not is_abandoned(other)


def test_links_are_swept_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    machine = temporary_name("x").split(".")[1].split("-")[0]
    (tmp_path / "cache" / f".x.{machine}-999999999-1-00000000.tmp").symlink_to(tmp_path / "kept")
    sweep(tmp_path / "cache")
    assert names(tmp_path / "cache") == []
    assert (tmp_path / "kept" / "file").read_text() == "kept"


PROGRAM = """
import os, sys, tempfile
from scratchlab.run.temporary import use_own_folder
folder = use_own_folder()
assert use_own_folder() == folder
made = tempfile.mkdtemp()
assert made.startswith(str(folder)) and os.environ["TMPDIR"] == str(folder)
if sys.argv[1] == "child":
    if os.fork() == 0:
        own = use_own_folder()
        assert own != folder and own.parent == folder.parent
        sys.exit(0)
    os.wait()
    assert os.path.isdir(made)
print(folder, flush=True)
if sys.argv[1] == "hang":
    sys.stdin.read()
"""


def test_the_temporary_folder_of_a_process_goes_with_it_or_at_the_next_start(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    def start(how: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment | {"TMPDIR": str(tmp_path)},
        )

    for how in ("end", "child"):
        process = start(how)
        assert process.communicate()[0].strip() and process.returncode == 0
        assert names(tmp_path) == []
    hanging = [start("hang"), start("hang")]
    folders = [Path(p.stdout.readline().strip()) for p in hanging if p.stdout is not None]
    assert all(folder.is_dir() for folder in folders)
    hanging[0].kill()
    hanging[0].communicate()
    assert start("end").communicate()[0]
    assert names(tmp_path) == [folders[1].name]
    hanging[1].communicate()
    assert names(tmp_path) == []


def test_a_refused_command_leaves_no_run_folder_unless_a_study_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.csv").write_text("a,b\n1,x\n")
    words = ["train", "model=logistic", "dataset=table", "dataset.path=few.csv", "name=few"]
    for named in ([], ["run_id=one"]):
        assert main([*words, "cache_dir=cache", *named]) == 2
        assert "error: " in capfd.readouterr().err
        assert not (tmp_path / "outputs").exists() or names(tmp_path / "outputs") == []
    assert main([*words, "cache_dir=cache", "run_id=one", "resume=true"]) == 2
    assert (tmp_path / "outputs" / "few" / "one" / "train.log").is_file()


def test_a_clock_that_is_set_while_a_process_lives_does_not_make_it_a_gone_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psutil

    name, boot, created = temporary_name(".x"), psutil.boot_time, psutil.Process.create_time
    monkeypatch.setattr(psutil, "boot_time", lambda: boot() + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) + 3600)
    assert not is_abandoned(name)
