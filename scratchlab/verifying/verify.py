"""All checks of a run, one after the other, and what they found."""

from __future__ import annotations

import gc
import logging
import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scratchlab.errors import Stopped, UserError, suggest
from scratchlab.run.manifest import manifest
from scratchlab.run.temporary import use_own_folder
from scratchlab.table import Table
from scratchlab.verifying.exporting import exported
from scratchlab.verifying.findings import FAILED, NO_CASE, WRONG, DoesNotApply, Finding
from scratchlab.verifying.gradients import accumulation, padding
from scratchlab.verifying.processes import processes
from scratchlab.verifying.scoring import batch_sizes
from scratchlab.verifying.storing import merged, saved
from scratchlab.verifying.subject import Subject
from scratchlab.verifying.threads import threads
from scratchlab.verifying.training import killed, same_seed, stopped
from scratchlab.verifying.writing import cache, generation

LOGGER = logging.getLogger("scratchlab")

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: Mapping[str, Check] = {
    "seed": same_seed,
    "stop": stopped,
    "kill": killed,
    "save": saved,
    "accumulation": accumulation,
    "padding": padding,
    "batch": batch_sizes,
    "generation": generation,
    "cache": cache,
    "merge": merged,
    "export": exported,
    "threads": threads,
    "processes": processes,
}


@dataclass
class Checked:
    """What one check found, and how long it took."""

    check: str
    findings: list[Finding]
    seconds: float


@dataclass
class Certificate:
    """What all checks found of a run, or of a configuration (``run`` is None)."""

    name: str
    run: str | None
    checked: list[Checked]

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        return [(c.check, finding) for c in self.checked for finding in c.findings]

    @property
    def equal(self) -> bool:
        """Whether nothing differs that must not."""
        return not any(finding.result in WRONG for _, finding in self.findings)

    def as_dict(self, command: Sequence[str]) -> dict[str, Any]:
        """Everything, with the machine and the versions that it was found with."""
        found = [{"check": check, **asdict(finding)} for check, finding in self.findings]
        for finding in found:
            if finding["difference"] == math.inf:  # which JSON has no number for
                finding["difference"] = None
        return {
            **manifest(list(command)),
            "name": self.name,
            "run": self.run,
            "equal": self.equal,
            "findings": found,
            "seconds": {c.check: round(c.seconds, 2) for c in self.checked},
        }

    def table(self) -> Table:
        """As a person reads it; what does not apply stands in :meth:`remarks`."""
        columns = ["check", "how", "must be equal", "found", "difference", "allowed"]
        rows = [
            [check, f.how, f.what, f.result, _share(f.difference), _share(f.tolerance)]
            for check, f in self.findings
            if f.result != NO_CASE
        ]
        return Table(f"Verified: {self.name}", columns, rows, "verify")

    def remarks(self) -> list[str]:
        """Where things differ, what was not checked, and what the tolerances are."""
        said = [(f"{f.result}: {check}: ", f) for check, f in self.findings]
        wrong = [f"{what}{f.where}" for what, f in said if f.result in WRONG]
        return wrong + [f"{what}{f.why}" for what, f in said if f.result == NO_CASE]


def _share(value: float | None) -> str:
    """A difference as a share of the largest number; 0 where every bit is the same."""
    return "" if value is None else f"{value:.1e}" if value else "0"


def verify(
    config: dict[str, Any],
    run: Path | None,
    chosen: Sequence[str] = (),
    tell: Callable[[str], None] = LOGGER.info,
) -> Certificate:
    """Check a trained run, or without one what a configuration describes.

    ``chosen`` checks only (none: all); ``tell`` hears of each as it is done.

    Raises:
        UserError: there is no such check, or nothing can be built or trained to be checked.
    """
    unknown = next((name for name in chosen if name not in CHECKS), None)
    if unknown is not None:
        raise UserError(f"there is no check {unknown!r}", suggest(unknown, CHECKS, "Checks"))
    folder = Path(tempfile.mkdtemp(prefix="verify-", dir=use_own_folder()))
    quiet = logging.NullHandler()  # what is to be known of the data was said when the run was made
    LOGGER.addHandler(quiet)
    try:
        started = time.perf_counter()
        subject = Subject(config, run, folder)
        name = f"{config['model']['name']} on {config['dataset']['name']}"
        methods = ",".join(config["method"])
        name += f" with {methods}" if methods else ""
        assert subject.parts is not None  # a mistake in the command shows here
        tell(f"built in {time.perf_counter() - started:.1f} s")
        done = []
        for check in dict.fromkeys(chosen or CHECKS):
            done.append(_checked(check, subject))
            results = ", ".join(dict.fromkeys(f.result for f in done[-1].findings))
            tell(f"{check}: {results} ({done[-1].seconds:.1f} s)")
        return Certificate(name, None if run is None else str(run), done)
    finally:
        LOGGER.removeHandler(quiet)
        shutil.rmtree(folder, ignore_errors=True)


def _checked(name: str, subject: Subject) -> Checked:
    """Run one check; that it cannot be run is a finding, too."""
    started = time.perf_counter()
    found: list[Finding] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries that read what was exported
            found.extend(CHECKS[name](subject))
    except Stopped:  # the person does not want to wait any longer
        raise
    except DoesNotApply as reason:
        found.append(Finding("", "", NO_CASE, why=str(reason)))
    except Exception as error:
        LOGGER.debug("check %s failed", name, exc_info=True)
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        first = (str(error).strip().splitlines() or [""])[0]
        found.append(Finding("", "", FAILED, where=f"{kind}{first}"))
    gc.collect()  # models that hold on to themselves
    return Checked(name, found, time.perf_counter() - started)
