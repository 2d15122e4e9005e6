"""Runs of studies are forks of one process: alone with their faults, and never orphans."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scratchlab.config.compose import compose
from scratchlab.run.folder import RunFolder
from scratchlab.studies.nursery import Nursery, modules_of

LONG = [
    *("train", "model=mlp", "dataset=digits", "model.epochs=1000000", "model.hidden=[8]"),
    *("tracker=[jsonl]", "trainer.checkpoint_every=5", "name=long", "threads=1"),
]


def within(condition: Callable[[], bool], seconds: float = 120.0) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery({"OMP_NUM_THREADS": "1"}) as process:
        yield process


def test_each_run_has_its_own_log_and_exit_code(nursery: Nursery, tmp_path: Path) -> None:
    good = nursery.start(["list", "optimizer"], tmp_path / "good.log")
    bad = nursery.start(["train", "model=nonsense"], tmp_path / "bad.log")
    assert (good.wait(), bad.wait()) == (0, 2)
    assert "muon" in (tmp_path / "good.log").read_text()
    assert "there is no model of this name" in (tmp_path / "bad.log").read_text()


def test_a_killed_run_disturbs_no_other(nursery: Nursery, tmp_path: Path) -> None:
    place = f"output_dir={tmp_path}"
    doomed = nursery.start([*LONG, place, "run_id=a"], tmp_path / "a.log")
    stopped = nursery.start([*LONG, place, "run_id=b"], tmp_path / "b.log")
    checkpoints = [tmp_path / "long" / name / "checkpoints/last" for name in "ab"]
    assert within(lambda: all(path.is_dir() for path in checkpoints))
    doomed.kill()
    assert doomed.wait() == -signal.SIGKILL
    assert stopped.poll() is None
    stopped.terminate()
    assert stopped.wait() == 130
    assert RunFolder(tmp_path / "long" / "b").status()["status"] == "stopped"


def test_runs_stop_with_a_checkpoint_when_the_process_they_came_from_is_killed(
    tmp_path: Path,
) -> None:
    with Nursery({"OMP_NUM_THREADS": "1"}) as nursery:
        run: Any = nursery.start([*LONG, f"output_dir={tmp_path}", "run_id=a"], tmp_path / "a.log")
        assert within(lambda: (tmp_path / "long/a/checkpoints/last").is_dir())
        assert nursery._process is not None
        nursery._process.kill()
        assert run.wait() == -signal.SIGKILL  # nobody is left who could tell more
        assert not alive(run.pid)
        assert RunFolder(tmp_path / "long/a").status()["status"] == "stopped"
        # The next run is started by a new one.
        assert nursery.start(["list", "optimizer"], tmp_path / "b.log").wait() == 0


def test_a_nursery_that_takes_the_place_of_a_killed_one_is_not_asked_for_its_runs(
    tmp_path: Path,
) -> None:
    with Nursery({"OMP_NUM_THREADS": "1"}, []) as nursery:
        lost = nursery.start(["list", "optimizer"], tmp_path / "a.log")
        assert nursery._process is not None
        nursery._process.kill()
        nursery._process.wait()
        next_one = nursery.start(["list", "optimizer"], tmp_path / "b.log")
        assert lost.wait() == -signal.SIGKILL
        assert next_one.wait() == 0


def test_what_lies_in_the_current_folder_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "torch", "scratchlab", "psutil"):
        (tmp_path / f"{name}.py").write_text("open('was_here', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    with Nursery() as nursery:
        assert nursery.start(["list", "optimizer"], tmp_path / "run.log").wait() == 0
    assert not (tmp_path / "was_here").exists()


@pytest.mark.slow
def test_a_study_that_is_killed_leaves_no_process(light_launcher: Any, tmp_path: Path) -> None:
    words = [w for w in LONG[1:] if not w.startswith("name=")]
    command = light_launcher.start(
        "sweep", *words, "model.learning_rate=0.1,0.2", "name=s", cwd=tmp_path
    )
    run = tmp_path / "outputs/s/trial-000"
    assert command.wait_until(lambda: (run / "checkpoints/last").is_dir())
    pid = json.loads((run / "status.json").read_text())["process"]
    os.kill(command.pid, signal.SIGKILL)
    assert within(lambda: not alive(pid))
    assert RunFolder(run).status()["status"] == "stopped"


def test_estimators_do_not_have_torch_imported_for_them() -> None:
    modules = modules_of(compose(["model=mlp"]).config)
    assert "scratchlab.estimators.mlp" in modules
    assert not {"torch", "scratchlab.tasks.classification"}.intersection(modules)
    assert "torch" in modules_of({"model": {"name": "gpt"}})


def test_what_a_module_prints_while_it_is_imported_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talkative.py").write_text(
        "import os\nprint('hello', flush=True)\nos.write(1, b'h')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Nursery(modules=["talkative"]) as nursery:
        assert nursery.start(["list", "optimizer"], tmp_path / "run.log").wait() == 0


def test_a_question_that_a_signal_cut_short_leaves_no_answer_for_the_next_one(
    nursery: Nursery, tmp_path: Path
) -> None:
    run: Any = nursery.start(["list", "optimizer"], tmp_path / "run.log")
    process: Any = nursery._process
    process.stdin.write(json.dumps({"ended": run.pid, "wait": False, "number": 0}) + "\n")
    process.stdin.flush()  # and nobody reads what it says
    other = nursery.start(["train", "model=nonsense"], tmp_path / "other.log")
    assert (run.wait(), other.wait()) == (0, 2)
