"""Leases: whoever runs a trial shows every so often that it lives.

The holder counts up a number that is kept with the trial. Others do not compare clocks: a lease has
run out for a process when *it* has seen the same number for as long as the holder promised to need
at most. A holder on this machine whose process is gone is known at once.
"""

from __future__ import annotations

import functools
import secrets
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from scratchlab.run.temporary import is_gone, this_process
from scratchlab.studies.slurm.allocation import own_task

WORKER, BEAT, SECONDS = "worker", "beat", "lease"  # attributes of a trial
BEATS_OF_A_LEASE = 4


@functools.cache
def _machine() -> str:
    """This machine since it was started: copies of a virtual machine may share a host name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:  # not Linux
        boot = "0"
    return f"{socket.gethostname()}/{boot}"


def new_worker() -> str:
    """A name that tells this process from all others of all machines."""
    task = own_task()
    place = f"{_machine()}:{this_process()}:{secrets.token_hex(4)}"
    return f"{place}:{task}" if task else place


def is_dead(worker: str) -> bool:
    """Whether it is a process of this machine that is gone."""
    machine, _, rest = worker.partition(":")
    return machine == _machine() and is_gone(rest.partition(":")[0])


def place_of(worker: str) -> str:
    """Machine and process, Slurm's job, and whether it is known to be gone, for people."""
    machine, process, _, task = (worker.split(":") + [""] * 3)[:4]
    host = machine.partition("/")[0]
    shown = f"{host}, process {process.split('-')[1]}" if "-" in process else host
    shown = f"{shown}, Slurm job {task}" if task else shown
    return f"{shown} (gone)" if is_dead(worker) else shown


class Heart:
    """Renews the leases that this process holds, from a thread of its own: to import a library or
    to wait for a disk may take longer than a lease. Used with ``with``.

    What others have taken for dead and taken over in spite of it is in ``lost``.
    """

    def __init__(self, storage: BaseStorage, seconds: float) -> None:
        self._storage, self._seconds = storage, seconds
        self._beats: dict[int, int] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self.lost: set[int] = set()

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def hold(self, trial: int) -> None:
        self._beats[trial] = 0

    def let_go(self, trial: int) -> None:
        self._beats.pop(trial, None)

    def _run(self) -> None:
        while not self._end.wait(self._seconds / BEATS_OF_A_LEASE):
            for trial in list(self._beats):
                self._beat(trial)

    def _beat(self, trial: int) -> None:
        number = self._beats.get(trial)
        if number is None:
            return
        try:
            self._storage.set_trial_user_attr(trial, BEAT, number + 1)
        except UpdateFinishedTrialError:
            if trial in self._beats:
                self.lost.add(trial)
        except Exception:  # the storage is away: the main thread will say so when it needs it
            return
        if trial in self._beats:
            self._beats[trial] = number + 1


class Watch:
    """What this process has seen of the leases of others."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}
        self._alive: set[int] = set()

    def look(self, trial: FrozenTrial) -> None:
        """Take note of how far the holder of a running trial has counted."""
        beat = int(trial.user_attrs.get(BEAT, 0))
        before = self._seen.get(trial._trial_id)
        if before is None or before[0] != beat:
            self._seen[trial._trial_id] = (beat, time.monotonic())
        if before is not None and before[0] != beat:
            self._alive.add(trial._trial_id)

    def is_alive(self, trial: FrozenTrial) -> bool:
        """Whether it was seen to count."""
        return trial._trial_id in self._alive

    def has_run_out(self, trial: FrozenTrial) -> bool:
        """Whether the lease of a running trial is over."""
        if is_dead(str(trial.user_attrs.get(WORKER, ""))):
            return True
        self.look(trial)
        waited = time.monotonic() - self._seen[trial._trial_id][1]
        return waited > float(trial.user_attrs.get(SECONDS, 0.0))
