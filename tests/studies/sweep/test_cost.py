"""What a trial of a fast estimator costs beside its training."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import environment


def seconds(folder: Path, trials: int) -> float:
    """CPU time of a sweep of so many trials, with all its processes."""
    words = ["model=logistic", "dataset=wine_cultivars", "model.epochs=3", "sweep.metric=accuracy"]
    words += [f"seed=range({trials})", f"name=of-{trials}"]
    command = [sys.executable, "-m", "scratchlab", "sweep", *words]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=folder, env=environment(), capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_a_trial_of_a_fast_estimator_costs_less_than_a_third_of_a_second(tmp_path: Path) -> None:
    few, many = seconds(tmp_path, 5), seconds(tmp_path, 45)
    assert (many - few) / 40 <= 0.3
