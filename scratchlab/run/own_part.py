"""A part that the person at the keyboard wrote, in the place of a built-in one, in this process.

It is named on the command line alone (``scratchlab exercise use FILE …``): no configuration and no
checkpoint names a file to run. What a run is made with is written down, by name and hash, and a run
or a checkpoint that was made with one is used with that one or not at all.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlab.errors import UserError

SCHEMA = {"exercise": "str", "file": "str", "sha256": "str", "right": "bool"}


@dataclass(frozen=True)
class OwnPart:
    """Which ``exercise`` it solves, the name of its ``file`` (no path), the hash of its content,
    and whether it was found right when the run began. ``path``: as it was given, which is written
    nowhere."""

    exercise: str
    file: str
    sha256: str
    right: bool
    path: str

    def __str__(self) -> str:
        wrong = "" if self.right else ", which is not right"
        return f"{self.exercise} of {self.file} ({self.sha256[:12]}{wrong})"


_IN_PLACE: ContextVar[OwnPart | None] = ContextVar("own_part", default=None)


@contextmanager
def in_place(part: OwnPart) -> Iterator[None]:
    """Inside, everything that is written down tells of this part."""
    token = _IN_PLACE.set(part)
    try:
        yield
    finally:
        _IN_PLACE.reset(token)


def own_part() -> OwnPart | None:
    """The part that stands in the place of a built-in one now."""
    return _IN_PLACE.get()


def recorded() -> dict[str, Any]:
    """What a manifest and a checkpoint hold of it: ``own_part``, or nothing."""
    part = own_part()
    return {} if part is None else {"own_part": {key: getattr(part, key) for key in SCHEMA}}


def with_own_part(words: list[str]) -> list[str]:
    """The words of a command (``VERB …``), which name the file too where there is one."""
    part = own_part()
    return words if part is None else ["exercise", "use", part.path, *words]


def check(record: Mapping[str, Any], where: Path, *, goes_on: bool = False) -> None:
    """UserError unless what a manifest or checkpoint tells of is in place now, with that content.

    What was made with built-in parts alone may be looked at with one of a person's, but a run of
    which a part was trained that way does not go on with it (``goes_on``).
    """
    now, before = own_part(), record.get("own_part")
    if before is None:
        if now is not None and goes_on:
            raise UserError(
                f"{where} was begun without {now.file}, and goes on without it",
                "Train a new run with it.",
            )
        return
    made = f"{where} was made with {before['exercise']} of {before['file']}"
    if now is None or now.exercise != before["exercise"]:
        name = shlex.quote(before["file"])
        raise UserError(
            f"{made}, a file of its author's, which a command has to name",
            f"scratchlab exercise use {name} (eval RUN, predict RUN, resume=RUN …); "
            f"its SHA-256 is {before['sha256'][:12]}…",
        )
    if now.sha256 != before["sha256"]:
        raise UserError(
            f"{made} as it was then (SHA-256 {before['sha256'][:12]}…, now {now.sha256[:12]}…)",
            "Restore the file, or train a new run.",
        )
