"""launcher=slurm without a cluster: its options, its batch script, and a worker in its job."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scratchlab.cli import main
from scratchlab.errors import Stopped, UserError
from scratchlab.run.interrupt import Interrupt
from scratchlab.studies.runs import StudyFolder
from scratchlab.studies.slurm.allocation import Allocation, own_task
from scratchlab.studies.slurm.jobs import RESTARTS, cancel_waiting, submit, tasks
from scratchlab.studies.slurm.launch import Launch, worker_words
from scratchlab.studies.slurm.options import Config, read_launcher
from scratchlab.studies.sweep.leases import new_worker, place_of
from tests.support.slurm import stand_in

WORDS = ["model=gpt", "model.dropout=0,0.1", "sweep.workers=4", "name=it", "wait=false"]
SLURM = ["launcher=slurm", "slurm.partition=usual", "slurm.cpus=4", "slurm.runs=2"]


class Study:
    """Stands in for a sweep: so many trials left, whose states change as a test says."""

    def __init__(self, *left: int) -> None:
        self.counts = list(left)

    def left(self) -> int:
        return self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]

    def states(self) -> dict[str, str]:
        return {"trial-000": f"state {len(self.counts)}"}


def test_a_file_of_options_cannot_submit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep").mkdir()
    words = '["launcher=slurm", "slurm.more=[export-file=theirs]"]'
    (tmp_path / "sweep" / "theirs.yaml").write_text(f"overrides: {words}\n", encoding="utf-8")
    line = ["sweep", "sweep=theirs", *WORDS[:2], "dataset=python_docs", "--config-dir=."]
    assert main([*line, "--dry-run"]) == 2
    assert "unknown key 'launcher'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("slurm.time=2h", "Write 90 (minutes), 1:30:00 or 2-12."),
        ("slurm.time=1:2:3", "no time limit of Slurm's"),
        ("slurm.memory=lots", "Write 800M or 16G."),
        ("slurm.gpus=a100", "Write 2, or a100:2."),
        ("slurm.cpus=0", "slurm.cpus"),
        ("slurm.partition='a b'", "no name of a partition"),
        ("slurm.partion=gpu", "Did you mean 'partition'?"),
        ("slurm.more=[wrap=x]", "wrap is set by the launcher"),
        ("slurm.more=[account=a\n#SBATCH]", "is no option of sbatch"),
        ("launcher=slrum", "Did you mean 'slurm'?"),
    ],
)
def test_a_wrong_option_is_told_with_what_would_be_right(word: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_launcher(["launcher=slurm", word])
    assert said in str(caught.value)


def test_options_without_the_launcher_do_nothing_and_that_is_said() -> None:
    with pytest.raises(UserError, match=r"slurm\.time=10: does nothing with launcher=here"):
        read_launcher(["slurm.time=10"])
    with pytest.raises(UserError, match="--worker is one"):
        read_launcher(["launcher=slurm"], is_worker=True)
    assert read_launcher(["a=1"]) == (None, ["a=1"])


def test_a_worker_is_the_command_without_what_is_the_launchers() -> None:
    config, rest = read_launcher([*WORDS, *SLURM])
    assert rest == WORDS and config is not None
    words = worker_words("sweep", [*WORDS, *SLURM, "threads=8"], config, None, "mine")
    assert words == [
        *("sweep", "model=gpt", "model.dropout=0,0.1", "name=it", "sweep.workers=2", "threads=2"),
        *("--config-dir", "mine", "--worker"),
    ]


def test_the_batch_script_holds_a_command_line_and_no_pickle_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    kept = stand_in(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = StudyFolder(Path("outputs") / "50% of it")
    more = ["account=physics", "exclusive"]
    config = Config(
        partition="usual", time="1:30:00", memory="2G", gpus="a100:1", cpus=3, more=more
    )
    assert submit(config, folder, ["--version", "a word", "it's"], 3) == "41"
    script = (kept / "script").read_text()
    options = [shlex.split(li)[1] for li in script.splitlines() if li.startswith("#SBATCH")]
    logs = f"{tmp_path}/outputs/50%% of it/logs"
    expected = ["--partition=usual", "--time=1:30:00", "--mem=2G", "--gpus-per-node=a100:1"]
    expected += ["--cpus-per-task=3", "--array=0-2%3", "--account=physics", "--exclusive"]
    expected += ["--requeue", "--signal=B:USR1@60", f"--chdir={tmp_path}", "--open-mode=append"]
    expected += ["--job-name=scratchlab-50% of it", f"--output={logs}/slurm-%A_%a.log"]
    assert set(expected) <= set(options), options
    assert not any(word.startswith("--wckey") for word in options)
    assert "srun" not in script and "pickle" not in script and "_submit" not in script
    assert not list(tmp_path.rglob("*.pkl"))
    command = script[script.index("exec ") :].removeprefix("exec ")
    assert shlex.split(command)[:3] == [sys.executable, "-P", "-c"]
    assert shlex.split(command)[-3:] == ["--version", "a word", "it's"]
    done = subprocess.run(
        ["bash", str(kept / "script")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("scratchlab ")  # the script is run as it stands
    assert (folder.path / "slurm.json").is_file() and not list(folder.path.rglob("*.sh"))


def test_only_the_workers_that_are_missing_are_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    kept = stand_in(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    launch = Launch(Config(runs=2), StudyFolder(Path("outputs/it")), 7, said.append)
    launch.start(Study(3), ["x"])  # seven at a time, but three trials: two workers of two runs
    assert "--array=0-1%2" in (kept / "script").read_text() and "submitted 2 workers" in said[-1]
    queue = (
        "41|41_0|RUNNING|n1|None|1:00|scratchlab-it\n41|41_1|PENDING||Priority|0:00|scratchlab-it\n"
    )
    queue += "40|40_1|RUNNING|n2|None|0:01|scratchlab-it\n41|41_2|RUNNING|n2|None|0:01|another\n"
    (kept / "queue").write_text(queue)
    assert [(t.name, t.state, t.place) for t in tasks(launch.folder)] == [
        ("41_0", "RUNNING", "n1"),
        ("41_1", "PENDING", "Priority"),
    ]
    launch.start(Study(50), ["x"])  # four workers of two runs each, of which two are there
    assert "--array=0-1%2" in (kept / "script").read_text()
    assert "2 workers in Slurm already (job 41)" in said
    cancel_waiting(launch.folder)
    assert (kept / "cancelled").read_text() == "--state=PENDING 41\n"


def test_a_command_that_waits_ends_with_the_work_or_with_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    kept = stand_in(monkeypatch, tmp_path)
    monkeypatch.setattr("scratchlab.studies.slurm.launch.SHORTEST_LOOK", 0.01)
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    launch = Launch(Config(), StudyFolder(Path("outputs/it")), 1, said.append)
    launch.start(Study(1), ["x"])
    entry = "41|41_0|PENDING||PartitionTimeLimit|0:00|scratchlab-it\n"
    (kept / "queue").write_text(entry)
    launch.follow(Study(2, 2, 1, 0))
    assert sum("job 41 waits: PartitionTimeLimit, which may last for ever" in s for s in said) == 1
    assert "trial-000: state 1" in said and (kept / "cancelled").is_file()
    (kept / "queue").write_text("")
    launch.follow(Study(2))
    assert "2 are left and no worker is" in said[-1]


def test_a_refusal_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    stand_in(monkeypatch, tmp_path)
    refuses = "#!/bin/sh\necho 'sbatch: error: invalid partition specified: usaul' >&2; exit 1\n"
    (tmp_path / "programs/sbatch").write_text(refuses)
    monkeypatch.chdir(tmp_path)
    folder = StudyFolder(Path("outputs/it"))
    launch = Launch(Config(partition="usaul"), folder, 1, print)
    folder.path.mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        launch.start(Study(1), ["x"])
    assert "refused the workers: invalid partition specified: usaul" in str(caught.value)
    assert "Did you mean 'usual'?" in str(caught.value)
    assert not folder.path.exists()


@pytest.mark.parametrize(("restarts", "queued"), [("2", True), ("1", False)])
def test_a_worker_whose_time_is_up_hands_over_and_queues_again(
    restarts: str, queued: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = stand_in(monkeypatch, tmp_path)
    variables = {"SLURM_JOB_ID": "43", "SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "1"}
    for name, value in {**variables, RESTARTS: restarts, "SLURM_RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []
    with pytest.raises(Stopped), Allocation(said.append), Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert interrupt.requested == "SIGTERM"
        raise Stopped("SIGTERM")
    assert said[0] == "a worker in Slurm's job 41_1, started again (restart 1)"
    assert (kept / "told").is_file() == queued
    if queued:
        assert (kept / "told").read_text() == "requeue 43\n"
    assert place_of(new_worker()).endswith(f"process {os.getpid()}, Slurm job 41_1")


def test_outside_of_slurm_an_allocation_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", RESTARTS):
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signal.SIGUSR1)
    with Allocation(print):
        assert own_task() == "" and signal.getsignal(signal.SIGUSR1) is before
    assert place_of(new_worker()).endswith(f"process {os.getpid()}")


def test_a_machine_without_slurm_is_told(
    launcher: Any, suite: Callable[..., str], model_words: list[str], tmp_path: Path
) -> None:
    nowhere = {"PATH": str(tmp_path)}
    words = ["sweep", *model_words, "model.dropout=0,0.1", "launcher=slurm"]
    done = launcher.run(*words, cwd=tmp_path, environment=nowhere)
    assert "there is no sbatch on this machine" in done.refused()
    done = launcher.run(
        "suite", suite(runs={"a": {}}), *words[-1:], cwd=tmp_path, environment=nowhere
    )
    assert "there is no sbatch on this machine" in done.refused()
    assert not (tmp_path / "outputs").exists()
    done = launcher.run(*words[:-1], "wait=false", cwd=tmp_path)
    assert "wait: does nothing without launcher=slurm" in done.refused()
