"""The runs of a suite, which several commands may pull, on one machine or on many.

Who has which run is written down as for the trials of a sweep
(:mod:`scratchlab.studies.sweep.ledger`), in a journal in the suite's folder: each run is claimed
with a lease, and one whose process is gone is taken over by another.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from scratchlab.errors import UserError
from scratchlab.studies.runs import JOURNALS, StudyFolder, is_done, require_same
from scratchlab.studies.suite import Member
from scratchlab.studies.suite_source import SuiteSource
from scratchlab.studies.sweep.journal import Journal
from scratchlab.studies.sweep.leases import place_of
from scratchlab.studies.sweep.ledger import STOPPED, Attempts, Ledger, attempts_in, running
from scratchlab.studies.workers import Job, Outcome, in_use

LEASE = 60.0  # seconds without a sign of life after which a run is taken over
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_UNTIL_SEEN = 60.0  # in which what another machine wrote to a shared disk appears here


class SharedSuite(SuiteSource):
    """A suite as one of several processes sees it; made by :func:`shared`."""

    def __init__(
        self,
        members: Sequence[Member],
        folder: StudyFolder,
        ledger: Ledger,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(members, folder, say)
        self.ledger = ledger
        self.claimed: dict[str, tuple[Member, int]] = {}
        self._free: Attempts = {}
        self._unseen: dict[str, float] = {}
        self._next_look = 0.0
        self._told = False

    def ask_again(self) -> None:
        """Have everything done again that failed, or whose folder is gone or emptied."""
        self.ledger.ask_for_failed()
        found = attempts_in(self.ledger.study)
        for name in (member.job.name for member in self.waiting):
            if name in found and found[name][-1].state == TrialState.COMPLETE:
                self.ledger.ask_for(name, found[name])

    def look(self) -> None:
        """Learn what became of runs elsewhere, and which are free."""
        self._free = self.ledger.open()
        found = attempts_in(self.ledger.study)
        for member in list(self.waiting):
            name = member.job.name
            if name in self._free or name in self.ledger.elsewhere or name not in found:
                continue
            outcome = _outcome(member, found[name][-1])
            if outcome.status == "unseen":
                since = self._unseen.setdefault(name, time.monotonic())
                if time.monotonic() - since < SECONDS_UNTIL_SEEN:
                    continue
                outcome.status, outcome.reason = "failed", "its folder is not that of a done run"
            elif outcome.status == "done":
                self._require_same(member, outcome)
            self.waiting.remove(member)
            self.outcomes[name] = outcome
            self.record()
        self.leave_out()

    @staticmethod
    def _require_same(member: Member, outcome: Outcome) -> None:
        """What another command did counts if that was told the same."""
        try:
            require_same(member.job.folder, member.config, member.job.arguments)
        except UserError as error:
            outcome.status, outcome.reason = "failed", error.message

    def take(self) -> Job | None:
        if time.monotonic() < self._next_look:
            return None
        self.look()
        job = super().take()
        if job is None:
            self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        return job

    def claim(self, member: Member) -> bool:
        name = member.job.name
        if name not in self._free:
            return False
        number = self.ledger.claim(name, self._free[name])
        if number is None:
            return False
        self.claimed[name] = (member, number)
        return True

    def waits(self) -> bool:
        """Whether it must be seen first if what runs elsewhere goes on, or more runs wait for that
        than there are processes which will be free to do them."""
        elsewhere = self.elsewhere()
        waits = self.ledger.unsure > 0 or len(self.waiting) > 2 * len(elsewhere)
        if self.waiting and waits and not self._told:
            self._told = True
            where = "; ".join(f"{run} by {place}" for run, place in elsewhere.items())
            self.say(f"waiting for what is run elsewhere: {where or 'its files are not here yet'}")
        return bool(self.waiting) and waits

    def elsewhere(self) -> dict[str, str]:
        """The runs that other processes are at, and where."""
        names = [m.job.name for m in self.waiting]
        held = self.ledger.elsewhere
        return {name: place_of(held[name]) for name in names if name in held}

    def watch(self, job: Job) -> str:
        if self.claimed[job.name][1] in self.ledger.heart.lost:
            return "taken over by another worker, as this one had shown no sign of life"
        return ""

    def ended(self, job: Job, outcome: Outcome) -> None:
        member, number = self.claimed.pop(job.name)
        self._next_look = 0.0
        attrs: dict[str, Any] = {"log": outcome.log, "seconds": outcome.seconds}
        if outcome.reason:
            attrs["reason"] = outcome.reason
        if outcome.status == "stopped":
            attrs["end"] = STOPPED
        state = TrialState.COMPLETE if outcome.status == "done" else TrialState.FAIL
        if self.ledger.end(number, state, **attrs):
            super().ended(job, outcome)
        else:
            self.say(f"{job.name}: was taken over by another worker")
            self.waiting.append(member)

    def release(self) -> None:
        """Leave to others what has not ended: this process will not go on with it."""
        for _, number in self.claimed.values():
            self.ledger.end(number, TrialState.FAIL, end=STOPPED)
        self.claimed = {}

    def left(self) -> int:
        """How many runs have not ended and may still be begun or be going on."""
        self.look()
        return len(self.waiting) + len(self.claimed)

    def states(self) -> dict[str, str]:
        """How every run stands that was begun, for people."""
        return {name: " ".join(row[:2]).strip() for name, row in _begun(self).items()}


def _begun(source: SharedSuite) -> dict[str, tuple[str, str]]:
    found = {
        run: ("running on", place_of(worker)) for run, worker, _ in running(source.ledger.study)
    }
    for name, outcome in source.outcomes.items():
        found[name] = (outcome.status + (":" if outcome.reason else ""), outcome.reason)
    return found


def _outcome(member: Member, last: FrozenTrial) -> Outcome:
    """How a run ended that another process did."""
    attrs, status = last.user_attrs, "failed"
    if last.state == TrialState.COMPLETE:
        status = "done" if is_done(member.job.folder) else "unseen"
    log, seconds = str(attrs.get("log", "")), float(attrs.get("seconds", 0.0))
    return Outcome(member.job.name, status, str(attrs.get("reason", "")), log, seconds)


def _study(path: Path, say: Callable[[str], None] = lambda text: None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(Journal(path, say))
    return optuna.create_study(storage=storage, study_name="suite", load_if_exists=True)


@contextlib.contextmanager
def shared(
    members: Sequence[Member], folder: StudyFolder, say: Callable[[str], None]
) -> Iterator[SharedSuite]:
    """The suite, its runs shared with whoever else does the same; what this process has of them is
    released at the end."""
    study = _study(folder.path / JOURNALS["suite"], say)
    with Ledger(study, [m.job.name for m in members], LEASE) as ledger:
        source = SharedSuite(members, folder, ledger, say)
        try:
            yield source
        finally:
            source.release()


def standing(members: Sequence[Member], folder: StudyFolder) -> list[tuple[str, str, str, str]]:
    """Every run as it stands: its name, how it ended or that it runs, by whom, and since when."""
    path = folder.path / JOURNALS["suite"]
    study = _study(path) if path.is_file() else None
    held = {run: (place_of(w), since) for run, w, since in running(study)} if study else {}
    rows = []
    for member in members:
        name, where = member.job.name, member.job.folder
        if is_done(where):
            rows.append((name, "done", "", ""))
        elif name in held:
            rows.append((name, "running", *held[name]))
        elif in_use(where):
            rows.append((name, "running", "this machine", ""))
        else:
            rows.append((name, _left_as(where), "", ""))
    return rows


def _left_as(folder: Path) -> str:
    """What became of a run that is not at work: failed, stopped or never begun."""
    from scratchlab.run.folder import RunFolder

    status = str(RunFolder(folder).status()["status"])
    return {"unknown": "to run", "running": "killed"}.get(status, status)
