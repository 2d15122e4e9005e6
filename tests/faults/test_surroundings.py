"""What surrounds a run: a clock that is set back, folders that may only be read, another process
at work in the same folder, a tracker whose server refuses."""

from __future__ import annotations

import datetime
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scratchlab.cli import main
from scratchlab.run.folder import RunFolder

WORDS = ["model=linear", "model.solver=gradient", "model.epochs=3", "dataset=diabetes"]
WORDS += ["tracker=[jsonl]", "pictures=false", "threads=1"]
TABLES = {"metrics.jsonl", "results.json", "model.safetensors"}


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def clock_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is an hour further back each time somebody looks at it."""
    looked, real, begun = [0], time.time, datetime.datetime.now()

    def earlier() -> float:
        looked[0] += 1
        return real() - 3600.0 * looked[0]

    class Backwards(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            looked[0] += 1
            return begun - datetime.timedelta(hours=looked[0])

    monkeypatch.setattr(time, "time", earlier)
    for module in ("folder", "manifest"):
        monkeypatch.setattr(
            f"scratchlab.run.{module}.datetime", SimpleNamespace(datetime=Backwards)
        )


def test_a_clock_that_goes_backwards_changes_no_bit_and_no_duration(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert main(["train", *WORDS, "name=x", "run_id=one", f"output_dir={tmp_path}/right"]) == 0
    request.getfixturevalue("clock_set_back")
    words = ["name=x", "run_id=one", f"output_dir={tmp_path}/back"]
    assert main(["train", *WORDS, *words]) == 0
    right, back = (content(tmp_path / name / "x/one") for name in ("right", "back"))
    compared = [name for name in right if Path(name).name in TABLES]
    assert compared and all(right[name] == back[name] for name in compared)
    assert set(right) == set(back)
    times = [json.loads(line) for line in back["timings.jsonl"].splitlines()]
    assert times and all(v is None or v >= 0 for entry in times for v in entry.values())

    # It goes on, and is resumed, as if nothing were.
    more = ["train", f"resume={tmp_path}/back/x/one", "model.epochs=5"]
    assert main(more) == 0
    assert main(["eval", str(tmp_path / "back/x/one")]) == 0


def test_runs_that_are_named_by_a_clock_that_goes_backwards_do_not_collide(
    tmp_path: Path, clock_set_back: None
) -> None:
    for number in range(2):
        seed = f"seed={number}"
        assert main(["train", *WORDS, "name=x", f"output_dir={tmp_path}", seed]) == 0
    runs = [p for p in (tmp_path / "x").iterdir() if not p.is_symlink()]
    assert len(runs) == 2
    assert "seed: 1\n" in (tmp_path / "x/latest/config.yaml").read_text()


@pytest.fixture
def only_read(small_disk: Path) -> Iterator[Path]:
    """A folder of outputs with a run in it, on a disk that can no longer be written."""
    assert main(["train", *WORDS, "name=x", "run_id=one", f"output_dir={small_disk}"]) == 0
    mount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(mount, check=True, capture_output=True)
    yield small_disk
    subprocess.run([*mount[:2], "remount,rw", mount[3]], check=True)


def test_what_may_only_be_read_is_said_in_a_line_and_stays_as_it_was(
    only_read: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    run, before = only_read / "x/one", content(only_read)
    study = tmp_path / "mine.yaml"
    study.write_text(json.dumps({"name": "mine", "runs": {"one": {"overrides": WORDS[:4]}}}))
    place = f"output_dir={only_read}"
    for words in (
        ["train", f"resume={run}", "model.epochs=5"],
        ["train", *WORDS, "name=x", "run_id=two", place],
        ["train", *WORDS, "name=y", place],
        ["suite", str(study), place],
        ["sweep", *WORDS[:3], "dataset=diabetes", "model.l2=0,1", "name=s", place],
    ):
        capfd.readouterr()
        assert main(words) == 2, words
        shown = capfd.readouterr().err
        assert "read-only" in shown.lower() and shown.count("error: ") == 1, (words, shown)
        assert str(only_read) in shown and "Traceback" not in shown, (words, shown)
    assert main(["eval", str(run)]) == 0, capfd.readouterr().err
    assert list(tmp_path.glob("evaluations/*/results.json"))
    assert main(["predict", str(run), ",".join("0" * 10)]) == 0, capfd.readouterr().err
    assert content(only_read) == before


def test_a_folder_that_another_process_works_in_is_refused_in_a_line(
    tmp_path: Path, capfd: Any
) -> None:
    place = f"output_dir={tmp_path}"
    words = ["train", *WORDS, "name=x", "run_id=one", place]
    assert main(words) == 0
    run = RunFolder.open(tmp_path / "x/one")
    run.lock()
    before = content(tmp_path)
    for again in (
        ["train", f"resume={run.path}", "model.epochs=5"],
        [*words, "resume=true", "model.epochs=5"],
        [*words, "model.epochs=5"],
    ):
        capfd.readouterr()
        assert main(again) == 2, again
        shown = capfd.readouterr().err
        said = (
            "exists already"
            if again[-1] == "model.epochs=5" and "resume" not in str(again)
            else ("is in use by another process")
        )
        assert said in shown and shown.count("error: ") == 1, (again, shown)
    assert content(tmp_path) == before
    run.unlock()
    assert main(["train", f"resume={run.path}", "model.epochs=5"]) == 0


class Refusing(http.server.BaseHTTPRequestHandler):
    """A server that has heard of nobody."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"errors":[{"message":"no such key"}]}')

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.mark.slow
def test_a_server_that_refuses_costs_the_tracker_and_not_the_run(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    pytest.importorskip("wandb")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    words = [*WORDS, "tracker=[jsonl,wandb]", "tracker.wandb.mode=online", "name=x", "run_id=one"]
    environment = {
        **clean_environment,
        "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
        "WANDB_API_KEY": "0" * 40,
        "HOME": str(tmp_path),
    }
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "scratchlab", "train", *words],
        capture_output=True, text=True, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    server.shutdown()
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    log = (tmp_path / "outputs/x/one/train.log").read_text()
    assert log.count("Tracker wandb is switched off") == 1, log
    assert time.monotonic() - started < 240
    whole = tmp_path / "outputs/x/one"
    assert json.loads((whole / "status.json").read_text())["status"] == "done"
