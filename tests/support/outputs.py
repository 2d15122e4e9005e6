"""What a run kept of its examples must give its figures again."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchlab.reporting.compare.outputs import Reader
from scratchlab.reporting.results import read_results


def made_again(run: Path) -> set[str]:
    """The names of the figures that are made again from the outputs, each the same as before."""
    reader, found = Reader(), set()
    for measured in read_results(run):
        if measured.examples:
            value = reader.statistic(run, measured).value()
            assert value == pytest.approx(measured.value, rel=1e-9, abs=1e-12), measured.name
            found.add(measured.name)
    return found
