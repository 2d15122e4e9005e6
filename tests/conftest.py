"""Commands as processes, for every test that needs some (see launcher.py)."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A translation model of 10,000 weights on 300 sentence pairs: an update takes milliseconds.
TINY = [
    "model=transformer_mt",
    "model.d_model=16",
    "model.n_heads=2",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.d_ff=32",
    "dataset=phrasebook_en_fr",
    "dataset.train_pairs=300",
    "dataset.val_pairs=20",
    "dataset.test_pairs=20",
    "dataset.vocab_size=300",
    "dataset.batch_tokens=256",
    "trainer.validation_evaluators=[]",
    "trainer.precision=fp32",
    "decoding=greedy",
    "evaluator=[perplexity]",
    "threads=1",
    "name=tiny",
]


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self) -> str:
        """The message of a command that was wrong: exit code 2, no traceback, nothing else said."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.err + self.out
        assert "error: " in self.err
        return self.err


@dataclass
class Command:
    """A running command; ``folder`` is where it was started."""

    launcher: Launcher
    pid: int
    out: Path
    err: Path
    code: int | None = None

    def running(self) -> bool:
        if self.code is None:
            self.code = self.launcher.ask(poll=self.pid)["code"]
        return self.code is None

    def wait(self) -> Done:
        if self.code is None:
            self.code = self.launcher.ask(wait=self.pid)["code"]
        assert self.code is not None
        # A process that is killed at once may not have come as far as opening its streams.
        texts = [p.read_text() if p.exists() else "" for p in (self.out, self.err)]
        return Done(self.code, *texts)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_until(self, condition: Callable[[], Any], timeout: float = 300.0) -> bool:
        """Whether ``condition`` came true before the command ended."""
        limit = time.monotonic() + timeout
        while True:
            if condition():
                return True
            if not self.running():
                return bool(condition())
            assert time.monotonic() < limit, "the command hangs"
            time.sleep(0.002)


@dataclass
class Launcher:
    """Starts commands; ``cache`` holds the prepared data that they share."""

    process: subprocess.Popen[str]
    cache: Path
    streams: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, *arguments: str, cwd: Path, **settings: Any) -> Command:
        number = next(self.numbers)
        out, err = self.streams / f"{number}.out", self.streams / f"{number}.err"
        environment = {"SCRATCHLAB_CACHE": str(self.cache), **settings.pop("environment", {})}
        request = {
            "arguments": list(arguments),
            "cwd": str(cwd),
            "out": str(out),
            "err": str(err),
            "environment": environment,
            **settings,
        }
        return Command(self, self.ask(start=request)["pid"], out, err)

    def run(self, *arguments: str, cwd: Path, **settings: Any) -> Done:
        return self.start(*arguments, cwd=cwd, **settings).wait()


def environment() -> dict[str, str]:
    """Of a process that imports scratchlab from this checkout."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("SCRATCHLAB_", "WANDB_"))},
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "200",
    }


def _launch(folder: Path, *flags: str) -> Iterator[Launcher]:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "launcher.py"), *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    streams, cache = folder / "streams", folder / "cache"
    streams.mkdir()
    try:
        yield Launcher(process, cache, streams)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Processes that have torch and all of scratchlab imported."""
    yield from _launch(tmp_path_factory.mktemp("launcher"))


@pytest.fixture(scope="session")
def light_launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Processes that have only read the configuration's code: no torch."""
    yield from _launch(tmp_path_factory.mktemp("light"), "--light")


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The words of a command that trains in a second."""
    return list(TINY)


@dataclass(frozen=True)
class TrainedRun:
    """A finished run of the tiny model and the folder that the command was given in."""

    path: Path
    cwd: Path


@pytest.fixture(scope="session")
def trained(
    launcher: Launcher, tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> TrainedRun:
    """A run that tests may read, never change."""
    cwd = tmp_path_factory.mktemp("trained")
    words = ["train", *tiny, "run_id=one", "trainer.max_steps=20", "trainer.keep_every=10"]
    done = launcher.run(*words, cwd=cwd)
    assert done.code == 0, done.err
    return TrainedRun(cwd / "outputs" / "tiny" / "one", cwd)


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """For ``subprocess``: no variable of the user's that commands react to."""
    return environment()
