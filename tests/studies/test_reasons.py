"""What a suite or a sweep says of a run that failed: its last error, with the advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchlab.studies.workers import _reason


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("step 1\nerror: no file\n    Set DATA.\n", "no file (Set DATA.)"),
        ("error: no file\nstep 2\n", "no file"),
        ("error: 2 problems:\n  1. a: bad\n  2. b: worse\n", "2 problems: 1. a: bad"),
        ("Traceback\n  File x\nValueError: boom\n\n", "ValueError: boom"),
        ("", ""),
    ],
)
def test_reason(tmp_path: Path, log: str, expected: str) -> None:
    path = tmp_path / "log"
    path.write_text(log)
    assert _reason(path, 0) == expected


def test_only_this_attempt_counts(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("error: before\n")
    start = path.stat().st_size
    path.write_text("error: before\nerror: now\n")
    assert _reason(path, start) == "now"
