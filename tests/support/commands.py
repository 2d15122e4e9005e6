"""Commands as processes (see launcher.py), and how they end."""

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

ROOT = Path(__file__).resolve().parents[2]


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
    meeting: Any = None  # what several processes of one training find each other by

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
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # torch is imported before a command could ask for that
        "COLUMNS": "200",
    }


def launched(folder: Path, *flags: str) -> Iterator[Launcher]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("launcher.py")), *flags],
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
