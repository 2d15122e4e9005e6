"""Where the time of a training goes: by phase over all of it, by operation over a few updates."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchlab.run.atomic import write_bytes
from scratchlab.run.phases import PROFILE, Phases
from scratchlab.run.temporary import use_own_folder
from scratchlab.table import Table

if TYPE_CHECKING:
    import torch

TRACE = "profile/trace.json"
WARM_UP, RECORDED = 2, 3  # updates; the first ones allocate and choose what later ones find
SHOWN = 12  # operations
LONGEST_NAME = 40


class Profile:
    """What ``trainer.profile=true`` records of one training; ``tables`` tell it to a person."""

    def __init__(self, phases: Phases, folder: Path) -> None:
        self.phases, self.folder = phases, folder
        self.updates = 0
        self._before: dict[str, float] = {}
        self._during: dict[str, float] = {}
        self._operations: list[tuple[str, int, float]] = []  # name, calls, seconds
        self._device = ""

    @contextmanager
    def watching(self, device: torch.device, updates: int) -> Iterator[Callable[[], None]]:
        """A training of so many ``updates``; yields what is to be called after each of them.

        On a GPU each phase waits until what it asked for is computed. The trace is written once
        its last update is done, or with what there is of it when training ends before.
        """
        import torch

        self._device = device.type
        if device.type == "cuda":
            self.phases.settle = lambda: torch.cuda.synchronize(device)
        elif device.type == "mps":
            self.phases.settle = torch.mps.synchronize
        start = max(0, min(WARM_UP, updates - RECORDED))
        recorder = _recorder(device) if updates else None
        self._before = self.phases.so_far()

        def updated() -> None:
            nonlocal recorder
            self.updates += 1
            if recorder is not None and self.updates == start:
                self._begin(recorder)
            elif recorder is not None and self.updates == start + RECORDED:
                self._end(recorder)
                recorder = None

        if recorder is not None and not start:
            self._begin(recorder)
        try:
            yield updated
        finally:
            after = self.phases.so_far()
            self._during = {n: s - self._before.get(n, 0.0) for n, s in after.items()}
            if recorder is not None and self.phases.around is not None:
                self._end(recorder)
            self.phases.settle = None

    def _begin(self, recorder: Any) -> None:
        from torch.profiler import record_function

        with self.phases(PROFILE):
            recorder.start()
        self.phases.around = record_function

    def _end(self, recorder: Any) -> None:
        self.phases.around = None
        with self.phases(PROFILE):
            recorder.stop()
            path = use_own_folder() / "trace.json"
            recorder.export_chrome_trace(str(path))
            write_bytes(self.folder / TRACE, path.read_bytes())
            path.unlink()
            on_device = self._device == "cuda"
            for event in recorder.key_averages():
                spent = event.self_device_time_total if on_device else event.self_cpu_time_total
                self._operations.append((event.key, event.count, spent / 1e6))

    def tables(self) -> list[Table]:
        """The seconds of each phase of training, and the costliest operations of the trace."""
        total = sum(self._during.values())
        rows: list[list[Any]] = [
            [name, spent, spent / max(total, 1e-9), 1000 * spent / max(self.updates, 1)]
            for name, spent in sorted(self._during.items(), key=lambda item: -item[1])
            if spent > 0
        ]
        rows.append(["all", total, 1.0, 1000 * total / max(self.updates, 1)])
        shown = [[name, f"{s:.3f}", f"{share:.1%}", f"{ms:.2f}"] for name, s, share, ms in rows]
        title = f"Training by phase, {self.updates:,} updates"
        columns = ["phase", "seconds", "share", "ms an update"]
        found = [Table(title, columns, shown, "profile")]
        marks = set(self._during)  # the phases are marks in the trace, no operations
        done = sorted((o for o in self._operations if o[0] not in marks), key=lambda o: -o[2])
        whole = sum(spent for _, _, spent in done)
        if whole:
            where = "GPU" if self._device == "cuda" else "CPU"
            columns = ["operation", "calls", f"{where} ms", "share"]
            costly = [
                [_short(name), f"{calls:,}", f"{1000 * spent:.2f}", f"{spent / whole:.1%}"]
                for name, calls, spent in done[:SHOWN]
            ]
            title = f"Costliest operations of {min(RECORDED, self.updates)} updates"
            found.append(Table(title, columns, costly, "profile_operations"))
        return found


def _short(name: str) -> str:
    name = name.removeprefix("aten::")
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _recorder(device: torch.device) -> Any:
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # it would write its own steps to the console
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    return profile(activities=activities, acc_events=True)
