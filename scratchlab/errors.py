"""The exceptions that scratchlab raises on purpose.

A :class:`UserError` is a mistake that the person at the keyboard can mend: the command line prints
it as one clear message, without a traceback, and ends with exit code 2. Anything else that reaches
the command line is a fault of the program and goes with its traceback into the run's log.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST = 2000
"""Characters of a line of a message; what is longer is cut."""

LOGGED_IN = "The traceback is in "
"""How the note on an exception begins that says where its traceback was written down."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where it stands, what is wrong with it, and what would be right."""

    where: str
    problem: str
    hint: str = ""
    misfit: bool = False  # of parts that are each right, but do not go together

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{text}\n    {self.hint}" if self.hint else text


class UserError(Exception):
    """A mistake in a command, a configuration or a file, worded for the person who can mend it."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.message}\n    {self.hint}" if self.hint else self.message
        lines = text.split("\n")  # whatever came from a file, the message stays readable
        return "\n".join(t if len(t) <= MOST else f"{t[: MOST // 2]}…" for t in lines)


class ConfigError(UserError):
    """Everything that is wrong with one command's configuration, reported together."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        if len(self.faults) == 1:
            super().__init__(str(self.faults[0]))
        else:
            lines = "\n".join(f"  {number}. {f}" for number, f in enumerate(self.faults, 1))
            super().__init__(f"{len(self.faults)} problems:\n{lines}")


class CannotWrite(UserError):
    """The system refuses to write a file: a full disk, a missing right, a folder that is gone."""


class MissingPackageError(UserError):
    """An optional package is needed and is not installed."""

    def __init__(self, package: str, purpose: str, extra: str | None = None) -> None:
        target = f"'scratchlab[{extra}]'" if extra else package
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed.",
            f"pip install {target}",
        )


class UnansweredRows(UserError):
    """Some of the rows that a model was asked about could not be read; the others are answered."""

    exit_code = 1


class TrainingError(UserError):
    """Training cannot go on (for example the loss is no number any more); a checkpoint is kept."""

    exit_code = 1


class Stopped(Exception):
    """The run was asked to stop (SIGINT or SIGTERM); ``folder`` is where it can go on from."""

    def __init__(self, reason: str, folder: Path | None = None) -> None:
        super().__init__(reason)
        self.folder = folder


def shortened(value: object, limit: int = 60) -> str:
    """A value from outside as it is shown in a message: its beginning, and how long it is."""
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def number_of(count: int, what: str) -> str:
    """``1 cell``, ``1,200 cells``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def system_reason(error: OSError) -> str:
    """Why the system refused, in its words; some libraries give a text of their own instead."""
    text = error.strerror or str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def nearest(name: str, names: Iterable[str], cutoff: float = 0.55) -> str | None:
    """The one of ``names`` that is spelled most like ``name``, or None if none is close."""
    known = sorted(set(names))
    matches = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    if not matches and len(name) > 2:
        matches = [n for n in known if n.startswith(name)]
    return matches[0] if matches else None


def suggest(name: str, names: Iterable[str], what: str = "Choices") -> str:
    """A hint for an unknown ``name``: the nearest valid name, then all of them (at most 40)."""
    known = sorted(set(names))
    guess = nearest(name, known)
    listed = ", ".join(n if len(n) <= 60 else n[:60] + "…" for n in known[:40]) + (
        ", …" if len(known) > 40 else ""
    )
    tail = f"{what}: {listed}." if known else ""
    return f"Did you mean {guess!r}? {tail}".strip() if guess else tail
