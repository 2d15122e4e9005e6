"""Processes that pull trials from a study as workers do, each trial a line in a file."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import TrialState

from scratchlab.studies.sweep.ledger import Ledger, attempts_in, names_of

Open = Callable[[], optuna.Study]


def pull(
    open_it: Open,
    marks: Path,
    trials: int,
    lease: float = 0.4,
    seconds: float = 0.01,
    again: bool = False,
) -> int:
    """Take trials until none is left; a line in ``marks``/TRIAL for each that was begun.
    ``again``: also those that failed, as a command does that is not only to help."""
    done = 0
    with Ledger(open_it(), names_of(trials), lease) as ledger:
        if again:
            ledger.ask_for_failed()
        while True:
            free = ledger.open()
            for run, attempts in free.items():
                if (number := ledger.claim(run, attempts)) is not None:
                    with (marks / run).open("a") as file:
                        file.write(f"{os.getpid()}\n")
                    time.sleep(seconds)
                    done += ledger.end(number, TrialState.COMPLETE, float(run[-3:]))
                    break
            if not free:
                if not ledger.unsure:
                    return done
                time.sleep(0.02)


def start(work: Callable[[], object]) -> int:
    """A fork that does the work and ends."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def killed_at_random(open_it: Open, marks: Path, trials: int, kills: int, seed: int) -> None:
    """Three workers, one of which is killed and replaced ``kills`` times; then all are let end."""
    draw = random.Random(seed)

    def work() -> int:
        return pull(open_it, marks, trials, seconds=0.05)

    workers = [start(work) for _ in range(3)]
    for _ in range(kills):
        time.sleep(draw.uniform(0.01, 0.15))
        one = draw.randrange(3)
        os.kill(workers[one], signal.SIGKILL)
        os.waitpid(workers[one], 0)
        workers[one] = start(work)
    for pid in workers:
        os.waitpid(pid, 0)
    pull(open_it, marks, trials, again=True)  # the command again: what the last worker left


def require_each_once(study: optuna.Study, marks: Path, trials: int) -> None:
    """Every trial ended well exactly once, and nothing runs."""
    states = Counter(t.state for t in study.get_trials())
    assert states[TrialState.COMPLETE] == trials and not states[TrialState.RUNNING], states
    attempts = attempts_in(study)
    assert len(attempts) == trials
    for run, found in attempts.items():
        assert [t.state for t in found[:-1]] == [TrialState.FAIL] * (len(found) - 1)
        assert found[-1].state == TrialState.COMPLETE and found[-1].value == float(run[-3:])
        assert len((marks / run).read_text().split()) <= len(found)
