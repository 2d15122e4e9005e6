"""A suite at work: what is missing is given to the processes of this command, one run after the
other; a run waits for the one that it starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scratchlab.studies.runs import StudyFolder, is_done, require_same
from scratchlab.studies.suite import Member
from scratchlab.studies.workers import Job, Outcome


class SuiteSource:
    """Gives the workers what is not done yet; a run waits for the one that it starts from."""

    def __init__(
        self, members: Sequence[Member], folder: StudyFolder, say: Callable[[str], None]
    ) -> None:
        self.members, self.folder, self.say = members, folder, say
        self.outcomes: dict[str, Outcome] = {}
        self.waiting: list[Member] = []
        self.total, self.begun = len(members), 0
        for member in members:
            require_same(member.job.folder, member.config, member.job.arguments)
            if is_done(member.job.folder):
                self.outcomes[member.job.name] = Outcome(
                    member.job.name, "done", "in an earlier call", str(member.job.log)
                )
            else:
                self.waiting.append(member)
        self.begun = len(self.outcomes)
        self.record()

    def take(self) -> Job | None:
        self.leave_out()
        for member in self.waiting:
            if self.is_ready(member) and self.claim(member):
                self.waiting.remove(member)
                return member.job
        return None

    def is_ready(self, member: Member) -> bool:
        """Whether the run that it starts from is done."""
        return all(self._status(name) == "done" for name in member.after)

    def _status(self, name: str) -> str | None:
        return self.outcomes[name].status if name in self.outcomes else None

    def leave_out(self) -> None:
        """Do without the runs that start from one that came to nothing."""
        for member in list(self.waiting):
            missing = [n for n in member.after if self._status(n) not in (None, "done")]
            if not missing:
                continue
            self.waiting.remove(member)
            reason = f"{missing[0]} is not done"
            self.outcomes[member.job.name] = Outcome(member.job.name, "left out", reason)
            self.say(f"{member.job.name} is left out: {reason}")
            self.record()

    def claim(self, member: Member) -> bool:
        """Whether this process is the one to do the run."""
        return True

    def waits(self) -> bool:
        return False

    def started(self, job: Job) -> None:
        again = " again" if (job.folder / "config.yaml").is_file() else ""
        self.begun += 1
        self.say(f"[{self.begun}/{self.total}] {job.name}: started{again} (log: {job.log})")

    def watch(self, job: Job) -> str:
        return ""

    def ended(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.name] = outcome
        reason = f": {outcome.reason} (log: {outcome.log})" if outcome.reason else ""
        self.say(f"{job.name}: {outcome.status} after {outcome.seconds:.0f} s{reason}")
        self.record()

    def record(self) -> None:
        labels = {member.job.name: member.run.label for member in self.members}
        self.folder.record(list(self.outcomes.values()), labels)

    def missing(self) -> list[Outcome]:
        return [o for o in self.outcomes.values() if o.status != "done"]
