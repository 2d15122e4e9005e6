"""Trainings that must end with the same bits: repeated, stopped and killed on the way."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from scratchlab.errors import Stopped
from scratchlab.run.checkpoint import load
from scratchlab.tracking.contract import RunInfo, Tracker
from scratchlab.verifying.findings import DoesNotApply, Finding, Gap, gap, gap_of, judged, largest
from scratchlab.verifying.started import as_told, last_line, own_process
from scratchlab.verifying.subject import Subject

METRICS = "metrics.jsonl"
CHECKPOINTS = ("last", "best")


class Alarm(Tracker):
    """Sends this process a signal when an update (or epoch) is done."""

    def __init__(self, update: int, number: signal.Signals) -> None:
        super().__init__(None)
        self.update, self.number = update, number

    def start(self, run: RunInfo) -> None:
        """Nothing to open."""

    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Nothing to keep."""

    def progress(self, step: int, epoch: float, scalars: Mapping[str, float]) -> None:
        if step == self.update:
            os.kill(os.getpid(), self.number)

    def finish(self, status: str) -> None:
        """Nothing to close."""


def same_seed(subject: Subject) -> Iterator[Finding]:
    """The same command twice."""
    subject.require_training()
    again = subject.train("again")
    yield _same_run(subject, again, "same seed twice")


def stopped(subject: Subject) -> Iterator[Finding]:
    """A signal asks the training to stop; it goes on afterwards."""
    at = _on_the_way(subject, 1 / 3)
    with interrupting():
        try:
            subject.train("stopped", [Alarm(at, signal.SIGTERM)])
        except Stopped as stop:
            if str(stop) != "SIGTERM":  # somebody else's
                raise
        else:
            raise RuntimeError("the training was not stopped by SIGTERM")
    run = subject.train("stopped", resume=True)
    yield _same_run(subject, run, f"stopped after {at}, resumed")


def killed(subject: Subject) -> Iterator[Finding]:
    """A process of its own dies in the midst of the training, between two checkpoints; another one
    goes on."""
    at = _on_the_way(subject, 5 / 6)
    words = own_process(die, str(subject.prepared("killed")), str(at))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != -signal.SIGKILL:
        why = last_line(done.stderr) or f"exit code {done.returncode}"
        raise RuntimeError(f"the process ended before it was killed: {why}")
    run = subject.train("killed", resume=True)
    yield _same_run(subject, run, f"killed after {at}, resumed")


def _on_the_way(subject: Subject, share: float) -> int:
    """An update between the first and the last."""
    subject.require_training()
    updates = subject.updates
    if updates < 3:
        name = subject.config["model"]["name"]
        raise DoesNotApply(f"{name} learns in {updates} step{'s' * (updates > 1)}")
    return min(max(1, int(share * updates)), updates - 1)


def _same_run(subject: Subject, run: Path, how: str) -> Finding:
    """Whether everything that a training leaves behind has the bits of the one left alone."""
    gaps = [metrics_gap(subject.whole / METRICS, run / METRICS)]
    for name in CHECKPOINTS:
        places = [folder / "checkpoints" / name for folder in (subject.whole, run)]
        expected, found = (load(place) for place in places)
        for kind in ("model", "optimizer"):
            one = gap(getattr(expected, kind), getattr(found, kind))
            gaps.append(Gap(one.value, f"{name}/{kind}: {one.where}", one.same_bits))
    what = "weights, log" if subject.estimator else "weights, optimizer, random state, log"
    return judged(how, what, largest(gaps))


def metrics_gap(*logged: Path) -> Gap:
    """Whether two logs of metrics hold the same lines, and the number that differs most."""
    texts = [path.read_text() for path in logged]
    if texts[0] == texts[1]:
        return Gap()
    logs = [[json.loads(line) for line in text.splitlines()] for text in texts]
    if [list(entry) for entry in logs[0]] != [list(entry) for entry in logs[1]]:
        return Gap(math.inf, f"{METRICS}: {len(logs[0])} against {len(logs[1])} lines", False)
    return largest(
        gap_of(f"{METRICS}, line {line}, {name}", value, found[name])
        for line, (expected, found) in enumerate(zip(*logs, strict=True), 1)
        for name, value in expected.items()
    )


@contextmanager
def interrupting() -> Iterator[None]:
    """Inside, SIGTERM is for the training alone: what handles it for the whole command does not
    take it for a wish of the person who waits."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def die(folder: str, update: str) -> None:
    """The training that a folder describes, up to an update that is its process's last."""
    as_told(folder, [Alarm(int(update), signal.SIGKILL)])
